//! The Kubernetes resources that tell the picker what to do: pools, objectives, rewrites.
//!
//! ```text
//! inference.networking.k8s.io/v1           InferencePool                              (x-k8s.io/v1alpha2 before)
//! llm-d.ai/v1alpha2                        InferenceObjective, InferenceModelRewrite  (x-k8s.io/v1alpha2 before)
//! ```
//! They are other projects' definitions, read into small types that ask for nothing: a field that is absent or new must
//! never cost more than itself. Bindings of our own, because published ones pull in a second Kubernetes client.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{CustomResource, CustomResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Group of the resources before they had one of their own.
pub const LEGACY_GROUP: &str = "inference.networking.x-k8s.io";
/// Group of pools.
pub const POOL_GROUP: &str = "inference.networking.k8s.io";
/// Group of objectives and rewrites.
pub const GROUP: &str = "llm-d.ai";

/// Pods that serve the same models.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inference.networking.k8s.io",
    version = "v1",
    kind = "InferencePool",
    plural = "inferencepools",
    shortname = "infpool",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct InferencePoolSpec {
    /// Labels of the pods that belong to it.
    pub selector: PoolSelector,
    /// Ports that the pods serve on, one for each data-parallel rank; at most 8.
    pub target_ports: Vec<TargetPort>,
}

/// Selector of a pool.
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

/// A pool as it was before `v1`.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inference.networking.x-k8s.io",
    version = "v1alpha2",
    kind = "InferencePool",
    root = "LegacyInferencePool",
    plural = "inferencepools",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct LegacyInferencePoolSpec {
    /// Labels of the pods that belong to it.
    pub selector: BTreeMap<String, String>,
    /// Port that the pods serve on.
    pub target_port_number: i32,
}

/// How important the requests are that name it.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "llm-d.ai",
    version = "v1alpha2",
    kind = "InferenceObjective",
    plural = "inferenceobjectives",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct InferenceObjectiveSpec {
    /// Higher goes first, below 0 may be shed; absent means 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The pool that it is for.
    pub pool_ref: PoolRef,
}

/// Which model a request gets instead of the one that it asks for.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "llm-d.ai",
    version = "v1alpha2",
    kind = "InferenceModelRewrite",
    plural = "inferencemodelrewrites",
    namespaced
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct InferenceModelRewriteSpec {
    /// The pool that it is for.
    pub pool_ref: PoolRef,
    /// The first that matches holds.
    pub rules: Vec<RewriteRule>,
}

/// Names a pool in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolRef {
    /// Its group; any where absent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its name.
    pub name: String,
}

/// One rule of a rewrite.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct RewriteRule {
    /// Any of them; all requests where there are none.
    pub matches: Vec<RewriteMatch>,
    /// What is asked for instead, by weight.
    pub targets: Vec<RewriteTarget>,
}

/// What a rule is for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct RewriteMatch {
    /// The model that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelMatch>,
}

/// How a model is compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelMatch {
    /// `Exact`, also where absent.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The name.
    pub value: String,
}

/// One of the models that are asked for instead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RewriteTarget {
    /// Its name.
    pub model_rewrite: String,
    /// Its share of the requests, relative to the others'; absent means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
}

/// A kind that is watched, in one of its groups.
#[must_use]
pub fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

/// Definitions of all these kinds in all their groups, for clusters that have no others: tests, and trials. A cluster
/// with a gateway has its own, which know more.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let (objective, rewrite) = (InferenceObjective::crd(), InferenceModelRewrite::crd());
    let legacy = [legacy(&objective), legacy(&rewrite)];
    let pools = [InferencePool::crd(), LegacyInferencePool::crd()];
    let all = pools.into_iter().chain([objective, rewrite]).chain(legacy);
    all.map(unapproved).collect()
}

/// The API server takes definitions of Kubernetes' own groups only with a word on who approved them.
fn unapproved(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let annotations = crd.metadata.annotations.get_or_insert_default();
    let what = "unapproved, a subset of the published definition";
    annotations.insert("api-approved.kubernetes.io".to_owned(), what.to_owned());
    crd
}

fn legacy(crd: &CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = crd.clone();
    crd.metadata.name = Some(format!("{}.{LEGACY_GROUP}", crd.spec.names.plural));
    crd.spec.group = LEGACY_GROUP.to_owned();
    crd
}
