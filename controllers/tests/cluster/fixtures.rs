//! Objects from YAML, and what tests build on.

use kube::core::DynamicObject;
use serde::Deserialize as _;
use wva_controllers::index::fleet::{Base, Fleet, StockSource, VariantView};
use wva_controllers::index::{Index, Kind};
use wva_models::catalogue::Catalogue;

/// The objects of a YAML stream, each with its kind.
pub fn objects(yaml: &str) -> Vec<(Kind, DynamicObject)> {
    yaml.split("\n---\n")
        .map(|document| {
            let value: serde_json::Value = serde_saphyr::from_str(document).expect("YAML");
            object(value)
        })
        .collect()
}

pub fn object(value: serde_json::Value) -> (Kind, DynamicObject) {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let kind = Kind::of(&text("apiVersion"), &text("kind")).expect("a kind that is watched");
    (kind, DynamicObject::deserialize(value).expect("an object"))
}

pub fn index(yaml: &str) -> Index {
    let mut index = Index::default();
    for (kind, object) in objects(yaml) {
        index.apply(kind, &object);
    }
    index
}

pub fn base() -> Base {
    Base {
        catalogue: Catalogue::builtin(),
        instance: None,
        default_accelerator: None,
        default_class: None,
        stock: StockSource::Auto,
    }
}

pub fn variant<'a>(fleet: &'a Fleet, name: &str) -> &'a VariantView {
    fleet
        .variants
        .iter()
        .find(|v| v.name() == name)
        .unwrap_or_else(|| panic!("no variant {name}"))
}

/// A pod of a Deployment, as the API shows it.
pub fn pod(deployment: &str, name: &str, body: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: llm-d
  uid: uid-{name}
  creationTimestamp: 2026-01-01T00:00:00Z
  labels: {{pod-template-hash: abc12}}
  ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {deployment}-abc12, uid: rs, controller: true}}]
{body}"
    )
}
