//! `VariantAutoscaling`: the union of every schema that was ever deployed under `llmd.ai/v1alpha1`.
//!
//! ```text
//! 0.5 and later  scaleTargetRef, modelID, variantCost, minReplicas, maxReplicas
//! 0.3 to 0.4     the same with variantID, accelerator, acceleratorCount, sloClassRef, variantProfile
//! 0.0 to 0.2     modelID, sloClassRef, modelProfile.accelerators[]; the target is the Deployment of the same name
//! ```
//! No field is required that some old object lacks, and none has a default: what was not said must stay distinguishable
//! from what was. A conversion webhook between versions would be the usual way, but all of these objects carry the same
//! `apiVersion`, so there is nothing to convert by.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::VariantAutoscalingStatus;

/// What the user wants of one variant.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "llmd.ai",
    version = "v1alpha1",
    kind = "VariantAutoscaling",
    plural = "variantautoscalings",
    shortname = "va",
    namespaced,
    status = "VariantAutoscalingStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "One variant of a model server (a model on an accelerator with certain settings) that wva scales.",
    validation = Rule::new("!has(self.spec.minReplicas) || !has(self.spec.maxReplicas) || self.spec.minReplicas <= self.spec.maxReplicas").message("minReplicas must not be above maxReplicas"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.modelID"),
    printcolumn(name = "Current", type_ = "integer", json_path = ".status.currentAlloc.numReplicas"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desiredOptimizedAlloc.numReplicas"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "SLO margin", type_ = "string", json_path = ".status.sloMargin"),
    printcolumn(name = "$/h", type_ = "string", json_path = ".status.costPerHour"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.mode", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct VariantAutoscalingSpec {
    /// The workload that is scaled; absent means the Deployment of the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_target_ref: Option<ScaleTargetRef>,
    /// Identifier of the model, as the servers know it.
    #[serde(rename = "modelID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub model_id: Option<String>,
    /// Cost of one replica per hour, a decimal number such as "10.0".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^\d+(\.\d+)?$"))]
    pub variant_cost: Option<String>,
    /// Fewest replicas; 0 allows scaling to zero. Absent means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_replicas: Option<i32>,
    /// Most replicas; absent means that only devices limit it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_replicas: Option<i32>,
    /// Accelerator type, in objects of 0.3 and 0.4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// Devices per replica, in objects of 0.3 and 0.4.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub accelerator_count: Option<i32>,
    /// Name of the variant for people, in objects of 0.3 and 0.4. Not used.
    #[serde(rename = "variantID", skip_serializing_if = "Option::is_none")]
    pub variant_id: Option<String>,
    /// Where the service level objectives are: a class by `name`, and in it a model by `key`.
    #[serde(rename = "sloClassRef", skip_serializing_if = "Option::is_none")]
    pub slo_class_ref: Option<ClassRef>,
    /// Objectives on the object itself, as some installations had them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo: Option<InlineSlo>,
    /// Accelerators with measured parameters, in objects up to 0.2; the first that the target runs on counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_profile: Option<ModelProfile>,
    /// Measured parameters, in objects of 0.3 and 0.4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant_profile: Option<VariantProfile>,
}

/// A scalable object in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleTargetRef {
    /// API group and version; absent means `apps/v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind; absent means `Deployment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name.
    pub name: String,
}

/// A key in a ConfigMap, as the old controller had it; both parts are taken as hints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClassRef {
    /// Name of the service class (`premium`), or of the ConfigMap that holds it.
    pub name: String,
    /// Model or key in it.
    pub key: String,
}

/// Latency bounds in milliseconds, on means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InlineSlo {
    /// Greatest mean gap between output tokens.
    #[serde(rename = "maxITL", skip_serializing_if = "Option::is_none")]
    pub max_itl: Option<i32>,
    /// Greatest mean time to first token.
    #[serde(rename = "maxTTFT", skip_serializing_if = "Option::is_none")]
    pub max_ttft: Option<i32>,
}

/// Accelerators that a model was measured on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ModelProfile {
    /// One entry per accelerator.
    pub accelerators: Vec<AcceleratorProfile>,
}

/// One accelerator with the parameters measured on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AcceleratorProfile {
    /// Accelerator name.
    pub acc: String,
    /// Devices per replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acc_count: Option<i32>,
    /// Parameters of the latency law.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perf_parms: Option<PerfParms>,
    /// Largest batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch_size: Option<i32>,
    /// `alpha` of the first release, which had it here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<String>,
    /// `beta` of the first release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<String>,
}

/// Parameters measured for this one variant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct VariantProfile {
    /// Parameters of the latency law.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perf_parms: Option<PerfParms>,
    /// Largest batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch_size: Option<i32>,
}

/// Parameters of a linear latency law, decimal numbers in milliseconds: a gap between tokens of `alpha + beta · batch`, a
/// prefill of `gamma + delta · tokens`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct PerfParms {
    /// `alpha` and `beta`.
    pub decode_parms: BTreeMap<String, String>,
    /// `gamma` and `delta`.
    pub prefill_parms: BTreeMap<String, String>,
}
