//! What one decision cycle sees: only what a scrape of real metrics would show.
//!
//! Counters are cumulative, as Prometheus counters are; the windows inside [`crate::state`] take differences and detect
//! resets. Each block carries the time it was sampled, so that the cycle judges freshness itself. A snapshot is plain
//! data: recorded as one JSON line it replays to the same decision.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

/// Everything that one cycle sees.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Time of the cycle, seconds since an epoch of the caller's choice.
    pub at: f64,
    /// Offered traffic per model and class.
    pub streams: Vec<StreamSample>,
    /// State of every variant.
    pub variants: Vec<VariantSample>,
    /// Devices that exist per accelerator, used or not; absent means unlimited.
    #[serde(default)]
    pub stock: BTreeMap<String, u32>,
    /// What groups of variants may hold together, beside the stock, by name: a namespace's quota of one kind of device.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quotas: BTreeMap<String, Quota>,
    /// Models that keep a replica even where the settings let models go to none: zero is not for them, or not yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub warm: BTreeSet<String>,
}

/// Devices that a group of variants may hold together, of whatever kinds they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quota {
    /// Devices, used or not.
    pub devices: u32,
    /// Names of the variants; others are none of its business.
    pub variants: BTreeSet<String>,
}

/// Offered traffic of one (model, class), as the gateway or the servers count it. All counters are cumulative.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StreamSample {
    /// Model name.
    pub model: String,
    /// Class name.
    pub class: String,
    /// When it was sampled; NaN or the far past means never.
    #[serde(deserialize_with = "time_or_never")]
    pub at: f64,
    /// Requests that arrived, refused ones included.
    pub arrivals: f64,
    /// Histogram of input tokens per arrived request.
    pub input_tokens: Histogram,
    /// Histogram of output tokens per finished request.
    pub output_tokens: Histogram,
    /// Share of input tokens found in prefix caches so far, where it is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_hit: Option<f64>,
    /// Histogram of arrival to first token, seconds, one entry per first token: what policies that chase a percentile
    /// scrape at the gateway.
    #[serde(default)]
    pub ttft: Histogram,
    /// Histogram of the mean gap between output tokens (TPOT), seconds, one entry per finished request with a gap.
    #[serde(default)]
    pub tpot: Histogram,
    /// Finished requests that met their class's bounds.
    pub met: f64,
    /// Requests that missed them, failed or were shed.
    pub missed: f64,
    /// Requests held at the gateway now, waiting for a replica or (batch) for spare capacity.
    pub held: f64,
    /// Requests that the gateway has sent to a replica and that have not ended.
    #[serde(default)]
    pub running: f64,
    /// Batch only: work held, by deadline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backlog: Vec<DueWork>,
}

/// JSON has no NaN: it is written as null.
fn time_or_never<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Batch work that is due by a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DueWork {
    /// Deadline, same clock as [`Snapshot::at`].
    pub due: f64,
    /// Requests due by then and not yet started (not cumulative over deadlines).
    pub requests: f64,
}

/// A cumulative histogram in Prometheus' form.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Histogram {
    /// Upper bounds of the buckets, ascending, without +Inf.
    pub bounds: Vec<f64>,
    /// Cumulative counts, one per bound.
    pub counts: Vec<f64>,
    /// All observations.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
}

/// One variant: its replicas by state and the telemetry of those that serve.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VariantSample {
    /// Variant name.
    pub name: String,
    /// Replicas that its scale target asks for now.
    pub desired: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// For each replica that is scheduled and loading: seconds since it was asked for.
    pub starting: Vec<f64>,
    /// For each replica that has no device: seconds since it was asked for.
    pub pending: Vec<f64>,
    /// Replicas that finish their requests and leave.
    pub draining: u32,
    /// Start-up times of replicas that became ready since the last snapshot, seconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_ups: Vec<f64>,
    /// Telemetry, one entry a serving replica.
    pub replicas: Vec<ReplicaSample>,
}

/// Telemetry of one replica under vLLM's metric semantics. Counters are cumulative since the replica started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReplicaSample {
    /// Replica identity, stable over its life.
    pub id: u64,
    /// When it was sampled.
    pub at: f64,
    /// Sequences in the running batch (gauge).
    pub running: f64,
    /// Requests waiting in the engine (gauge).
    pub waiting: f64,
    /// KV-cache use, 0 to 1 (gauge).
    pub kv_usage: f64,
    /// Engine iterations (count of `iteration_tokens_total`).
    pub iterations: f64,
    /// Prompt tokens computed.
    pub prompt_tokens: f64,
    /// Tokens generated.
    pub generation_tokens: f64,
    /// Requests finished.
    pub finished: f64,
    /// Preemptions.
    pub preemptions: f64,
    /// TTFT: sum of seconds and count.
    pub ttft: SumCount,
    /// Gaps between output tokens: sum of seconds and count.
    pub gap: SumCount,
    /// Time from being scheduled to the first token (`request_prefill_time_seconds`): sum and count.
    pub prefill: SumCount,
    /// Time waiting in the engine's queue (`request_queue_time_seconds`): sum and count.
    pub queue: SumCount,
}

/// Sum and count of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SumCount {
    /// Sum of the observations, seconds.
    pub sum: f64,
    /// Number of observations.
    pub count: f64,
}
