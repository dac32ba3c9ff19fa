//! Labels and annotations: what users write on their own objects instead of a custom resource.
//!
//! Every key is read as an annotation and as a label, the annotation first: model ids do not fit into label values, and
//! people remember the key rather than which of the two it was.

use kube::core::ObjectMeta;

/// Opts an HPA, a ScaledObject or a workload in: `"true"`.
pub const MANAGED: &str = "llm-d.ai/managed";
/// Model identifier as the servers know it.
pub const MODEL_ID: &str = "llm-d.ai/model-id";
/// Cost of one replica per hour.
pub const VARIANT_COST: &str = "llm-d.ai/variant-cost";
/// Part of serving: `prefill`, `decode` or `both`.
pub const ROLE: &str = "llm-d.ai/role";
/// Name of the variant where it is not the scale target's.
pub const VARIANT: &str = "llm-d.ai/variant";
/// Serving engine: `vllm`, `sglang`, `trtllm`, `triton`.
pub const ENGINE_TYPE: &str = "llm-d.ai/engine-type";
/// Accelerator of a variant.
pub const ACCELERATOR: &str = "inference.optimization/acceleratorName";
/// Which controller installation an object belongs to.
pub const INSTANCE: &str = "wva.llmd.ai/controller-instance";
/// Leaves an object, or everything in a namespace, alone: `"true"`.
pub const EXCLUDE: &str = "wva.llmd.ai/exclude";
/// `control` (default for opted-in objects) or `advise`: decide and publish nothing that scales.
pub const MODE: &str = "wva.llmd.ai/mode";
/// Holds the replicas of a variant where they are: `"true"`.
pub const PAUSED: &str = "wva.llmd.ai/paused";
/// Service class of a variant's model.
pub const SERVICE_CLASS: &str = "wva.llmd.ai/service-class";
/// Start-up time that is assumed before one was observed, seconds.
pub const START_UP_SECONDS: &str = "wva.llmd.ai/start-up-seconds";
/// Tokens of KV cache of one replica, where it was measured.
pub const KV_CACHE_TOKENS: &str = "wva.llmd.ai/kv-cache-tokens";
/// Port that serves a pod's metrics, where it is not the first container port.
pub const METRICS_PORT: &str = "wva.llmd.ai/metrics-port";
/// Marks a pod as a router of requests whose metrics count what is offered, where no InferencePool names it: `"true"`.
pub const ROUTER: &str = "wva.llmd.ai/router";
/// Marks the pod of the leading controller, which the Service of the external metrics selects.
pub const LEADER: &str = "wva.llmd.ai/leader";

/// KEDA's own pause annotations: paused scaling, and paused at a count.
pub const KEDA_PAUSED: [&str; 2] = [
    "autoscaling.keda.sh/paused",
    "autoscaling.keda.sh/paused-replicas",
];
/// What deleting a pod costs: a ReplicaSet takes away those of least cost first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The cost of pods that are to go before all others; nobody else should come upon it.
pub const LEAVES_FIRST: i32 = -1_100_110_011;
/// Name of the LeaderWorkerSet that a pod belongs to.
pub const LWS_NAME: &str = "leaderworkerset.sigs.k8s.io/name";
/// A pod's number within its LeaderWorkerSet group; 0 is the leader.
pub const LWS_WORKER_INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";
/// On an endpoint picker's pods, in the charts of the Inference Gateway: the name of its Service.
pub const POOL_PICKER: &str = "inferencepool";
/// Hash that a ReplicaSet's name ends with.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// What an object says under `key`, as annotation or else as label; blank counts as absent.
#[must_use]
pub fn said<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    let annotation = meta.annotations.as_ref().and_then(|a| a.get(key));
    let value = annotation.or_else(|| meta.labels.as_ref().and_then(|l| l.get(key)))?;
    let value = value.trim();
    (!value.is_empty()).then_some(value)
}

/// Whether an object says yes under `key`.
#[must_use]
pub fn yes(meta: &ObjectMeta, key: &str) -> bool {
    said(meta, key).is_some_and(|v| v.eq_ignore_ascii_case("true"))
}
