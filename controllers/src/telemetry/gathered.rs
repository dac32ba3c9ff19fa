//! What one gathering came to: plain data, for the cycle and for `doctor`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wva_optimizer::snapshot::{ReplicaSample, StreamSample};

use super::engine::{Dialect, Lora};
use super::gpu::{Gpu, Verdict};
use super::reason::{Missing, Note, Source};

/// Everything that was gathered for one cycle.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Gathered {
    /// Time of the cycle, seconds since the Unix epoch.
    pub at: f64,
    /// One entry per pod of the targets, in their order.
    pub pods: Vec<PodTelemetry>,
    /// One entry per (model, class) of the targets, in their order.
    pub streams: Vec<StreamTelemetry>,
    /// GPUs of those pods.
    #[serde(default)]
    pub gpus: Vec<GpuTelemetry>,
    /// How the sources did, by name.
    pub sources: BTreeMap<String, SourceHealth>,
    /// Model names that endpoint pickers or engines report and that no model claims, with where they were seen.
    #[serde(default)]
    pub unclaimed: BTreeMap<String, String>,
}

/// A sample, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome<T> {
    /// A sample that may be used.
    Sample(Sampled<T>),
    /// None, and why.
    Missing(Missing),
}

/// A sample with its origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampled<T> {
    /// The sample; its own `at` is the time it speaks of.
    pub value: T,
    /// Where it came from.
    pub source: Source,
    /// How old it is, seconds, at least 0.
    pub age: f64,
    /// What is odd about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

impl<T> Outcome<T> {
    /// The sample, if there is one.
    #[must_use]
    pub const fn sample(&self) -> Option<&T> {
        match self {
            Self::Sample(sampled) => Some(&sampled.value),
            Self::Missing(_) => None,
        }
    }

    /// Why there is none, if there is none.
    #[must_use]
    pub const fn missing(&self) -> Option<&Missing> {
        match self {
            Self::Sample(_) => None,
            Self::Missing(missing) => Some(missing),
        }
    }
}

/// Telemetry of one pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodTelemetry {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Name of its variant.
    pub variant: String,
    /// The engine's sample.
    pub outcome: Outcome<ReplicaSample>,
    /// What else the engine says of itself, where it was heard.
    pub engine: Option<EngineFacts>,
}

/// What an engine says of itself beyond its sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// Which engine it is.
    pub dialect: Dialect,
    /// Data-parallel engines in the pod.
    pub engines: u32,
    /// Names under which it serves.
    pub models: Vec<String>,
    /// KV cache in tokens, all engines together, where it is reported.
    pub kv_tokens: Option<f64>,
    /// Adapters, where it has any.
    pub lora: Option<Lora>,
}

/// Telemetry of one (model, class).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamTelemetry {
    /// Model name.
    pub model: String,
    /// Class name.
    pub class: String,
    /// Its sample; the counters grow across changes of source, restarts and vanished pods.
    pub outcome: Outcome<StreamSample>,
    /// Who counted the arrivals.
    pub counted_by: Option<CountedBy>,
    /// Pods (`namespace/name`) that serve the model and are missing from the sum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
}

/// One GPU of one of the pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuTelemetry {
    /// Name of the variant whose pod has it.
    pub variant: String,
    /// What is known of it.
    pub gpu: Gpu,
    /// Whether it can be relied upon.
    pub verdict: Verdict,
}

/// Who counted arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CountedBy {
    /// The endpoint picker: offered load, refused and held requests included.
    Router,
    /// The engines: finished, running and waiting requests; a lower bound.
    Engines,
}

/// How a source did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SourceHealth {
    /// Whether it is configured at all.
    pub configured: bool,
    /// When it last answered, seconds since the Unix epoch.
    pub last_success: Option<f64>,
    /// When it last failed.
    pub last_failure: Option<f64>,
    /// What the last failure was: code and message.
    pub last_error: Option<Missing>,
    /// How long the last answer took, seconds; for pods the mean over them.
    pub latency_s: Option<f64>,
    /// Series read in the last answer, or in the last page of every pod together.
    pub series: u64,
    /// Warnings that came with the last answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Its clock minus ours, seconds, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_s: Option<f64>,
}

impl Gathered {
    /// Samples of the replicas of `variant`.
    pub fn replicas<'a>(&'a self, variant: &'a str) -> impl Iterator<Item = &'a ReplicaSample> {
        self.pods
            .iter()
            .filter(move |p| p.variant == variant)
            .filter_map(|p| p.outcome.sample())
    }

    /// Power drawn by the GPUs of `variant` that report it, W; `None` where none does.
    #[must_use]
    pub fn power_w(&self, variant: &str) -> Option<f64> {
        let of = self.gpus.iter().filter(|g| g.variant == variant);
        of.filter_map(|g| g.gpu.power_w).reduce(|a, b| a + b)
    }

    /// Samples of all streams that have one.
    pub fn stream_samples(&self) -> impl Iterator<Item = &StreamSample> {
        self.streams.iter().filter_map(|s| s.outcome.sample())
    }
}
