//! SGLang's metric names (source: SGLang documentation, "Production metrics"; they need `--enable-metrics`).
//!
//! - Schedulers report per `dp_rank`, and with all schedulers reporting once per `tp_rank` of the same batch: only the
//!   lowest tensor and pipeline rank of each data-parallel rank is read. The front end's histograms have no ranks.
//! - `num_requests_total` counts requests that ended by themselves; aborted ones have a counter of their own.
//! - `time_per_output_token_seconds` of older releases has one entry per request, `inter_token_latency_seconds` one per gap.
//! - Iterations are not reported.

use super::{Dialect, Facet, Field, Quantity, split_histogram};
use crate::telemetry::exposition::LabelSet;

/// Series read, except buckets.
pub const NAMES: &[&str] = &[
    "sglang:num_running_reqs",
    "sglang:num_queue_reqs",
    "sglang:token_usage",
    "sglang:max_total_num_tokens",
    "sglang:cache_config_info",
    "sglang:prompt_tokens_total",
    "sglang:cached_tokens_total",
    "sglang:generation_tokens_total",
    "sglang:num_requests_total",
    "sglang:num_aborted_requests_total",
    "sglang:num_retracted_requests_total",
    "sglang:time_to_first_token_seconds_sum",
    "sglang:time_to_first_token_seconds_count",
    "sglang:inter_token_latency_seconds_sum",
    "sglang:inter_token_latency_seconds_count",
    "sglang:queue_time_seconds_sum",
    "sglang:queue_time_seconds_count",
];

/// Buckets read.
pub const BUCKET_NAMES: &[&str] = &[
    "sglang:prompt_tokens_histogram_bucket",
    "sglang:generation_tokens_histogram_bucket",
    "sglang:time_to_first_token_seconds_bucket",
    "sglang:time_per_output_token_seconds_bucket",
];

/// The field of `sglang:` + `name`.
#[must_use]
pub fn field(name: &str) -> Option<Field> {
    let (quantity, facet) = match split_histogram(name) {
        Some((base, facet)) => (histogram(base, facet)?, facet),
        None => (
            scalar(name.strip_suffix("_total").unwrap_or(name))?,
            Facet::Value,
        ),
    };
    Some(Field {
        dialect: Dialect::Sglang,
        quantity,
        facet,
        legacy: false,
    })
}

fn scalar(base: &str) -> Option<Quantity> {
    Some(match base {
        "num_running_reqs" => Quantity::Running,
        "num_queue_reqs" => Quantity::Waiting,
        "token_usage" => Quantity::KvUsage,
        "max_total_num_tokens" => Quantity::KvTokens,
        "cache_config_info" => Quantity::CacheInfo,
        "prompt_tokens" => Quantity::PromptTokens,
        "cached_tokens" => Quantity::CachedTokens,
        "generation_tokens" => Quantity::GenerationTokens,
        "num_requests" => Quantity::Finished,
        "num_aborted_requests" => Quantity::Aborted,
        "num_retracted_requests" => Quantity::Preemptions,
        _ => return None,
    })
}

fn histogram(base: &str, facet: Facet) -> Option<Quantity> {
    let (quantity, buckets) = match base {
        "time_to_first_token_seconds" => (Quantity::Ttft, true),
        "inter_token_latency_seconds" => (Quantity::Gap, false),
        "time_per_output_token_seconds" => (Quantity::Tpot, true),
        "queue_time_seconds" => (Quantity::Queue, false),
        "prompt_tokens_histogram" => (Quantity::InputTokens, true),
        "generation_tokens_histogram" => (Quantity::OutputTokens, true),
        _ => return None,
    };
    (buckets || facet != Facet::Bucket).then_some(quantity)
}

/// Tensor and pipeline rank of a scheduler, as one number.
pub(super) fn rank(labels: &impl LabelSet) -> u32 {
    let rank = |name| {
        labels
            .label(name)
            .and_then(|r| r.parse::<u32>().ok())
            .unwrap_or(0)
    };
    rank("tp_rank").saturating_add(rank("pp_rank").saturating_mul(1024))
}
