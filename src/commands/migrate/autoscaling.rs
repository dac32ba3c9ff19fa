//! `VariantAutoscaling` in any of its historic forms: superseded by annotations on the scaler in front, unless it carries
//! what annotations cannot.

use serde_json::{Value, json};

use wva_controllers::api::keys;

use super::collection::Collection;
use super::original::Original;
use super::proposal::{Notes, Proposal};
use super::settings;

/// What becomes of it, and the class that it defines itself.
pub fn propose(collection: &Collection, va: &Original) -> Vec<Proposal> {
    let mut notes = Notes::default();
    let measured = measured(va);
    let inline = inline_class(va);
    if va.value.pointer("/spec/sloClassRef").is_some() && class(collection, va).is_none() {
        notes.lost(format!(
            "its service class `{}`: no ConfigMap {} is given that says what it promises",
            va.text("/spec/sloClassRef/name").unwrap_or("?"),
            wva_controllers::api::imports::SERVICE_CLASSES
        ));
    }
    let own = match collection.scaler(va) {
        Some(scaler) if measured.is_empty() => {
            notes.told(format!(
                "{} {} says all of it: delete this one once that is applied",
                scaler.kind.names().1,
                scaler.name
            ));
            Proposal::remove(va, notes.0)
        }
        Some(scaler) => {
            notes.told(format!(
                "it stays beside {} {}, because annotations cannot carry {}; both are one variant",
                scaler.kind.names().1,
                scaler.name,
                measured.join(", ")
            ));
            Proposal::keep(va, notes.0)
        }
        None => {
            notes.told("it works as it is: nothing else scales its target here, so wva patches its replicas itself");
            if class(collection, va).is_some() {
                notes.told("its service class is found by the models that the ServiceClass lists");
            }
            Proposal::keep(va, notes.0)
        }
    };
    inline
        .map(|class| {
            let mut notes = Notes::default();
            notes.told(format!("from spec.slo of VariantAutoscaling {}", va.name));
            Proposal::create(va, class, notes.0)
        })
        .into_iter()
        .chain([own])
        .collect()
}

/// What only the object itself can say.
fn measured(va: &Original) -> Vec<&'static str> {
    let has = |pointer: &str| va.value.pointer(pointer).is_some_and(|v| !v.is_null());
    let mut out = Vec::new();
    if has("/spec/modelProfile") || has("/spec/variantProfile") {
        out.push("measured parameters");
    }
    let devices = va.number("/spec/acceleratorCount").unwrap_or(1);
    if devices > 1 {
        out.push("the number of devices");
    }
    out
}

/// The accelerator that it states: by label, by field, or as the only one in its profile.
pub fn accelerator(va: &Original) -> Option<String> {
    let labelled = va
        .said(keys::ACCELERATOR)
        .or_else(|| va.text("/spec/accelerator"));
    let profiles = va
        .value
        .pointer("/spec/modelProfile/accelerators")
        .and_then(Value::as_array);
    let only = profiles
        .filter(|p| p.len() == 1)
        .and_then(|p| p[0]["acc"].as_str());
    labelled.or(only).map(str::to_owned)
}

/// Name of the ServiceClass object that its reference, or its own promise, becomes.
pub fn class(collection: &Collection, va: &Original) -> Option<String> {
    if va.value.pointer("/spec/slo").is_some() {
        return inline_class(va).map(|_| va.name.clone());
    }
    let name = va.text("/spec/sloClassRef/name")?;
    let key = va.text("/spec/sloClassRef/key").unwrap_or_default();
    let model = va.text("/spec/modelID").unwrap_or(key);
    settings::class_for(collection, name, key, model)
}

/// A class of the promise that stands in the object itself.
fn inline_class(va: &Original) -> Option<Value> {
    let bound = |key: &str| {
        va.value
            .pointer(&format!("/spec/slo/{key}"))?
            .as_f64()
            .filter(|ms| *ms > 0.0)
    };
    let (ttft, itl) = (bound("maxTTFT"), bound("maxITL"));
    if ttft.is_none() && itl.is_none() {
        return None;
    }
    let models: Vec<&str> = va.text("/spec/modelID").into_iter().collect();
    Some(settings::service_class(
        &va.name,
        &va.namespace,
        0,
        &json!(models),
        ttft,
        itl,
    ))
}
