//! Metric names of TensorRT-LLM's own server (source: TensorRT-LLM's metrics collector; page at `/prometheus/metrics`, with
//! `return_perf_metrics` and `enable_iter_perf_stats` set).
//!
//! Tokens and iterations are not counted, and `time_per_output_token_seconds` has one entry per request: the fit gets no
//! token gaps from it, and says so by trusting its prior.

use super::{Dialect, Facet, Field, Quantity, split_histogram};

/// Series read, except buckets.
pub const NAMES: &[&str] = &[
    "trtllm_num_requests_running",
    "trtllm_num_requests_waiting",
    "trtllm_kv_cache_utilization",
    "trtllm_kv_cache_max_blocks",
    "trtllm_kv_cache_tokens_per_block",
    "trtllm_request_success_total",
    "trtllm_num_requests_completed_total",
    "trtllm_time_to_first_token_seconds_sum",
    "trtllm_time_to_first_token_seconds_count",
    "trtllm_request_queue_time_seconds_sum",
    "trtllm_request_queue_time_seconds_count",
    "trtllm_time_per_output_token_seconds_sum",
    "trtllm_time_per_output_token_seconds_count",
];

/// Buckets read.
pub const BUCKET_NAMES: &[&str] = &[
    "trtllm_time_to_first_token_seconds_bucket",
    "trtllm_time_per_output_token_seconds_bucket",
];

/// The field of `trtllm_` + `name`.
#[must_use]
pub fn field(name: &str) -> Option<Field> {
    let (quantity, facet, legacy) = match split_histogram(name) {
        Some((base, facet)) => (histogram(base, facet)?, facet, false),
        None => {
            let (quantity, legacy) = scalar(name.strip_suffix("_total").unwrap_or(name))?;
            (quantity, Facet::Value, legacy)
        }
    };
    Some(Field {
        dialect: Dialect::TrtLlm,
        quantity,
        facet,
        legacy,
    })
}

fn scalar(base: &str) -> Option<(Quantity, bool)> {
    Some(match base {
        "num_requests_running" => (Quantity::Running, false),
        "num_requests_waiting" => (Quantity::Waiting, false),
        "kv_cache_utilization" => (Quantity::KvUsage, false),
        "kv_cache_max_blocks" => (Quantity::KvBlocks, false),
        "kv_cache_tokens_per_block" => (Quantity::BlockTokens, false),
        "num_requests_completed" => (Quantity::Finished, false),
        // Counted with performance metrics only, and successes only.
        "request_success" => (Quantity::Finished, true),
        _ => return None,
    })
}

fn histogram(base: &str, facet: Facet) -> Option<Quantity> {
    let (quantity, buckets) = match base {
        "time_to_first_token_seconds" => (Quantity::Ttft, true),
        "time_per_output_token_seconds" => (Quantity::Tpot, true),
        "request_queue_time_seconds" => (Quantity::Queue, false),
        _ => return None,
    };
    (buckets || facet != Facet::Bucket).then_some(quantity)
}
