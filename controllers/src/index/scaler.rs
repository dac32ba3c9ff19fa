//! What scales a workload: the user's HPA or ScaledObject, and the `VariantAutoscaling` that says what is wanted.

use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

use super::intent::Intent;
use super::text::field;
use crate::api::foreign::ScaledObjectSpec;
use crate::api::keys;
use crate::api::status::VariantAutoscalingStatus;
use crate::api::variant_autoscaling::{ScaleTargetRef, VariantAutoscalingSpec};

/// What is known of one HPA or ScaledObject.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ScalerFacts {
    pub uid: String,
    pub intent: Intent,
    /// Kind and name of what it scales.
    pub target: (String, String),
    pub min: u32,
    pub max: Option<u32>,
    /// Whether it reads what this controller publishes.
    pub reads_us: bool,
    /// Whether it reads other signals too.
    pub reads_others: bool,
    /// Greatest tolerance in force; absent where its fields were kept as 0.
    pub tolerance: Option<f64>,
    /// Made by KEDA for a ScaledObject: an implementation detail.
    pub generated: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct HpaSpec {
    scale_target_ref: ScaleTargetRef,
    min_replicas: Option<i64>,
    max_replicas: Option<i64>,
    metrics: Vec<Value>,
    behavior: Option<BehaviorText>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct BehaviorText {
    scale_up: Option<RulesText>,
    scale_down: Option<RulesText>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RulesText {
    tolerance: Option<Value>,
}

/// The HPA's tolerance where nothing else is said.
const DEFAULT_TOLERANCE: f64 = 0.1;

impl ScalerFacts {
    pub fn of_hpa(object: &DynamicObject) -> Result<Self, String> {
        let spec: HpaSpec = field(object, "spec")?;
        let ours =
            |m: &&Value| m.to_string().contains("wva_") || m.to_string().contains("inferno_");
        let ours = spec.metrics.iter().filter(ours).count();
        let owners = object.metadata.owner_references.iter().flatten();
        Ok(Self {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            intent: Intent::read(&object.metadata),
            target: target(&spec.scale_target_ref),
            min: whole(spec.min_replicas).unwrap_or(1),
            max: whole(spec.max_replicas),
            reads_us: ours > 0,
            reads_others: ours < spec.metrics.len(),
            tolerance: tolerance(spec.behavior.as_ref()),
            generated: owners.into_iter().any(|o| o.kind == "ScaledObject"),
        })
    }

    pub fn of_keda(object: &DynamicObject) -> Result<Self, String> {
        let spec: ScaledObjectSpec = field(object, "spec")?;
        let ours = |kind: &str, settings: &std::collections::BTreeMap<String, String>| {
            kind.starts_with("external")
                || settings
                    .values()
                    .any(|v| v.contains("wva_") || v.contains("inferno_"))
        };
        let count = spec
            .triggers
            .iter()
            .filter(|t| ours(&t.kind, &t.metadata))
            .count();
        let mut intent = Intent::read(&object.metadata);
        intent.paused |= keys::KEDA_PAUSED.iter().any(|key| {
            keys::said(&object.metadata, key).is_some_and(|v| !v.eq_ignore_ascii_case("false"))
        });
        Ok(Self {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            intent,
            target: target(&spec.scale_target_ref),
            min: whole(spec.min_replica_count.map(i64::from)).unwrap_or(0),
            max: Some(whole(spec.max_replica_count.map(i64::from)).unwrap_or(100)),
            reads_us: count > 0,
            reads_others: count < spec.triggers.len(),
            // KEDA passes the metric on through an HPA of its own, with the default tolerance.
            tolerance: Some(DEFAULT_TOLERANCE),
            generated: false,
        })
    }
}

/// What is known of one `VariantAutoscaling`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct AutoscalingFacts {
    pub uid: String,
    pub generation: Option<i64>,
    pub version: Option<String>,
    pub intent: Intent,
    pub spec: VariantAutoscalingSpec,
    /// Status as last seen.
    pub status: VariantAutoscalingStatus,
}

impl AutoscalingFacts {
    pub fn read(object: &DynamicObject) -> Result<Self, String> {
        Ok(Self {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            generation: object.metadata.generation,
            version: object.metadata.resource_version.clone(),
            intent: Intent::read(&object.metadata),
            spec: field(object, "spec")?,
            // A status that cannot be read is written anew.
            status: field(object, "status").unwrap_or_default(),
        })
    }

    /// Kind and name of what it scales.
    pub fn target(&self, name: &str) -> (String, String) {
        match &self.spec.scale_target_ref {
            Some(reference) => target(reference),
            None => ("Deployment".into(), name.into()),
        }
    }
}

fn target(reference: &ScaleTargetRef) -> (String, String) {
    let kind = reference.kind.clone().filter(|k| !k.is_empty());
    (
        kind.unwrap_or_else(|| "Deployment".into()),
        reference.name.clone(),
    )
}

fn whole(n: Option<i64>) -> Option<u32> {
    n.and_then(|n| u32::try_from(n).ok())
}

/// The API server drops the field where its feature gate is off, so what is there is what was kept.
fn tolerance(behavior: Option<&BehaviorText>) -> Option<f64> {
    let of = |rules: Option<&RulesText>| {
        let kept = rules.and_then(|r| r.tolerance.as_ref());
        kept.map_or(DEFAULT_TOLERANCE, |value| match value {
            Value::Number(n) => n.as_f64().unwrap_or(DEFAULT_TOLERANCE),
            Value::String(s) => crate::api::quantity::parse(s).unwrap_or(DEFAULT_TOLERANCE),
            _ => DEFAULT_TOLERANCE,
        })
    };
    let up = of(behavior.and_then(|b| b.scale_up.as_ref()));
    let down = of(behavior.and_then(|b| b.scale_down.as_ref()));
    let most = up.max(down);
    (most > 0.0).then_some(most)
}
