//! Known model families: the architecture figures that weight, KV-cache and FLOP counts follow from.

use serde::{Deserialize, Serialize};

/// One language model's architecture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name, unique in the catalogue: `llama-3.1-8b`.
    pub name: String,
    /// Other names of the model, as registries and engines spell it. Case, the organisation before the slash and endings
    /// such as `-Instruct` or `-FP8` need none: they are ignored in look-ups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
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
    /// Query heads, which tensor parallelism must divide; absent where unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_heads: Option<u32>,
    /// Key-value heads (grouped-query attention). 1 for MLA, whose compressed cache every tensor-parallel rank holds.
    pub kv_heads: u32,
    /// Dimension of one attention head.
    pub head_dim: u32,
    /// KV-cache elements per token and layer where the attention is not plain GQA (MLA: compressed KV + rope dims);
    /// absent means `2 · kv_heads · head_dim`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_elements_per_layer: Option<u32>,
    /// Format of the published weights, which a variant uses unless its engine settings say otherwise.
    #[serde(default)]
    pub precision: Precision,
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
        let elements = self.kv_elements_per_layer.map_or(
            2.0 * f64::from(self.kv_heads) * f64::from(self.head_dim),
            f64::from,
        );
        f64::from(self.layers) * elements * precision.bytes()
    }

    /// Parameters that one token's forward pass multiplies with.
    #[must_use]
    pub fn active_parameters(&self) -> f64 {
        self.active_parameters_b.unwrap_or(self.parameters_b) * 1e9
    }

    /// Share of the parameters that a step over `tokens` tokens reads: all of a dense model; of a mixture of experts the
    /// shared part plus the distinct routed experts that the tokens touch, 1 − (1 − k/E)^tokens of them when routing is
    /// uniform.
    #[must_use]
    pub fn read_share(&self, tokens: f64) -> f64 {
        let Some(experts) = self.experts else {
            return 1.0;
        };
        let chosen = f64::from(experts.per_token) / f64::from(experts.total);
        if chosen >= 1.0 {
            return 1.0;
        }
        let active = self.active_parameters() / (self.parameters_b * 1e9);
        let routed = ((1.0 - active) / (1.0 - chosen)).min(1.0);
        1.0 - routed * (1.0 - chosen).powf(tokens)
    }

    /// Width of the attention, query heads × head dimension; the hidden size where the heads are unknown.
    #[must_use]
    pub fn attention_width(&self) -> f64 {
        self.attention_heads
            .map_or(f64::from(self.hidden_size), |heads| {
                f64::from(heads) * f64::from(self.head_dim)
            })
    }

    /// Into how many parts `tensor_parallel` devices split the KV cache: KV heads beyond their number are replicated.
    #[must_use]
    pub fn kv_shards(&self, tensor_parallel: u32) -> f64 {
        f64::from(tensor_parallel.min(self.kv_heads).max(1))
    }

    /// Whether `tensor_parallel` devices can share each layer: it divides the query heads, and it and the KV heads
    /// divide one another, as vLLM demands.
    #[must_use]
    pub fn can_split_over(&self, tensor_parallel: u32) -> bool {
        let (tp, kv) = (tensor_parallel, self.kv_heads);
        tp > 0
            && self
                .attention_heads
                .is_none_or(|heads| heads.is_multiple_of(tp))
            && (kv.is_multiple_of(tp) || tp.is_multiple_of(kv.max(1)))
    }
}
