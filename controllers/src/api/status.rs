//! Status of a `VariantAutoscaling`: what old tools read, and what this controller adds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was decided for a variant, and how well it is understood. Written by server-side apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VariantAutoscalingStatus {
    /// What is scaled, as `Kind/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `control`, `advise` or `paused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Code of the leading reason for the desired replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How far the tightest latency objective is from being missed, in per cent; negative when it is missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo_margin: Option<String>,
    /// Cost of the desired replicas, dollars per hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_per_hour: Option<String>,
    /// The allocation now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_alloc: Option<CurrentAllocation>,
    /// The allocation wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_optimized_alloc: Option<DesiredAllocation>,
    /// Whether the wish was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actuation: Option<Actuation>,
    /// Generation of the object that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `TargetResolved`, `MetricsAvailable`, `OptimizationReady`, and what else is worth knowing.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The allocation now, in the fields that old dashboards read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CurrentAllocation {
    /// Accelerator name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// Replicas asked for.
    pub num_replicas: i32,
    /// Sequences in the largest batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<i32>,
    /// Cost of these replicas, dollars per hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant_cost: Option<String>,
    /// Mean gap between output tokens, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_average: Option<String>,
    /// Mean time to first token, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_average: Option<String>,
    /// Load that it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadProfile>,
}

/// Load of a variant, decimal numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadProfile {
    /// Requests per second.
    pub arrival_rate: String,
    /// Mean input tokens.
    pub avg_input_tokens: String,
    /// Mean output tokens.
    pub avg_output_tokens: String,
}

/// The allocation wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DesiredAllocation {
    /// When this was last written; it is written when something changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_time: Option<Time>,
    /// Accelerator name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// Replicas wanted; absent before the first decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_replicas: Option<i32>,
}

/// Whether the wish was carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Actuation {
    /// The scale target asks for the desired replicas.
    pub applied: bool,
}

/// Types of conditions.
pub mod condition {
    /// Whether the scale target exists.
    pub const TARGET_RESOLVED: &str = "TargetResolved";
    /// Whether telemetry is there.
    pub const METRICS_AVAILABLE: &str = "MetricsAvailable";
    /// Whether a plan was made.
    pub const OPTIMIZATION_READY: &str = "OptimizationReady";
    /// Whether this controller is what scales the target; false with the reason why it only advises.
    pub const IN_CONTROL: &str = "InControl";
    /// Whether the configuration was understood as it is written; false names what was guessed or ignored.
    pub const CONFIGURATION_UNDERSTOOD: &str = "ConfigurationUnderstood";
}
