//! An HPA of the user's: opted in by annotations, and reading wva's wish instead of other signals.

use serde_json::{Map, Value, json};
use wva_controllers::api::keys;

use super::autoscaling;
use super::collection::Collection;
use super::original::Original;
use super::proposal::{Notes, Proposal};

/// The metric that is read.
pub const METRIC: &str = "wva_desired_replicas";
/// The cost that old objects had where nobody chose one.
const OLD_DEFAULT_COST: f64 = 10.0;

/// The HPA as it should be.
pub fn propose(collection: &Collection, hpa: &Original) -> Proposal {
    let mut notes = Notes::default();
    let mut value = hpa.value.clone();
    value["apiVersion"] = json!("autoscaling/v2");
    let variant = opt_in(collection, hpa, &mut value, &mut notes);
    if let Some(spec) = value["spec"].as_object_mut() {
        metrics(spec, &variant, &mut notes);
        bounds(
            collection,
            hpa,
            spec,
            ("minReplicas", "maxReplicas"),
            &mut notes,
        );
        let behavior = spec.entry("behavior").or_insert_with(|| json!({}));
        follow_at_once(behavior, &mut notes);
    }
    Proposal::change(hpa, value, notes.0)
}

/// Writes what wva has to know onto the object that scales; the name of the variant.
pub fn opt_in(
    collection: &Collection,
    scaler: &Original,
    value: &mut Value,
    notes: &mut Notes,
) -> String {
    let old = collection.autoscaling(scaler);
    let (_, target) = scaler.target();
    let mut written: Vec<(&str, String)> = vec![(keys::MANAGED, "true".to_owned())];
    let engine = collection.engine(scaler);
    let said = |key: &str| {
        let workload = collection.workload(scaler);
        let of = |o: Option<&Original>| o.and_then(|o| o.said(key)).map(str::to_owned);
        of(Some(scaler))
            .or_else(|| of(old))
            .or_else(|| of(workload))
    };
    let model = said(keys::MODEL_ID)
        .or_else(|| old?.text("/spec/modelID").map(str::to_owned))
        .or_else(|| engine.served_name.clone())
        .or_else(|| engine.model.clone());
    match model {
        Some(model) => written.push((keys::MODEL_ID, model)),
        None => notes.lost(format!(
            "nothing says which model it serves: add the annotation {}, or give the workload along",
            keys::MODEL_ID
        )),
    }
    let cost =
        said(keys::VARIANT_COST).or_else(|| old?.text("/spec/variantCost").map(str::to_owned));
    // The old default was no price but the lack of one.
    let chosen = |c: &String| c.trim().parse::<f64>().is_ok_and(|c| c != OLD_DEFAULT_COST);
    written.extend(cost.filter(chosen).map(|c| (keys::VARIANT_COST, c)));
    let stated = old.and_then(autoscaling::accelerator);
    written.extend(
        said(keys::ACCELERATOR)
            .or(stated)
            .map(|a| (keys::ACCELERATOR, a)),
    );
    let class = old.and_then(|va| autoscaling::class(collection, va));
    written.extend(
        said(keys::SERVICE_CLASS)
            .or(class)
            .map(|c| (keys::SERVICE_CLASS, c)),
    );
    let instance = old.and_then(|va| va.said(keys::INSTANCE));
    written.extend(instance.map(|i| (keys::INSTANCE, i.to_owned())));
    let named = old.map(|va| va.name.clone()).filter(|n| n != target);
    let named = said(keys::VARIANT).or(named);
    written.extend(named.clone().map(|n| (keys::VARIANT, n)));
    annotate(value, &written);
    named.unwrap_or_else(|| target.to_owned())
}

/// Adds annotations that no annotation or label says already.
fn annotate(value: &mut Value, written: &[(&str, String)]) {
    let said = |value: &Value, key: &str| {
        ["annotations", "labels"]
            .iter()
            .any(|place| value["metadata"][place][key].is_string())
    };
    for (key, text) in written {
        if !said(value, key) || *key == keys::MANAGED {
            value["metadata"]["annotations"][*key] = json!(text);
        }
    }
}

