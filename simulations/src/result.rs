//! What one policy's run came to: the figures of the `simulate` command, a timeline for plots, and the decisions.
//!
//! Plain data. The same setup, policy and seed give the same value, and so the same JSON bytes.

use serde::{Deserialize, Serialize};
use wva_optimizer::decision::Decision;

/// Outcome of one policy on one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Name of the policy.
    pub policy: String,
    /// Seed of the run.
    pub seed: u64,
    /// Length of the run, s: cost, replicas and the timeline cover exactly this; requests that arrived in it may finish
    /// in the tail after it.
    pub duration_s: f64,
    /// Price of all devices held, from being scheduled to being gone, over the run.
    pub cost_usd: f64,
    /// Devices × hours held over the run.
    pub gpu_hours: f64,
    /// Estimated energy of the devices held; absent where the power of an accelerator in use is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_kwh: Option<f64>,
    /// Attained requests / requests; 1 when there are none.
    pub attainment: f64,
    /// Requests that arrived.
    pub requests: u64,
    /// Requests that did not attain their class's promise: failed, shed and unfinished ones included.
    pub missed: u64,
    /// Requests that no replica could ever hold, or that waited at the gateway beyond its limit.
    pub failed: u64,
    /// Batch requests dropped because their deadline had passed before they could start.
    pub shed: u64,
    /// Requests still in the system when the tail ended.
    pub unfinished: u64,
    /// Time average of replicas that hold devices: starting, ready and draining.
    pub mean_replicas: f64,
    /// Most replicas that held devices at any time.
    pub max_replicas: u32,
    /// Changes of any variant's desired replicas.
    pub scaling_events: u64,
    /// Per (class, model).
    pub classes: Vec<ClassResult>,
    /// Per variant.
    pub variants: Vec<VariantResult>,
    /// Seconds between the points of the timeline.
    pub timeline_step_s: f64,
    /// State and latencies over time; at most about 1500 points.
    pub timeline: Vec<TimelinePoint>,
    /// Decisions that changed a variant's target.
    pub decisions: Vec<Decision>,
}

/// Requests of one class at one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassResult {
    /// Class name.
    pub class: String,
    /// Model name.
    pub model: String,
    /// Attained requests / requests; 1 when there are none.
    pub attainment: f64,
    /// Requests that arrived.
    pub requests: u64,
    /// Requests that did not attain.
    pub missed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were shed.
    pub shed: u64,
    /// Share of the input tokens of scheduled requests that was found in a prefix cache; absent where none was scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_hit: Option<f64>,
    /// Arrival to first token; absent when no request got one.
    pub ttft_ms: Option<LatencySummary>,
    /// Mean gap between the output tokens of a request, each request counting once; absent without such a request.
    pub itl_ms: Option<LatencySummary>,
    /// Gap between consecutive output tokens, each token counting once.
    pub gap_ms: Option<LatencySummary>,
    /// Arrival to last token.
    pub e2e_ms: Option<LatencySummary>,
}

/// Mean (exact) and percentiles (within 0.5 %) of a latency in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Mean.
    pub mean: f64,
}

/// One variant over the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantResult {
    /// Variant name.
    pub variant: String,
    /// Model name.
    pub model: String,
    /// Accelerator name.
    pub accelerator: String,
    /// Price of one replica.
    pub price_per_hour_usd: f64,
    /// Price of its replicas over the run.
    pub cost_usd: f64,
    /// Devices × hours of its replicas over the run.
    pub gpu_hours: f64,
    /// Time average of its replicas that hold devices.
    pub mean_replicas: f64,
    /// Most replicas that held devices at any time.
    pub max_replicas: u32,
    /// Requests that its replicas finished (a prefill and a decode variant both count a request that they share).
    pub finished: u64,
    /// Sequences preempted for lack of KV-cache space.
    pub preemptions: u64,
    /// Share of its ready time in which an iteration was running.
    pub busy: f64,
}

/// The fleet at one time, and the requests of the interval that ends there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelinePoint {
    /// End of the interval, seconds since the start.
    pub at_s: f64,
    /// Price of the devices held at that time.
    pub cost_per_hour_usd: f64,
    /// In the order of [`RunResult::variants`].
    pub variants: Vec<VariantPoint>,
    /// In the order of [`RunResult::classes`].
    pub classes: Vec<ClassPoint>,
}

/// Replicas of one variant at one time, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantPoint {
    /// What the scale target asks for.
    pub desired: u32,
    /// Serving.
    pub ready: u32,
    /// Holding devices, loading.
    pub starting: u32,
    /// Waiting for a device.
    pub pending: u32,
    /// Finishing their requests before they go.
    pub draining: u32,
}

/// Requests of one (class, model) over one interval. Latencies are absent when no request had them in the interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassPoint {
    /// Arrivals, requests per second.
    pub demand_rps: f64,
    /// Output tokens that the arrivals ask for, tokens per second.
    pub output_tokens_per_s: f64,
    /// Median TTFT of first tokens in the interval.
    pub ttft_p50_ms: Option<f64>,
    /// 99th percentile of the same.
    pub ttft_p99_ms: Option<f64>,
    /// Median ITL (mean gap per request) of requests that finished in the interval.
    pub itl_p50_ms: Option<f64>,
    /// 99th percentile of the same.
    pub itl_p99_ms: Option<f64>,
    /// Requests that finished and attained in the interval.
    pub attained: u64,
    /// Requests found in the interval to have missed: finished too late, failed or shed.
    pub missed: u64,
    /// Requests held at the gateway at the end.
    pub held: u64,
}
