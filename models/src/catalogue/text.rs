//! How catalogue entries are written in YAML: every key optional that can be merged or filled in.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::accelerator::Accelerator;
use crate::iteration::IterationLaw;
use crate::model::{Experts, Model, Precision};
use crate::service_class::ServiceClassText;
use crate::units::{DollarsPerHour, Fraction, Seconds};
use crate::variant::{EngineSettings, Role};

/// The five keys that every file with a catalogue in it has at its top level. Other formats repeat these fields and hand
/// them over; [`super::from_yaml`]'s module shows the recipe.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogueText {
    /// Device types: new ones, or changes to built-in ones.
    pub accelerators: Vec<Spanned<AcceleratorText>>,
    /// Model architectures: likewise.
    pub models: Vec<Spanned<ModelText>>,
    /// What can be scaled. Absent is not empty: then the models listed above get variants wherever they fit.
    pub variants: Option<Vec<Spanned<VariantText>>>,
    /// Service classes.
    pub classes: Vec<Spanned<ServiceClassText>>,
    /// Devices that exist per accelerator; absent means unlimited.
    pub stock: BTreeMap<String, Spanned<u32>>,
}

/// A number above 0 and at most 10⁹.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Positive(f64);

/// Why a number is not [`Positive`].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("must be a number above 0 and at most 10⁹, not {0}")]
pub struct NotPositive(f64);

impl TryFrom<f64> for Positive {
    type Error = NotPositive;
    fn try_from(value: f64) -> Result<Self, NotPositive> {
        if value > 0.0 && value <= 1e9 {
            Ok(Self(value))
        } else {
            Err(NotPositive(value))
        }
    }
}

impl From<Positive> for f64 {
    fn from(value: Positive) -> Self {
        value.0
    }
}

/// An [`Accelerator`] as written: all keys but the name may be left out where the name is built in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of Accelerator")]
pub struct AcceleratorText {
    pub name: Spanned<String>,
    pub aliases: Option<Vec<String>>,
    pub memory_gb: Option<Positive>,
    pub bandwidth_tb_s: Option<Positive>,
    pub bf16_tflops: Option<Positive>,
    pub fp8_tflops: Option<Positive>,
    pub power_w: Option<Positive>,
    pub link_gb_s: Option<Positive>,
    pub price_per_hour_usd: Option<DollarsPerHour>,
    pub source: Option<String>,
}

/// A [`Model`] as written: all keys but the name may be left out where the name is built in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of Model")]
pub struct ModelText {
    pub name: Spanned<String>,
    pub aliases: Option<Vec<String>>,
    pub parameters_b: Option<Positive>,
    pub active_parameters_b: Option<Positive>,
    pub experts: Option<Experts>,
    pub layers: Option<NonZeroU32>,
    pub hidden_size: Option<NonZeroU32>,
    pub attention_heads: Option<NonZeroU32>,
    pub kv_heads: Option<NonZeroU32>,
    pub head_dim: Option<NonZeroU32>,
    pub kv_elements_per_layer: Option<NonZeroU32>,
    pub precision: Option<Precision>,
    pub max_context_tokens: Option<NonZeroU32>,
    pub source: Option<String>,
}

/// A [`crate::variant::Variant`] as written: only `model` and `accelerator` are needed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of Variant")]
pub struct VariantText {
    pub name: Option<Spanned<String>>,
    pub model: Spanned<String>,
    pub accelerator: Spanned<String>,
    pub tensor_parallel: Option<Spanned<NonZeroU32>>,
    #[serde(default)]
    pub role: Role,
    #[serde(default)]
    pub engine: EngineText,
    #[serde(default)]
    pub min_replicas: u32,
    pub max_replicas: Option<Spanned<u32>>,
    pub start_up_seconds: Option<Seconds>,
    pub price_per_hour_usd: Option<Spanned<DollarsPerHour>>,
    pub law: Option<Spanned<IterationLaw>>,
}

/// [`EngineSettings`] as written: what is absent follows the model or vLLM's defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of EngineSettings")]
pub struct EngineText {
    pub max_num_seqs: Option<NonZeroU32>,
    pub max_num_batched_tokens: Option<NonZeroU32>,
    pub gpu_memory_utilization: Option<Fraction>,
    pub precision: Option<Precision>,
    pub kv_precision: Option<Precision>,
    pub kv_cache_tokens: Option<NonZeroU32>,
    pub prefix_caching: Option<bool>,
}

impl EngineText {
    /// The settings for a model whose weights are in `precision` unless this says otherwise.
    pub(super) fn settings(&self, precision: Precision) -> EngineSettings {
        let default = EngineSettings::default();
        EngineSettings {
            max_num_seqs: self
                .max_num_seqs
                .map_or(default.max_num_seqs, NonZeroU32::get),
            max_num_batched_tokens: self
                .max_num_batched_tokens
                .map_or(default.max_num_batched_tokens, NonZeroU32::get),
            gpu_memory_utilization: self
                .gpu_memory_utilization
                .map_or(default.gpu_memory_utilization, Fraction::get),
            precision: self.precision.unwrap_or(precision),
            kv_precision: self.kv_precision.unwrap_or(default.kv_precision),
            kv_cache_tokens: self.kv_cache_tokens.map(NonZeroU32::get),
            prefix_caching: self.prefix_caching.unwrap_or(default.prefix_caching),
        }
    }
}