fn metrics(spec: &mut Map<String, Value>, variant: &str, notes: &mut Notes) {
    let before = spec.remove("metrics").unwrap_or_default();
    for metric in before.as_array().into_iter().flatten() {
        if let Some(what) = describe(metric) {
            notes.lost(format!(
                "{what} no longer scales it: wva decides from latencies and load"
            ));
        }
    }
    if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
        notes.lost(format!(
            "CPU at {percent} % no longer scales it: wva decides from latencies and load"
        ));
    }
    spec.insert(
        "metrics".to_owned(),
        json!([{
            "type": "External",
            "external": {
                "metric": {"name": METRIC, "selector": {"matchLabels": {"variant_name": variant}}},
                "target": {"type": "AverageValue", "averageValue": "1"},
            },
        }]),
    );
}

/// A metric in words; `None` for one that is ours already.
fn describe(metric: &Value) -> Option<String> {
    let kind = metric["type"].as_str().unwrap_or("a metric");
    let key = kind.to_ascii_lowercase();
    let part = metric.get(match kind {
        "ContainerResource" => "containerResource",
        _ => key.as_str(),
    })?;
    let name = part["name"]
        .as_str()
        .or_else(|| part.pointer("/metric/name")?.as_str());
    let name = name.unwrap_or("?");
    if name.starts_with("wva_desired") || name.starts_with("inferno_desired") {
        return None;
    }
    let target = &part["target"];
    let figure = ["averageUtilization", "averageValue", "value"]
        .iter()
        .find_map(|k| target.get(k))
        .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    let figure = figure.map_or_else(String::new, |f| format!(" at {f}"));
    let unit = if target.get("averageUtilization").is_some() {
        " %"
    } else {
        ""
    };
    Some(format!("{kind} metric {name}{figure}{unit}"))
}

/// The narrower of the scaler's bounds and those of the old object, as wva reads them.
pub fn bounds(
    collection: &Collection,
    scaler: &Original,
    spec: &mut Map<String, Value>,
    (least, most): (&str, &str),
    notes: &mut Notes,
) {
    let Some(old) = collection.autoscaling(scaler) else {
        return;
    };
    let here = |spec: &Map<String, Value>, key: &str| spec.get(key).and_then(Value::as_i64);
    if let (Some(theirs), ours) = (old.number("/spec/minReplicas"), here(spec, least)) {
        if theirs > ours.unwrap_or(0) {
            spec.insert(least.to_owned(), json!(theirs));
            notes.told(format!(
                "{least} is {theirs}, as its VariantAutoscaling says"
            ));
        } else if theirs == 0 && ours.unwrap_or(1) > 0 {
            notes.lost(format!(
                "zero replicas, which its VariantAutoscaling allows, but the scaler's {least} does not"
            ));
        }
    }
    if let (Some(theirs), Some(ours)) = (old.number("/spec/maxReplicas"), here(spec, most))
        && theirs < ours
    {
        spec.insert(most.to_owned(), json!(theirs));
        notes.told(format!(
            "{most} is {theirs}, as its VariantAutoscaling says"
        ));
    }
}

/// Has the HPA follow at once and exactly: wva stabilises by itself, and knows why.
pub fn follow_at_once(behavior: &mut Value, notes: &mut Notes) {
    for direction in ["scaleUp", "scaleDown"] {
        if !behavior[direction].is_object() {
            behavior[direction] = json!({});
        }
        let rules = &mut behavior[direction];
        if rules.get("tolerance").is_none() {
            rules["tolerance"] = json!("0");
        }
        match rules.get("stabilizationWindowSeconds").and_then(Value::as_i64) {
            None if direction == "scaleDown" => rules["stabilizationWindowSeconds"] = json!(0),
            Some(seconds) if seconds > 0 => notes.told(format!(
                "its {direction} window of {seconds} s stays, on top of wva's own stabilisation; 0 leaves it to wva"
            )),
            _ => {}
        }
    }
}
