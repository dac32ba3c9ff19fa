//! Variants: the unit that is scaled. A variant is a model on an accelerator with one parallelism, one set of engine
//! settings and one role; on a cluster it is a Deployment, a StatefulSet or a LeaderWorkerSet.

use serde::{Deserialize, Serialize};

use crate::iteration::IterationLaw;
use crate::model::Precision;
use crate::units::{DollarsPerHour, Seconds};

/// What a variant's replicas do with a request.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Prefill and decode in one engine (aggregated serving).
    #[default]
    Both,
    /// Prefill only: computes the prompt's KV cache and hands it to a decode replica.
    Prefill,
    /// Decode only: receives the KV cache and generates.
    Decode,
}

/// Settings of the serving engine, named after vLLM's flags.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSettings {
    /// Most sequences in the running batch (S).
    pub max_num_seqs: u32,
    /// Token budget of one iteration (M).
    pub max_num_batched_tokens: u32,
    /// Share of device memory that weights, activations and KV cache may fill.
    pub gpu_memory_utilization: f64,
    /// Format of the weights.
    pub precision: Precision,
    /// Format of the KV cache.
    pub kv_precision: Precision,
    /// KV-cache capacity in tokens (C) where known; absent means computed from memory and weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache_tokens: Option<u32>,
    /// Whether prefixes are cached between requests.
    pub prefix_caching: bool,
}

impl Default for EngineSettings {
    /// vLLM's defaults on a large accelerator.
    fn default() -> Self {
        Self {
            max_num_seqs: 256,
            max_num_batched_tokens: 8192,
            gpu_memory_utilization: 0.9,
            precision: Precision::Bf16,
            kv_precision: Precision::Bf16,
            kv_cache_tokens: None,
            prefix_caching: true,
        }
    }
}

/// Model × accelerator × parallelism × engine settings × role: what is scaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Name, unique in the catalogue.
    pub name: String,
    /// Name of the [`crate::model::Model`] it serves.
    pub model: String,
    /// Name of the [`crate::accelerator::Accelerator`] it runs on.
    pub accelerator: String,
    /// Devices per replica that share each layer (TP); a replica occupies this many devices.
    #[serde(default = "one")]
    pub tensor_parallel: u32,
    /// Prefill, decode, or both.
    #[serde(default)]
    pub role: Role,
    /// Engine settings.
    #[serde(default)]
    pub engine: EngineSettings,
    /// Fewest replicas ever.
    #[serde(default)]
    pub min_replicas: u32,
    /// Most replicas ever; absent means only stock limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<u32>,
    /// Time from asking for a replica to its first served request.
    #[serde(default = "Variant::default_start_up", rename = "start_up_seconds")]
    pub start_up: Seconds,
    /// Price of one replica where it is not devices × accelerator price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_hour_usd: Option<DollarsPerHour>,
    /// Measured iteration law; absent means the roofline prior.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub law: Option<IterationLaw>,
}

fn one() -> u32 {
    1
}

impl Variant {
    /// Start-up time that is assumed where none is stated or learned: two minutes, a mid-size model from local disk.
    #[must_use]
    pub fn default_start_up() -> Seconds {
        Seconds::new(120.0).expect("a positive constant")
    }
}