impl AcceleratorText {
    /// This text on top of `base`, or the keys that are missing where there is no base.
    pub(super) fn onto(self, base: Option<&Accelerator>) -> Result<Accelerator, Vec<&'static str>> {
        let mut missing = Vec::new();
        let mut need = |key, text: Option<Positive>, base: Option<f64>| {
            required(key, text.map(f64::from), base, &mut missing)
        };
        let optional = |text: Option<Positive>, base: Option<f64>| text.map(f64::from).or(base);
        let made = Accelerator {
            memory_gb: need("memory_gb", self.memory_gb, base.map(|b| b.memory_gb)),
            bandwidth_tb_s: need(
                "bandwidth_tb_s",
                self.bandwidth_tb_s,
                base.map(|b| b.bandwidth_tb_s),
            ),
            bf16_tflops: need("bf16_tflops", self.bf16_tflops, base.map(|b| b.bf16_tflops)),
            fp8_tflops: optional(self.fp8_tflops, base.and_then(|b| b.fp8_tflops)),
            power_w: optional(self.power_w, base.and_then(|b| b.power_w)),
            link_gb_s: optional(self.link_gb_s, base.and_then(|b| b.link_gb_s)),
            price_per_hour_usd: self
                .price_per_hour_usd
                .or(base.and_then(|b| b.price_per_hour_usd)),
            name: base.map_or(self.name.value, |b| b.name.clone()),
            aliases: with_aliases(base.map(|b| &b.aliases), self.aliases),
            source: self
                .source
                .or(base.map(|b| b.source.clone()))
                .unwrap_or_default(),
        };
        if missing.is_empty() {
            Ok(made)
        } else {
            Err(missing)
        }
    }
}

impl ModelText {
    /// This text on top of `base`, or the keys that are missing where there is no base.
    pub(super) fn onto(self, base: Option<&Model>) -> Result<Model, Vec<&'static str>> {
        let mut missing = Vec::new();
        let parameters_b = required(
            "parameters_b",
            self.parameters_b.map(f64::from),
            base.map(|b| b.parameters_b),
            &mut missing,
        );
        let mut need = |key, text: Option<NonZeroU32>, base: Option<u32>| {
            required(key, text.map(NonZeroU32::get), base, &mut missing)
        };
        let optional =
            |text: Option<NonZeroU32>, base: Option<u32>| text.map(NonZeroU32::get).or(base);
        let made = Model {
            parameters_b,
            active_parameters_b: self
                .active_parameters_b
                .map(f64::from)
                .or(base.and_then(|b| b.active_parameters_b)),
            experts: self.experts.or(base.and_then(|b| b.experts)),
            layers: need("layers", self.layers, base.map(|b| b.layers)),
            hidden_size: need("hidden_size", self.hidden_size, base.map(|b| b.hidden_size)),
            attention_heads: optional(self.attention_heads, base.and_then(|b| b.attention_heads)),
            kv_heads: need("kv_heads", self.kv_heads, base.map(|b| b.kv_heads)),
            head_dim: need("head_dim", self.head_dim, base.map(|b| b.head_dim)),
            kv_elements_per_layer: optional(
                self.kv_elements_per_layer,
                base.and_then(|b| b.kv_elements_per_layer),
            ),
            precision: self
                .precision
                .or(base.map(|b| b.precision))
                .unwrap_or_default(),
            max_context_tokens: need(
                "max_context_tokens",
                self.max_context_tokens,
                base.map(|b| b.max_context_tokens),
            ),
            name: base.map_or(self.name.value, |b| b.name.clone()),
            aliases: with_aliases(base.map(|b| &b.aliases), self.aliases),
            source: self
                .source
                .or(base.map(|b| b.source.clone()))
                .unwrap_or_default(),
        };
        if missing.is_empty() {
            Ok(made)
        } else {
            Err(missing)
        }
    }
}

/// The text's value, else the base's; otherwise notes the key as missing.
fn required<T: Default>(
    key: &'static str,
    text: Option<T>,
    base: Option<T>,
    missing: &mut Vec<&'static str>,
) -> T {
    text.or(base).unwrap_or_else(|| {
        missing.push(key);
        T::default()
    })
}

/// The base's aliases and the text's, each once: a file adds names, it takes none away.
fn with_aliases(base: Option<&Vec<String>>, text: Option<Vec<String>>) -> Vec<String> {
    let mut all = base.cloned().unwrap_or_default();
    for alias in text.unwrap_or_default() {
        if !all.contains(&alias) {
            all.push(alias);
        }
    }
    all
}
