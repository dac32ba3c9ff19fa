//! The kinds of objects that are watched, with the addresses at which the API serves them.

use kube::core::{ApiResource, GroupVersionKind};

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of Kubernetes")]
pub enum Kind {
    VariantAutoscaling,
    HorizontalPodAutoscaler,
    ScaledObject,
    Deployment,
    StatefulSet,
    LeaderWorkerSet,
    InferencePool,
    InferencePoolAlpha,
    Pod,
    Node,
    Namespace,
    ConfigMap,
    ResourceQuota,
    ServiceClass,
    Accelerator,
    FleetPolicy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::VariantAutoscaling,
        Self::HorizontalPodAutoscaler,
        Self::ScaledObject,
        Self::Deployment,
        Self::StatefulSet,
        Self::LeaderWorkerSet,
        Self::InferencePool,
        Self::InferencePoolAlpha,
        Self::Pod,
        Self::Node,
        Self::Namespace,
        Self::ConfigMap,
        Self::ResourceQuota,
        Self::ServiceClass,
        Self::Accelerator,
        Self::FleetPolicy,
    ];

    /// (API version, kind, plural) as the API spells them.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::VariantAutoscaling => (
                "llmd.ai/v1alpha1",
                "VariantAutoscaling",
                "variantautoscalings",
            ),
            Self::HorizontalPodAutoscaler => (
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                "horizontalpodautoscalers",
            ),
            Self::ScaledObject => ("keda.sh/v1alpha1", "ScaledObject", "scaledobjects"),
            Self::Deployment => ("apps/v1", "Deployment", "deployments"),
            Self::StatefulSet => ("apps/v1", "StatefulSet", "statefulsets"),
            Self::LeaderWorkerSet => (
                "leaderworkerset.x-k8s.io/v1",
                "LeaderWorkerSet",
                "leaderworkersets",
            ),
            Self::InferencePool => (
                "inference.networking.k8s.io/v1",
                "InferencePool",
                "inferencepools",
            ),
            Self::InferencePoolAlpha => (
                "inference.networking.x-k8s.io/v1alpha2",
                "InferencePool",
                "inferencepools",
            ),
            Self::Pod => ("v1", "Pod", "pods"),
            Self::Node => ("v1", "Node", "nodes"),
            Self::Namespace => ("v1", "Namespace", "namespaces"),
            Self::ConfigMap => ("v1", "ConfigMap", "configmaps"),
            Self::ResourceQuota => ("v1", "ResourceQuota", "resourcequotas"),
            Self::ServiceClass => ("wva.llmd.ai/v1alpha1", "ServiceClass", "serviceclasses"),
            Self::Accelerator => ("wva.llmd.ai/v1alpha1", "Accelerator", "accelerators"),
            Self::FleetPolicy => ("wva.llmd.ai/v1alpha1", "FleetPolicy", "fleetpolicies"),
        }
    }

    /// The address for a client.
    #[must_use]
    pub fn api_resource(self) -> ApiResource {
        let (api_version, kind, plural) = self.names();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// The kind that an object names itself to be of, if it is watched.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let same = |k: &Self| {
            let (v, name, _) = k.names();
            (v, name) == (api_version, kind)
        };
        Self::ALL.into_iter().find(same)
    }

    /// The workload kind that a scale target names: by kind, whatever the version.
    #[must_use]
    pub fn of_target(kind: &str) -> Option<Self> {
        [Self::Deployment, Self::StatefulSet, Self::LeaderWorkerSet]
            .into_iter()
            .find(|k| k.names().1 == kind)
    }

    /// Whether objects of this kind live in namespaces.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        !matches!(
            self,
            Self::Node | Self::Namespace | Self::Accelerator | Self::FleetPolicy
        )
    }
}
