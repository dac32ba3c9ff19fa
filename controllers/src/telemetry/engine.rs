//! Model servers by what they call their metrics.
//!
//! Each dialect is one pure function from a metric name to a [`Field`]: what the number is and where it goes. Reading is the
//! same for all of them, and for pages and Prometheus answers alike. Names of older releases are kept apart from those of
//! newer ones (`legacy`), because some releases export both: the newer one wins, they are never added.

mod facts;
mod reader;
mod reading;
pub mod sglang;
pub mod triton;
pub mod trtllm;
pub mod vllm;

use serde::{Deserialize, Serialize};

pub use facts::Lora;
pub use reader::EngineReader;
pub(crate) use reader::{STARTED_AT, histogram};
pub use reading::EngineReading;
pub(crate) use reading::add;

/// A family of model servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// vLLM, V0 and V1.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server.
    #[serde(rename = "trtllm-serve")]
    TrtLlm,
    /// Triton Inference Server with the TensorRT-LLM backend.
    #[serde(rename = "triton-tensorrt-llm")]
    Triton,
}

impl Dialect {
    /// All of them; of two that are on one page the earlier is taken, unless the label says otherwise.
    pub const ALL: [Self; 4] = [Self::Vllm, Self::Sglang, Self::TrtLlm, Self::Triton];

    /// By the value of `llm-d.ai/engine-type`; `None` for an unknown one.
    #[must_use]
    pub fn of_label(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "vllm" => Some(Self::Vllm),
            "sglang" => Some(Self::Sglang),
            "trtllm" | "trtllm-serve" | "trt-llm" | "tensorrt-llm" => Some(Self::TrtLlm),
            "triton" | "triton-tensorrt-llm" | "triton-trtllm" => Some(Self::Triton),
            _ => None,
        }
    }

    /// Value of `llm-d.ai/engine-type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::TrtLlm => "trtllm-serve",
            Self::Triton => "triton-tensorrt-llm",
        }
    }

    /// Port of its metrics unless told otherwise.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Vllm | Self::TrtLlm => 8000,
            Self::Sglang => 30000,
            Self::Triton => 8002,
        }
    }

    /// Path of its metrics unless told otherwise.
    #[must_use]
    pub const fn default_path(self) -> &'static str {
        match self {
            Self::TrtLlm => "/prometheus/metrics",
            _ => "/metrics",
        }
    }

    /// Gauge that every page of this engine has: asked for its time stamp.
    #[must_use]
    pub const fn heartbeat(self) -> &'static str {
        match self {
            Self::Vllm => "vllm:num_requests_running",
            Self::Sglang => "sglang:num_running_reqs",
            Self::TrtLlm => "trtllm_num_requests_running",
            Self::Triton => "nv_trt_llm_request_metrics",
        }
    }

    /// Names of all series that are read of this engine, except buckets.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Vllm => vllm::NAMES,
            Self::Sglang => sglang::NAMES,
            Self::TrtLlm => trtllm::NAMES,
            Self::Triton => triton::NAMES,
        }
    }

    /// Names of the bucket series that are read of this engine.
    #[must_use]
    pub const fn bucket_names(self) -> &'static [&'static str] {
        match self {
            Self::Vllm => vllm::BUCKET_NAMES,
            Self::Sglang => sglang::BUCKET_NAMES,
            Self::TrtLlm => trtllm::BUCKET_NAMES,
            Self::Triton => triton::BUCKET_NAMES,
        }
    }
}

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// Sequences in the running batch.
    Running,
    /// Requests waiting in the engine.
    Waiting,
    /// Share of the KV cache in use.
    KvUsage,
    /// KV cache, tokens.
    KvTokens,
    /// KV cache, blocks; with [`Self::BlockTokens`].
    KvBlocks,
    /// Tokens per KV block.
    BlockTokens,
    /// KV cache as labels of an information metric.
    CacheInfo,
    /// Adapters as labels of an information metric.
    Lora,
    /// Engine iterations.
    Iterations,
    /// Prompt tokens, cached ones included.
    PromptTokens,
    /// Prompt tokens that had to be computed.
    ComputedTokens,
    /// Prompt tokens found in a cache.
    CachedTokens,
    /// Tokens looked for in the prefix cache.
    PrefixQueries,
    /// Tokens found in the prefix cache.
    PrefixHits,
    /// Output tokens.
    GenerationTokens,
    /// Requests that ended.
    Finished,
    /// Requests that were aborted, where those are not among the finished ones.
    Aborted,
    /// Preemptions.
    Preemptions,
    /// Histogram: arrival to first token.
    Ttft,
    /// Histogram: gaps between output tokens, one entry a gap.
    Gap,
    /// Histogram: mean gap of a request, one entry a request.
    Tpot,
    /// Histogram: scheduled to first token.
    Prefill,
    /// Histogram: waiting to be scheduled.
    Queue,
    /// Histogram: input tokens per request.
    InputTokens,
    /// Histogram: output tokens per request.
    OutputTokens,
}

/// Which part of a family a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Facet {
    /// A gauge or counter, or the count of a histogram.
    Value,
    /// Sum of a histogram.
    Sum,
    /// A bucket of a histogram.
    Bucket,
}

/// Where the number of a series goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Which engine's.
    pub dialect: Dialect,
    /// What it is.
    pub quantity: Quantity,
    /// Part of its family.
    pub facet: Facet,
    /// Name of an older release.
    pub legacy: bool,
}

/// The field that the metric `name` belongs to; `None` for metrics that are not read.
#[must_use]
pub fn field(name: &str) -> Option<Field> {
    if let Some(rest) = name.strip_prefix("vllm:") {
        vllm::field(rest)
    } else if let Some(rest) = name
        .strip_prefix("sglang:")
        .or_else(|| name.strip_prefix("sglang_"))
    {
        sglang::field(rest)
    } else if let Some(rest) = name.strip_prefix("trtllm_") {
        trtllm::field(rest)
    } else if let Some(rest) = name.strip_prefix("nv_") {
        triton::field(rest)
    } else {
        None
    }
}

/// The part of a histogram family by the suffix of `name`, and the family's own name.
fn split_histogram(name: &str) -> Option<(&str, Facet)> {
    let (base, suffix) = name.rsplit_once('_')?;
    match suffix {
        "bucket" => Some((base, Facet::Bucket)),
        "sum" => Some((base, Facet::Sum)),
        "count" => Some((base, Facet::Value)),
        _ => None,
    }
}
