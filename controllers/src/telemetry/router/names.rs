//! What endpoint pickers of three generations call their metrics.

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Shown by a picker that lives, whatever its traffic.
    Alive,
    /// Requests sent on.
    Requests,
    /// Requests that failed.
    Errors,
    /// Requests held by flow control.
    Held,
    /// Requests sent on that have not ended.
    Running,
    /// Histogram: input tokens.
    Input,
    /// Histogram: input tokens found in a cache.
    Cached,
    /// Histogram: output tokens.
    Output,
    /// Histogram: arrival to first token.
    Ttft,
    /// Histogram: mean gap between output tokens.
    Tpot,
}

/// Part of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Facet {
    /// Value of a counter or gauge, or count of a histogram.
    Value,
    /// Sum of a histogram.
    Sum,
    /// Bucket of a histogram.
    Bucket,
}

/// Where the number of a series goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// What it is.
    pub quantity: Quantity,
    /// Part of its family.
    pub facet: Facet,
    /// Generation of its name, 0 the newest.
    pub generation: u8,
}

/// All series that are read.
pub const NAMES: &[&str] = &[
    "llm_d_epp_ready_endpoints",
    "llm_d_epp_request_total",
    "llm_d_epp_request_error_total",
    "llm_d_epp_request_running",
    "llm_d_epp_flow_control_queue_size",
    "llm_d_epp_request_input_tokens_bucket",
    "llm_d_epp_request_input_tokens_sum",
    "llm_d_epp_request_input_tokens_count",
    "llm_d_epp_request_prompt_cached_tokens_sum",
    "llm_d_epp_request_output_tokens_bucket",
    "llm_d_epp_request_output_tokens_sum",
    "llm_d_epp_request_output_tokens_count",
    "llm_d_epp_request_ttft_seconds_bucket",
    "llm_d_epp_request_ttft_seconds_sum",
    "llm_d_epp_request_ttft_seconds_count",
    "llm_d_epp_request_streaming_tpot_seconds_bucket",
    "llm_d_epp_request_streaming_tpot_seconds_sum",
    "llm_d_epp_request_streaming_tpot_seconds_count",
    "inference_pool_ready_pods",
    "inference_objective_request_total",
    "inference_objective_request_error_total",
    "inference_objective_running_requests",
    "inference_extension_flow_control_queue_size",
    "inference_objective_input_tokens_bucket",
    "inference_objective_input_tokens_sum",
    "inference_objective_input_tokens_count",
    "inference_objective_prompt_cached_tokens_sum",
    "inference_objective_output_tokens_bucket",
    "inference_objective_output_tokens_sum",
    "inference_objective_output_tokens_count",
    "inference_objective_request_ttft_seconds_bucket",
    "inference_objective_request_ttft_seconds_sum",
    "inference_objective_request_ttft_seconds_count",
    "inference_model_request_total",
    "inference_model_request_error_total",
    "inference_model_running_requests",
    "inference_model_input_tokens_bucket",
    "inference_model_input_tokens_sum",
    "inference_model_input_tokens_count",
    "inference_model_output_tokens_bucket",
    "inference_model_output_tokens_sum",
    "inference_model_output_tokens_count",
];

/// The field that the metric `name` belongs to; `None` for metrics that are not read.
#[must_use]
pub fn field(name: &str) -> Option<Field> {
    let (rest, generation) = [
        ("llm_d_epp_", 0),
        ("inference_objective_", 1),
        ("inference_pool_", 1),
        ("inference_extension_", 1),
        ("inference_model_", 2),
    ]
    .into_iter()
    .find_map(|(prefix, generation)| Some((name.strip_prefix(prefix)?, generation)))?;
    let scalar = match rest {
        "ready_endpoints" | "ready_pods" => Some(Quantity::Alive),
        "request_total" => Some(Quantity::Requests),
        "request_error_total" => Some(Quantity::Errors),
        "request_running" | "running_requests" => Some(Quantity::Running),
        "flow_control_queue_size" => Some(Quantity::Held),
        _ => None,
    };
    let (quantity, facet) = match scalar {
        Some(quantity) => (quantity, Facet::Value),
        None => histogram_field(rest)?,
    };
    Some(Field {
        quantity,
        facet,
        generation,
    })
}

fn histogram_field(rest: &str) -> Option<(Quantity, Facet)> {
    let (base, suffix) = rest.rsplit_once('_')?;
    let facet = match suffix {
        "bucket" => Facet::Bucket,
        "sum" => Facet::Sum,
        "count" => Facet::Value,
        _ => return None,
    };
    let quantity = match base.strip_prefix("request_").unwrap_or(base) {
        "input_tokens" => Quantity::Input,
        "prompt_cached_tokens" if facet == Facet::Sum => Quantity::Cached,
        "output_tokens" => Quantity::Output,
        "ttft_seconds" => Quantity::Ttft,
        "streaming_tpot_seconds" | "tpot_seconds" => Quantity::Tpot,
        _ => return None,
    };
    Some((quantity, facet))
}
