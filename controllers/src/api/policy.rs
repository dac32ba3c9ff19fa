//! Our own resources, all optional: latency promises, prices, and what the fleet as a whole may do.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A class of requests: how important it is and what it was promised.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "wva.llmd.ai",
    version = "v1alpha1",
    kind = "ServiceClass",
    plural = "serviceclasses",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    doc = "A class of requests: its priority and its latency promise or deadline.",
    validation = Rule::new("!has(self.spec.deadlineSeconds) || !(has(self.spec.ttftMs) || has(self.spec.itlMs) || has(self.spec.e2eMs))").message("a class has a deadline (batch) or latency bounds (interactive), not both"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "TTFT ms", type_ = "string", json_path = ".spec.ttftMs"),
    printcolumn(name = "ITL ms", type_ = "string", json_path = ".spec.itlMs"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceClassSpec {
    /// Importance: when not everything fits, higher numbers are served first.
    #[serde(default)]
    pub priority: i32,
    /// Models that this class applies to, by id; none means all models of the namespace without another class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Bound on the time to first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<BoundSpec>,
    /// Bound on the gap between output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_ms: Option<BoundSpec>,
    /// Bound on the whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e2e_ms: Option<BoundSpec>,
    /// Makes it a batch class: finished within this many seconds of arrival.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub deadline_seconds: Option<f64>,
}

/// One latency bound: exactly one statistic, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BoundSpec {
    /// Bound on the mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Bound on the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// Bound on the 90th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90: Option<f64>,
    /// Bound on the 95th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// Bound on the 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// What each thousand input tokens add to the bound.
    #[serde(rename = "per1kInputTokens", skip_serializing_if = "Option::is_none")]
    pub per_1k_input_tokens: Option<f64>,
}

/// A price or the figures of a device, on top of the built-in catalogue.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "wva.llmd.ai",
    version = "v1alpha1",
    kind = "Accelerator",
    plural = "accelerators",
    derive = "Default",
    derive = "PartialEq",
    doc = "A device type: its price, and its figures where it is not built in.",
    printcolumn(name = "$/h", type_ = "number", json_path = ".spec.pricePerHourUsd"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorSpec {
    /// Name in the catalogue where the object's own name cannot be it; matched as node labels spell it, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Other names of the device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Price of one device, US dollars per hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_hour_usd: Option<f64>,
    /// Device memory, GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gb: Option<f64>,
    /// Peak memory bandwidth, TB/s.
    #[serde(rename = "bandwidthTBs", skip_serializing_if = "Option::is_none")]
    pub bandwidth_tb_s: Option<f64>,
    /// Peak dense 16-bit TFLOPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bf16_tflops: Option<f64>,
    /// Peak dense 8-bit TFLOPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fp8_tflops: Option<f64>,
    /// Board power, watts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
    /// Devices that may be used at most, wherever they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stock: Option<u32>,
}

/// What the fleet as a whole may do. The object named `default` counts; others are ignored and say so.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "wva.llmd.ai",
    version = "v1alpha1",
    kind = "FleetPolicy",
    plural = "fleetpolicies",
    derive = "Default",
    derive = "PartialEq",
    doc = "Limits and defaults of the whole fleet; the object named `default` counts.",
    printcolumn(
        name = "Budget $/h",
        type_ = "number",
        json_path = ".spec.budgetPerHourUsd"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct FleetPolicySpec {
    /// Most that the fleet may cost, US dollars per hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_per_hour_usd: Option<f64>,
    /// Devices per accelerator that may be used at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stock: BTreeMap<String, u32>,
    /// Class of models that no other class applies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_class: Option<String>,
    /// Quantile of the forecast that is planned for, between 0.5 and 0.99.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast_quantile: Option<f64>,
    /// Time for which plans must have wanted less before replicas are given up, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_window_seconds: Option<f64>,
    /// Whether models may go down to no replica where their minimum allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_to_zero: Option<bool>,
}
