//! An object as the user has it.

use kube::core::DynamicObject;
use serde::Deserialize as _;
use serde_json::Value;
use wva_controllers::index::Kind;

/// Metadata that belongs to the cluster and not to the user.
const CLUSTERS_OWN: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];
/// The annotation with which kubectl repeats the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One object as it is.
#[derive(Debug, Clone)]
pub struct Original {
    /// What it is.
    pub kind: Kind,
    /// Namespace; empty where none is written.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The whole of it, without what belongs to the cluster.
    pub value: Value,
    /// The file that it is from; `cluster` otherwise.
    pub origin: String,
}

impl Original {
    /// Takes the object in; `None` where it is of a kind that means nothing here, or is no object that the API would take.
    pub fn read(mut value: Value, origin: &str) -> Option<Self> {
        let text = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let api_version = text("/apiVersion");
        let name = text("/kind");
        // HPAs of the older versions differ only in how they write metrics.
        let kind = Kind::of(&api_version, &name).or_else(|| {
            let hpa = name == "HorizontalPodAutoscaler" && api_version.starts_with("autoscaling/");
            hpa.then_some(Kind::HorizontalPodAutoscaler)
        })?;
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        if name.is_empty() || !well_formed(&value) {
            return None;
        }
        if let Some(object) = value.as_object_mut() {
            object.remove("status");
        }
        if let Some(meta) = value
            .pointer_mut("/metadata")
            .and_then(Value::as_object_mut)
        {
            CLUSTERS_OWN.iter().for_each(|key| drop(meta.remove(*key)));
            if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
                if annotations.is_empty() {
                    meta.remove("annotations");
                }
            }
        }
        Some(Self {
            kind,
            namespace,
            name,
            value,
            origin: origin.to_owned(),
        })
    }

    /// A text in it.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.value
            .pointer(pointer)?
            .as_str()
            .filter(|t| !t.is_empty())
    }

    /// A whole number in it.
    pub fn number(&self, pointer: &str) -> Option<i64> {
        self.value.pointer(pointer)?.as_i64()
    }

    /// What an annotation, or else a label, says.
    pub fn said(&self, key: &str) -> Option<&str> {
        let of = |what: &str| self.value.get("metadata")?.get(what)?.get(key)?.as_str();
        of("annotations")
            .or_else(|| of("labels"))
            .map(str::trim)
            .filter(|t| !t.is_empty())
    }

    /// Kind and name of what it scales.
    pub fn target(&self) -> (&str, &str) {
        let own = if self.kind == Kind::VariantAutoscaling {
            self.name.as_str()
        } else {
            ""
        };
        (
            self.text("/spec/scaleTargetRef/kind")
                .unwrap_or("Deployment"),
            self.text("/spec/scaleTargetRef/name").unwrap_or(own),
        )
    }

    /// Whether both scale the same thing.
    pub fn scales_with(&self, other: &Self) -> bool {
        self.namespace == other.namespace && self.target() == other.target()
    }

    /// As the controller's index takes it.
    pub fn object(&self) -> Option<DynamicObject> {
        DynamicObject::deserialize(&self.value).ok()
    }
}

/// Whether the parts that are written to are what they should be. The API server would refuse anything else.
fn well_formed(value: &Value) -> bool {
    let map = |pointer: &str| {
        let part = value.pointer(pointer);
        part.is_none_or(|v| v.is_object() || v.is_null())
    };
    [
        "/metadata",
        "/metadata/annotations",
        "/metadata/labels",
        "/spec",
        "/spec/behavior",
        "/spec/behavior/scaleUp",
        "/spec/behavior/scaleDown",
        "/spec/advanced",
        "/spec/advanced/horizontalPodAutoscalerConfig",
        "/spec/advanced/horizontalPodAutoscalerConfig/behavior",
        "/spec/advanced/horizontalPodAutoscalerConfig/behavior/scaleUp",
        "/spec/advanced/horizontalPodAutoscalerConfig/behavior/scaleDown",
    ]
    .into_iter()
    .all(map)
}
