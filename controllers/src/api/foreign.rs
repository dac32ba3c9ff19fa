//! Resources of other projects, as far as they are read or installed in tests: InferencePool, ScaledObject,
//! LeaderWorkerSet. Bindings of our own, because published ones pull in a second Kubernetes client.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Pool of pods that serve the same models, `inference.networking.k8s.io/v1`.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inference.networking.k8s.io",
    version = "v1",
    kind = "InferencePool",
    plural = "inferencepools",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct InferencePoolSpec {
    /// Labels of the pods that belong to it.
    pub selector: PoolSelector,
    /// Ports that the pods serve on.
    pub target_ports: Vec<TargetPort>,
    /// Who picks among the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_picker_ref: Option<PickerReference>,
}

/// The Service of an endpoint picker, in the pool's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PickerReference {
    /// Name of the Service.
    pub name: String,
}

/// Selector of `v1`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolSelector {
    /// All of these labels.
    pub match_labels: BTreeMap<String, String>,
}

/// One port of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TargetPort {
    /// Number of the port.
    pub number: i32,
}

/// The same as it was before, `inference.networking.x-k8s.io/v1alpha2`.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inference.networking.x-k8s.io",
    version = "v1alpha2",
    kind = "InferencePool",
    root = "InferencePoolAlpha",
    plural = "inferencepools",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct InferencePoolAlphaSpec {
    /// Labels of the pods that belong to it.
    pub selector: BTreeMap<String, String>,
    /// Port that the pods serve on.
    pub target_port_number: i32,
    /// Who picks among the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<PickerReference>,
}

/// KEDA's scaler, the parts that are read.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "keda.sh",
    version = "v1alpha1",
    kind = "ScaledObject",
    plural = "scaledobjects",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ScaledObjectSpec {
    /// What is scaled; `apps/v1` Deployment where not said.
    pub scale_target_ref: super::variant_autoscaling::ScaleTargetRef,
    /// Fewest replicas while active; absent means 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replica_count: Option<i32>,
    /// Most replicas; absent means 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replica_count: Option<i32>,
    /// What it scales by.
    pub triggers: Vec<Trigger>,
}

/// One thing that a ScaledObject scales by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Trigger {
    /// `external`, `prometheus`, `metrics-api`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Its settings.
    pub metadata: BTreeMap<String, String>,
}

/// Groups of pods that act as one replica, the parts that are read.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "leaderworkerset.x-k8s.io",
    version = "v1",
    kind = "LeaderWorkerSet",
    plural = "leaderworkersets",
    namespaced,
    status = "LeaderWorkerSetStatus",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.hpaPodSelector"
    )
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct LeaderWorkerSetSpec {
    /// Groups; absent means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods of one group.
    pub leader_worker_template: LeaderWorkerTemplate,
}

/// Pods of one group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct LeaderWorkerTemplate {
    /// Pods in a group, the leader included; absent means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i32>,
    /// Pod template of the leader; absent means the workers'.
    #[schemars(schema_with = "anything")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_template: Option<Value>,
    /// Pod template of the workers.
    #[schemars(schema_with = "anything")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_template: Option<Value>,
}

/// Status of a LeaderWorkerSet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct LeaderWorkerSetStatus {
    /// Groups that exist.
    pub replicas: i32,
    /// Groups that are ready.
    pub ready_replicas: i32,
    /// Selector of the leaders, for the HPA.
    pub hpa_pod_selector: String,
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
