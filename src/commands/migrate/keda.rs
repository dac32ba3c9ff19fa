//! ScaledObjects of the user's: their triggers become one, which asks wva.

use serde_json::{Value, json};
use wva_controllers::keda::VARIANT_NAME;

use super::collection::Collection;
use super::hpa::{METRIC, bounds, follow_at_once, opt_in};
use super::original::Original;
use super::proposal::{Choices, Notes, Proposal};

/// Has KEDA take an HPA over instead of making one beside it.
const TAKE_OVER: &str = "scaledobject.keda.sh/transfer-hpa-ownership";

/// The ScaledObject as it should be.
pub fn propose(collection: &Collection, scaled: &Original, choices: &Choices<'_>) -> Proposal {
    let mut notes = Notes::default();
    let mut value = scaled.value.clone();
    let variant = opt_in(collection, scaled, &mut value, &mut notes);
    if let Some(spec) = value["spec"].as_object_mut() {
        let names = ("minReplicaCount", "maxReplicaCount");
        bounds(collection, scaled, spec, names, &mut notes);
    }
    let ours = value["spec"]["triggers"]
        .as_array()
        .is_some_and(|t| t.iter().any(asks_us));
    if !ours {
        for trigger in value["spec"]["triggers"].as_array().into_iter().flatten() {
            notes.lost(format!(
                "{} no longer scales it: wva decides from latencies and load",
                describe(trigger)
            ));
        }
        value["spec"]["triggers"] = json!([trigger(&value, &variant, choices)]);
        formula(&mut value, &mut notes);
    } else {
        notes.told("its trigger reads wva already and stays");
    }
    let behavior = &mut value["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
    follow_at_once(behavior, &mut notes);
    if value.pointer("/spec/fallback").is_some() {
        notes.told(
            "its fallback stays: KEDA uses it when wva does not answer, whatever wva wanted last",
        );
    }
    if value.pointer("/spec/idleReplicaCount").is_some() {
        notes.told("idleReplicaCount stays: KEDA uses it while wva wants no replica");
    }
    Proposal::change(scaled, value, notes.0)
}

/// A ScaledObject that takes the HPA over.
pub fn from_hpa(collection: &Collection, hpa: &Original, choices: &Choices<'_>) -> Vec<Proposal> {
    let mut notes = Notes::default();
    let (kind, target) = hpa.target();
    let mut value = json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": hpa.name, "annotations": {TAKE_OVER: "true"}},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": hpa.text("/spec/scaleTargetRef/apiVersion").unwrap_or("apps/v1"),
                "kind": kind,
                "name": target,
            },
            "minReplicaCount": hpa.number("/spec/minReplicas").unwrap_or(1),
            "maxReplicaCount": hpa.number("/spec/maxReplicas").unwrap_or(10),
            "advanced": {"horizontalPodAutoscalerConfig": {
                "name": hpa.name,
                "behavior": hpa.value.pointer("/spec/behavior").cloned().unwrap_or_else(|| json!({})),
            }},
        },
    });
    if !hpa.namespace.is_empty() {
        value["metadata"]["namespace"] = json!(hpa.namespace);
    }
    let variant = opt_in(collection, hpa, &mut value, &mut notes);
    if let Some(spec) = value["spec"].as_object_mut() {
        let names = ("minReplicaCount", "maxReplicaCount");
        bounds(collection, hpa, spec, names, &mut notes);
    }
    value["spec"]["triggers"] = json!([trigger(&value, &variant, choices)]);
    let behavior = &mut value["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
    follow_at_once(behavior, &mut notes);
    let metrics = hpa
        .value
        .pointer("/spec/metrics")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    if metrics > 0 {
        notes.lost(format!(
            "the HPA's own metrics ({metrics}) no longer scale it: wva decides from latencies and load"
        ));
    }
    let mut kept = Notes::default();
    kept.told("KEDA takes it over once the ScaledObject is applied: do not delete it, and stop applying it");
    vec![
        Proposal::create(hpa, value, notes.0),
        Proposal::keep(hpa, kept.0),
    ]
}

/// From zero, a push is heard at once; otherwise KEDA asks every 30 seconds, which is enough.
fn trigger(scaled: &Value, variant: &str, choices: &Choices<'_>) -> Value {
    let least = scaled
        .pointer("/spec/minReplicaCount")
        .and_then(Value::as_i64);
    let kind = if least.unwrap_or(0) == 0 {
        "external-push"
    } else {
        "external"
    };
    json!({
        "type": kind,
        "metadata": {"scalerAddress": choices.scaler_address, VARIANT_NAME: variant},
    })
}

/// Whether a trigger asks wva, directly or through Prometheus.
fn asks_us(trigger: &Value) -> bool {
    let settings = trigger["metadata"].to_string();
    settings.contains(VARIANT_NAME)
        || settings.contains(METRIC)
        || settings.contains("inferno_desired_replicas")
}

fn describe(trigger: &Value) -> String {
    let kind = trigger["type"].as_str().unwrap_or("?");
    let settings = &trigger["metadata"];
    let query = settings["query"]
        .as_str()
        .or_else(|| settings["metricName"].as_str());
    let query: String = query
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let threshold = settings["threshold"]
        .as_str()
        .map_or_else(String::new, |t| format!(" at {t}"));
    match query.as_str() {
        "" => format!("trigger {kind}{threshold}"),
        query => format!("trigger {kind} `{query}`{threshold}"),
    }
}

/// Formulas combine triggers that are no longer there.
fn formula(value: &mut Value, notes: &mut Notes) {
    let advanced = value
        .pointer_mut("/spec/advanced")
        .and_then(Value::as_object_mut);
    if let Some(modifiers) = advanced.and_then(|a| a.remove("scalingModifiers")) {
        let text = modifiers["formula"].as_str().unwrap_or("");
        notes.lost(format!(
            "the formula `{text}` is gone with the triggers that it combines"
        ));
    }
}
