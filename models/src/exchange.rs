//! What an endpoint picker and the controller tell each other, as plain data: JSON over HTTP, versioned.
//!
//! ```text
//! picker ── POST /v1/push: what arrived, how long it was, what it got, whom it no longer picks ──► controller
//!        ◄─ GET /v1/fits: laws, trust, concurrency, traffic, shares, who leaves ──
//! ```
//! Before replicas are taken away, the controller names the pods that will go, and waits for a push that says that its
//! sender has read so: then nothing new is on its way to them.
//!
//! A push carries the picker's whole state, counted since it began: losing one loses nothing, repeating one changes
//! nothing. The types are here, below both sides, so that neither depends on the other; unknown fields are ignored, and a
//! version is raised only when an old reader would be wrong.

use serde::{Deserialize, Serialize};

use crate::iteration::ReplicaModel;
use crate::service_class::ServiceClass;
use crate::variant::Role;

/// Version of [`Push`] that is written here.
pub const PUSH_VERSION: u32 = 1;
/// Where pushes go.
pub const PUSH_PATH: &str = "/v1/push";
/// Where fits are.
pub const FITS_PATH: &str = "/v1/fits";
/// Schema of [`Fits`].
pub const FITS_SCHEMA: &str = "wva.fits/v1";

/// The whole state of one endpoint picker.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Push {
    /// Version of the format, [`PUSH_VERSION`].
    pub version: u32,
    /// Identity of the pusher: its pod's UID.
    pub pusher: String,
    /// Changes when the pusher restarts and its counters start at 0: its start time will do.
    pub incarnation: u64,
    /// Ascends with every push of one incarnation.
    pub sequence: u64,
    /// When it was made by the pusher's clock, seconds since the Unix epoch.
    pub at: f64,
    /// Offered traffic per (model, class), cumulative since the incarnation began.
    pub streams: Vec<Counted>,
    /// [`Fits::at`] of the fits that it goes by: whoever they say leaves gets nothing new. Absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fits_at: Option<f64>,
}

/// Offered traffic of one model and class. Counters are cumulative.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Model, by any name under which it is served.
    pub model: String,
    /// Class or objective, as requests name it.
    pub class: String,
    /// When it was counted, seconds since the Unix epoch.
    pub at: f64,
    /// Requests that arrived, refused and held ones included.
    pub arrivals: f64,
    /// Input tokens per request, as far as they are known.
    pub input_tokens: Buckets,
    /// Output tokens per request that finished.
    pub output_tokens: Buckets,
    /// Share of input tokens found in prefix caches so far, where servers tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_hit: Option<f64>,
    /// Arrival to first token, seconds.
    #[serde(default)]
    pub ttft: Buckets,
    /// Mean gap between a finished request's tokens, seconds.
    #[serde(default)]
    pub tpot: Buckets,
    /// Finished requests that met all bounds of their class; 0 where the picker does not judge that.
    pub met: f64,
    /// Requests that missed them, failed or were shed; only the failed and the shed where the picker does not judge.
    pub missed: f64,
    /// Requests that wait at the picker now.
    pub held: f64,
    /// Requests that are with a server now.
    #[serde(default)]
    pub running: f64,
}

/// A cumulative histogram in Prometheus' form.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Buckets {
    /// Upper bounds, ascending, without +Inf.
    pub bounds: Vec<f64>,
    /// Cumulative counts, one per bound.
    pub counts: Vec<f64>,
    /// All observations.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
}

/// The answer to a push, and to any request that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Stable code: `taken`, `repeated`, `outdated`, `not-understood`, `full`, `unauthorized`, `too-large`, `no-cycle`.
    pub code: String,
    /// In words.
    pub text: String,
}

/// What the controller believes, as of its last cycle.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Fits {
    /// [`FITS_SCHEMA`].
    pub schema: String,
    /// Time of the cycle, seconds since the Unix epoch.
    pub at: f64,
    /// One entry per variant that takes part in plans.
    pub variants: Vec<Fit>,
    /// Traffic weights where requests have to take one of several paths; none where any ready replica will do.
    pub shares: Vec<Share>,
    /// Traffic that is planned for, by model and class.
    #[serde(default)]
    pub traffic: Vec<Traffic>,
    /// Pods that will be taken away next: they finish what they have, and should get nothing new.
    #[serde(default)]
    pub leaving: Vec<Leaving>,
}

/// Traffic of one model and class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Model name.
    pub model: String,
    /// The class, with its bounds.
    pub class: ServiceClass,
    /// Requests per second that are planned for.
    pub rate: f64,
    /// Mean input tokens of a request.
    pub mean_input_tokens: f64,
    /// Mean output tokens.
    pub mean_output_tokens: f64,
}

/// A pod that will be taken away next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Leaving {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub pod: String,
    /// UID.
    pub uid: String,
}

/// What is believed of one variant's replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Name, as `namespace/name` on a cluster.
    pub variant: String,
    /// Name of its model, as `namespace/id` on a cluster.
    pub model: String,
    /// Accelerator.
    pub accelerator: String,
    /// Name of the workload whose pods are its replicas; empty where it is not told.
    #[serde(default)]
    pub workload: String,
    /// Part of serving.
    pub role: Role,
    /// Law and limits of one replica.
    pub replica: ReplicaModel,
    /// Trust in the law, 0 to 1.
    pub trust: f64,
    /// Time from asking for a replica to its first request, seconds.
    pub start_up_s: f64,
    /// Running sequences up to which one replica keeps the strictest bound on gaps between tokens; absent without one.
    pub most_running: Option<u32>,
    /// Replicas that are asked for.
    pub target: u32,
    /// Replicas that are to leave: send the least to those that the scaler will choose.
    pub leaving: u32,
}

/// A traffic weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Model name.
    pub model: String,
    /// Class name.
    pub class: String,
    /// Variants of the path: one, or prefill then decode.
    pub variants: Vec<String>,
    /// Share of the class's requests, 0 to 1.
    pub share: f64,
}
