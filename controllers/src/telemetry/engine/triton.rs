//! Metric names of Triton with the TensorRT-LLM backend (source: Triton's metrics page and the backend's custom metrics).
//!
//! - Gauges are spread over label values of one family: `request_type`, `kv_cache_block_type`, `general_type`.
//! - `nv_inference_request_success` counts a request once per model of the ensemble that it passes: only the model that
//!   generates is counted, by its usual name `tensorrt_llm`, else the ensemble.

use std::borrow::Cow;

use super::{Dialect, Facet, Field, Quantity, split_histogram};
use crate::telemetry::exposition::LabelSet;

/// Series read, except buckets.
pub const NAMES: &[&str] = &[
    "nv_trt_llm_request_metrics",
    "nv_trt_llm_kv_cache_block_metrics",
    "nv_trt_llm_general_metrics",
    "nv_inference_request_success",
    "nv_inference_request_failure",
    "nv_llm_input_token_len_sum",
    "nv_llm_input_token_len_count",
    "nv_llm_output_token_len_sum",
    "nv_llm_output_token_len_count",
];

/// Buckets read.
pub const BUCKET_NAMES: &[&str] = &[
    "nv_llm_input_token_len_bucket",
    "nv_llm_output_token_len_bucket",
];

/// The field of `nv_` + `name`; families that are spread over label values get theirs from the labels.
#[must_use]
pub fn field(name: &str) -> Option<Field> {
    let (quantity, facet) = match name {
        "trt_llm_request_metrics" => (Quantity::Running, Facet::Value),
        "trt_llm_kv_cache_block_metrics" => (Quantity::KvUsage, Facet::Value),
        "trt_llm_general_metrics" => (Quantity::Iterations, Facet::Value),
        "inference_request_success" => (Quantity::Finished, Facet::Value),
        "inference_request_failure" => (Quantity::Aborted, Facet::Value),
        _ => match split_histogram(name)? {
            ("llm_input_token_len", facet) => (Quantity::InputTokens, facet),
            ("llm_output_token_len", facet) => (Quantity::OutputTokens, facet),
            _ => return None,
        },
    };
    Some(Field {
        dialect: Dialect::Triton,
        quantity,
        facet,
        legacy: false,
    })
}

/// The quantity by the labels; `None` for label values that are not read.
pub(super) fn refine(quantity: Quantity, labels: &impl LabelSet) -> Option<Quantity> {
    let value = |name| labels.label(name).unwrap_or(Cow::Borrowed(""));
    match quantity {
        Quantity::Running => match &*value("request_type") {
            "scheduled" => Some(Quantity::Running),
            "waiting" => Some(Quantity::Waiting),
            _ => None,
        },
        Quantity::KvUsage => match &*value("kv_cache_block_type") {
            "fraction" => Some(Quantity::KvUsage),
            "tokens_per" => Some(Quantity::BlockTokens),
            "max" => Some(Quantity::KvBlocks),
            _ => None,
        },
        Quantity::Iterations => (value("general_type") == "iteration_counter").then_some(quantity),
        _ => Some(quantity),
    }
}

/// Preference among the models of an ensemble, the lowest first; `None` for its helpers.
pub(super) fn rank(labels: &impl LabelSet) -> Option<u32> {
    match labels.label("model").as_deref() {
        Some("tensorrt_llm") | None => Some(0),
        Some("ensemble" | "tensorrt_llm_bls") => Some(1),
        Some("preprocessing" | "postprocessing") => None,
        Some(_) => Some(2),
    }
}
