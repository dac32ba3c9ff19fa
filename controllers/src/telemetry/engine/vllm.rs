//! vLLM's metric names, V0 and V1 (source: vLLM documentation, "Production metrics", and its metrics design page).
//!
//! - `inter_token_latency_seconds` was called `time_per_output_token_seconds`; both have one entry per gap.
//!   `request_time_per_output_token_seconds` has one entry per request.
//! - `kv_cache_usage_perc` was called `gpu_cache_usage_perc`; it is a share in spite of its name.
//! - `prompt_tokens_total` counts cached tokens too; `prompt_tokens_by_source_total{source="local_compute"}` does not.
//! - `prefix_cache_queries` counts a waiting request again each time it is looked at: only the ratio to the hits is used.
//! - Counters get `_total` appended by the Python client; pipelines in between sometimes take it off.
//! - Each data-parallel engine has a label `engine`.

use super::{Dialect, Facet, Field, Quantity, split_histogram};

/// Series read, except buckets.
pub const NAMES: &[&str] = &[
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:num_requests_swapped",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "vllm:cache_config_info",
    "vllm:lora_requests_info",
    "vllm:iteration_tokens_total_count",
    "vllm:prompt_tokens_total",
    "vllm:prompt_tokens",
    "vllm:prompt_tokens_by_source_total",
    "vllm:prompt_tokens_cached_total",
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_queries",
    "vllm:gpu_prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "vllm:prefix_cache_hits",
    "vllm:gpu_prefix_cache_hits_total",
    "vllm:generation_tokens_total",
    "vllm:generation_tokens",
    "vllm:request_success_total",
    "vllm:request_success",
    "vllm:num_preemptions_total",
    "vllm:num_preemptions",
    "vllm:time_to_first_token_seconds_sum",
    "vllm:time_to_first_token_seconds_count",
    "vllm:inter_token_latency_seconds_sum",
    "vllm:inter_token_latency_seconds_count",
    "vllm:time_per_output_token_seconds_sum",
    "vllm:time_per_output_token_seconds_count",
    "vllm:request_prefill_time_seconds_sum",
    "vllm:request_prefill_time_seconds_count",
    "vllm:request_queue_time_seconds_sum",
    "vllm:request_queue_time_seconds_count",
    "vllm:time_in_queue_requests_sum",
    "vllm:time_in_queue_requests_count",
];

/// Buckets read.
pub const BUCKET_NAMES: &[&str] = &[
    "vllm:request_prompt_tokens_bucket",
    "vllm:request_generation_tokens_bucket",
    "vllm:time_to_first_token_seconds_bucket",
    "vllm:request_time_per_output_token_seconds_bucket",
];

/// The field of `vllm:` + `name`.
#[must_use]
pub fn field(name: &str) -> Option<Field> {
    let (quantity, facet, legacy) = match split_histogram(name) {
        Some((base, facet)) => histogram(base, facet)?,
        None => {
            let (quantity, legacy) = scalar(name.strip_suffix("_total").unwrap_or(name))?;
            (quantity, Facet::Value, legacy)
        }
    };
    Some(Field {
        dialect: Dialect::Vllm,
        quantity,
        facet,
        legacy,
    })
}

fn scalar(base: &str) -> Option<(Quantity, bool)> {
    Some(match base {
        "num_requests_running" => (Quantity::Running, false),
        // Swapped-out sequences of V0 wait for room as the waiting ones do.
        "num_requests_waiting" | "num_requests_swapped" => (Quantity::Waiting, false),
        "kv_cache_usage_perc" => (Quantity::KvUsage, false),
        "gpu_cache_usage_perc" => (Quantity::KvUsage, true),
        "cache_config_info" => (Quantity::CacheInfo, false),
        "lora_requests_info" => (Quantity::Lora, false),
        "prompt_tokens" => (Quantity::PromptTokens, false),
        "prompt_tokens_by_source" => (Quantity::ComputedTokens, false),
        "prompt_tokens_cached" => (Quantity::CachedTokens, false),
        "prefix_cache_queries" => (Quantity::PrefixQueries, false),
        "gpu_prefix_cache_queries" => (Quantity::PrefixQueries, true),
        "prefix_cache_hits" => (Quantity::PrefixHits, false),
        "gpu_prefix_cache_hits" => (Quantity::PrefixHits, true),
        "generation_tokens" => (Quantity::GenerationTokens, false),
        "request_success" => (Quantity::Finished, false),
        "num_preemptions" => (Quantity::Preemptions, false),
        _ => return None,
    })
}

fn histogram(base: &str, facet: Facet) -> Option<(Quantity, Facet, bool)> {
    let (quantity, buckets, legacy) = match base {
        "iteration_tokens_total" if facet == Facet::Value => (Quantity::Iterations, false, false),
        "time_to_first_token_seconds" => (Quantity::Ttft, true, false),
        "inter_token_latency_seconds" => (Quantity::Gap, false, false),
        "time_per_output_token_seconds" => (Quantity::Gap, false, true),
        "request_time_per_output_token_seconds" => (Quantity::Tpot, true, false),
        "request_prefill_time_seconds" => (Quantity::Prefill, false, false),
        "request_queue_time_seconds" => (Quantity::Queue, false, false),
        "time_in_queue_requests" => (Quantity::Queue, false, true),
        "request_prompt_tokens" => (Quantity::InputTokens, true, false),
        "request_generation_tokens" => (Quantity::OutputTokens, true, false),
        _ => return None,
    };
    (buckets || facet != Facet::Bucket).then_some((quantity, facet, legacy))
}
