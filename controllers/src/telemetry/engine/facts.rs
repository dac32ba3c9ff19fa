//! What engines say in labels instead of numbers.

use serde::{Deserialize, Serialize};

use crate::telemetry::exposition::LabelSet;

/// Adapters of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lora {
    /// Adapters that fit at once, where it is reported.
    pub max: Option<u32>,
    /// Adapters in use.
    pub running: Vec<String>,
    /// Adapters that requests wait for.
    pub waiting: Vec<String>,
}

impl Lora {
    /// From the labels of `vllm:lora_requests_info`.
    pub(super) fn of_labels(labels: &impl LabelSet) -> Self {
        let list = |name| -> Vec<String> {
            let value = labels.label(name).unwrap_or_default();
            let names = value.split(',').map(str::trim).filter(|n| !n.is_empty());
            names.map(str::to_owned).collect()
        };
        Self {
            max: labels.label("max_lora").and_then(|m| m.parse().ok()),
            running: list("running_lora_adapters"),
            waiting: list("waiting_lora_adapters"),
        }
    }
}

/// KV tokens by the labels of a cache information metric: blocks times tokens per block.
pub(super) fn kv_tokens(labels: &impl LabelSet) -> Option<f64> {
    let number = |names: [&str; 2]| -> Option<f64> {
        let value = names.iter().find_map(|n| labels.label(n))?;
        value
            .parse()
            .ok()
            .filter(|x: &f64| x.is_finite() && *x > 0.0)
    };
    Some(number(["block_size", "page_size"])? * number(["num_gpu_blocks", "num_pages"])?)
}
