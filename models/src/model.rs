//! Known model families: the architecture figures that weight, KV-cache and FLOP counts follow from.

use serde::{Deserialize, Serialize};

/// One language model's architecture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name, unique in the catalogue: `llama-3.1-8b`.
    pub name: String,
    /// Total parameters in billions.
    pub parameters_b: f64,
    /// Parameters touched per token, in billions: less than the total for a mixture of experts; absent means dense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_parameters_b: Option<f64>,
    /// Routed experts per layer and how many a token uses; absent means dense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts: Option<Experts>,
    /// Transformer layers.
    pub layers: u32,
    /// Hidden size.
    pub hidden_size: u32,
    /// Key-value heads (grouped-query attention).
    pub kv_heads: u32,
    /// Dimension of one attention head.
    pub head_dim: u32,
    /// KV-cache elements per token and layer where the attention is not plain GQA (MLA: compressed KV + rope dims);
    /// absent means `2 · kv_heads · head_dim`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_elements_per_layer: Option<u32>,
    /// Longest supported context in tokens.
    pub max_context_tokens: u32,
    /// Where the figures come from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// The routing of a mixture-of-experts model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experts {
    /// Routed experts per layer.
    pub total: u32,
    /// Routed experts that one token uses.
    pub per_token: u32,
}

/// Number format of weights or KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 16-bit floats.
    #[default]
    Bf16,
    /// 8-bit floats.
    Fp8,
    /// 4-bit weights (AWQ, GPTQ, NVFP4); computed in 16 bit.
    Int4,
}

impl Precision {
    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> f64 {
        match self {
            Self::Bf16 => 2.0,
            Self::Fp8 => 1.0,
            Self::Int4 => 0.5,
        }
    }
}

impl Model {
    /// Bytes of the weights at `precision`.
    #[must_use]
    pub fn weight_bytes(&self, precision: Precision) -> f64 {
        self.parameters_b * 1e9 * precision.bytes()
    }

    /// KV-cache bytes of one token over all layers at `precision`.
    #[must_use]
    pub fn kv_bytes_per_token(&self, precision: Precision) -> f64 {
        let elements = self
            .kv_elements_per_layer
            .unwrap_or(2 * self.kv_heads * self.head_dim);
        f64::from(self.layers) * f64::from(elements) * precision.bytes()
    }

    /// Parameters that one token's forward pass multiplies with.
    #[must_use]
    pub fn active_parameters(&self) -> f64 {
        self.active_parameters_b.unwrap_or(self.parameters_b) * 1e9
    }
}
