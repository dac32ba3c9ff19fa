//! ConfigMaps of old installations: service classes and prices become objects of their own; the rest is told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use wva_controllers::api::imports::{self, ClassImport, Imported, ModelObjective};
use wva_controllers::index::Kind;

use super::collection::{Collection, SCALERS};
use super::original::Original;
use super::proposal::{Notes, Proposal};

/// Proposals for every ConfigMap that is known.
pub fn propose(collection: &Collection) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    for map in collection.of(Kind::ConfigMap) {
        let mut notes = Notes::default();
        match map.name.as_str() {
            imports::SERVICE_CLASSES => {
                let read = imports::service_classes(&data(map));
                unread(&read, &mut notes);
                proposals.extend(classes(collection, map, &read.value));
                notes.told("is read until it is deleted; the ServiceClass objects count before it");
            }
            imports::ACCELERATOR_COSTS => {
                let read = imports::accelerator_costs(&data(map));
                unread(&read, &mut notes);
                let mut told = Notes::default();
                told.told("the price was in cents per hour");
                proposals.extend(read.value.iter().map(|a| {
                    let value = accelerator(&a.name, a.device.as_deref(), a.price_per_hour_usd);
                    Proposal::create(map, value, told.0.clone())
                }));
                notes.told("is read until it is deleted; the Accelerator objects count before it");
            }
            imports::SCALE_TO_ZERO => zero(map, &mut notes),
            name if imports::SATURATION.contains(&name) => saturation(map, &mut notes),
            _ => continue,
        }
        proposals.push(Proposal::keep(map, notes.0));
    }
    proposals
}

fn data(map: &Original) -> BTreeMap<String, String> {
    let data = map.value.get("data").and_then(Value::as_object);
    let entries = data.into_iter().flatten();
    entries
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
        .collect()
}

fn unread<T>(read: &Imported<T>, notes: &mut Notes) {
    for problem in &read.problems {
        notes.lost(format!("cannot be read: {problem}"));
    }
}

fn zero(map: &Original, notes: &mut Notes) {
    let read = imports::scale_to_zero(&data(map));
    unread(&read, notes);
    for model in &read.value.models {
        if model.rule.enabled == Some(true) {
            notes.told(format!(
                "{} may go to zero: its scaler's minimum must be 0 as well",
                model.model
            ));
        }
    }
    notes.told("has no other form yet: it is read as it is, so keep it");
}

fn saturation(map: &Original, notes: &mut Notes) {
    let read = imports::limiter(&data(map));
    unread(&read, notes);
    notes.lost("thresholds on KV cache and queues: latency models take their place");
    if read.value {
        notes.told("enableLimiter holds while it is there; `watch: {stock: nodes}` in the controller's file says the same");
    }
}

/// The classes of an old ConfigMap, one object per class, promise and namespace.
fn classes(collection: &Collection, map: &Original, classes: &[ClassImport]) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    for group in classes.iter().flat_map(groups) {
        let spaces = namespaces(collection, &group.models);
        let mut notes = Notes::default();
        notes.told("bounds are means, as they were: percentiles promise more");
        let spaces = if spaces.is_empty() {
            notes.told("belongs into the namespace of its variants, none of which are given");
            BTreeSet::from([map.namespace.clone()])
        } else {
            spaces
        };
        for space in spaces {
            let bound = |ms: f64| (ms > 0.0).then_some(ms);
            let value = service_class(
                &group.name,
                &space,
                group.priority,
                &json!(group.models),
                bound(group.ttft_ms),
                bound(group.tpot_ms),
            );
            proposals.push(Proposal::create(map, value, notes.0.clone()));
        }
    }
    proposals
}

/// Models of one class that were promised the same.
struct Group {
    name: String,
    priority: i32,
    models: Vec<String>,
    ttft_ms: f64,
    tpot_ms: f64,
}

fn groups(class: &ClassImport) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for objective in &class.models {
        let same =
            |g: &&mut Group| (g.ttft_ms, g.tpot_ms) == (objective.ttft_ms, objective.tpot_ms);
        match groups.iter_mut().find(same) {
            Some(group) => group.models.push(objective.model.clone()),
            None => groups.push(Group::new(class, objective)),
        }
    }
    if let [only] = groups.as_mut_slice() {
        only.name = object_name(&class.name);
    }
    groups
}

impl Group {
    /// Named after the class and its first model, since a class has several.
    fn new(class: &ClassImport, objective: &ModelObjective) -> Self {
        let model = objective
            .model
            .rsplit('/')
            .next()
            .unwrap_or(&objective.model);
        Self {
            name: object_name(&format!("{}-{model}", class.name)),
            priority: class.priority,
            models: vec![objective.model.clone()],
            ttft_ms: objective.ttft_ms,
            tpot_ms: objective.tpot_ms,
        }
    }
}

/// Namespaces with a `VariantAutoscaling` or an annotated scaler of one of these models.
fn namespaces(collection: &Collection, models: &[String]) -> BTreeSet<String> {
    let serves = |scaler: &&Original| {
        let said = scaler.said(wva_controllers::api::keys::MODEL_ID);
        let model = scaler.text("/spec/modelID").or(said);
        model.is_some_and(|m| models.iter().any(|known| known == m))
    };
    let scalers = SCALERS.into_iter().flat_map(|kind| collection.of(kind));
    scalers
        .filter(serves)
        .map(|s| s.namespace.clone())
        .collect()
}

/// Name of the object that an old reference to a class means for a model.
pub fn class_for(collection: &Collection, name: &str, key: &str, model: &str) -> Option<String> {
    let maps = collection
        .of(Kind::ConfigMap)
        .filter(|m| m.name == imports::SERVICE_CLASSES);
    let classes: Vec<ClassImport> = maps
        .flat_map(|m| imports::service_classes(&data(m)).value)
        .collect();
    let means = |c: &&ClassImport| {
        let file = key.strip_suffix(".yaml").unwrap_or(key);
        [name, key, file]
            .iter()
            .any(|n| c.name.eq_ignore_ascii_case(n))
    };
    let class = classes.iter().find(means)?;
    let group = groups(class)
        .into_iter()
        .find(|g| g.models.iter().any(|m| m == model))?;
    Some(group.name)
}

/// A ServiceClass with bounds on means, milliseconds.
pub fn service_class(
    name: &str,
    namespace: &str,
    priority: i32,
    models: &Value,
    ttft_ms: Option<f64>,
    itl_ms: Option<f64>,
) -> Value {
    let mut value = json!({
        "apiVersion": "wva.llmd.ai/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": name},
        "spec": {"priority": priority, "models": models},
    });
    if !namespace.is_empty() {
        value["metadata"]["namespace"] = json!(namespace);
    }
    if let Some(ms) = ttft_ms {
        value["spec"]["ttftMs"] = json!({"mean": ms});
    }
    if let Some(ms) = itl_ms {
        value["spec"]["itlMs"] = json!({"mean": ms});
    }
    value
}

fn accelerator(name: &str, device: Option<&str>, price: f64) -> Value {
    let mut value = json!({
        "apiVersion": "wva.llmd.ai/v1alpha1",
        "kind": "Accelerator",
        "metadata": {"name": object_name(name)},
        "spec": {"name": name, "pricePerHourUsd": price},
    });
    if let Some(device) = device {
        value["spec"]["aliases"] = json!([device]);
    }
    value
}

/// A text as the name of an object: lower-case letters, digits, hyphens and dots.
fn object_name(text: &str) -> String {
    let letter = |c: char| {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let name: String = text.chars().map(letter).take(200).collect();
    name.trim_matches(['-', '.']).to_owned()
}
