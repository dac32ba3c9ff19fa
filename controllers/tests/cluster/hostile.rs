//! Objects that nobody should write: each costs itself and nothing else, and nothing panics.

use kube::core::{DynamicObject, ObjectMeta};
use proptest::prelude::*;
use serde_json::{Value, json};
use wva_controllers::index::{Index, Kind};

use crate::fixtures::{base, index, object, variant};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(1e308)),
        Just(json!(-0.0)),
        "[ -~]{0,12}".prop_map(Value::from),
        Just(json!("\u{0}\u{202e}/../")),
    ];
    let key = prop::sample::select(vec![
        "replicas",
        "template",
        "spec",
        "metadata",
        "containers",
        "scaleTargetRef",
        "modelID",
        "minReplicas",
        "maxReplicas",
        "metrics",
        "selector",
        "matchLabels",
        "allocatable",
        "nvidia.com/gpu",
        "limits",
        "resources",
        "args",
        "conditions",
        "type",
        "status",
        "phase",
        "podIP",
        "hard",
        "requests.nvidia.com/gpu",
        "variantCost",
        "modelProfile",
        "accelerators",
        "perfParms",
        "decodeParms",
        "alpha",
        "ttftMs",
        "p99",
        "deadlineSeconds",
        "leaderWorkerTemplate",
        "size",
        "workerTemplate",
        "triggers",
        "premium.yaml",
        "name",
        "kind",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_panics(bodies in prop::collection::vec((any::<prop::sample::Index>(), value(), value()), 1..12)) {
        let mut index = index(include_str!("../samples/labelled.yaml"));
        for (i, (kind, spec, status)) in bodies.into_iter().enumerate() {
            let kind = *kind.get(&Kind::ALL);
            let names = ["service-classes-config", "accelerator-unit-costs", "wva-model-scale-to-zero-config", "default", "x"];
            let object = DynamicObject {
                types: None,
                metadata: ObjectMeta {
                    name: Some(names[i % names.len()].into()),
                    namespace: Some("other".into()),
                    ..ObjectMeta::default()
                },
                data: json!({"spec": spec, "status": status, "data": spec}),
            };
            index.apply(kind, &object);
        }
        let fleet = index.fleet(&base());
        // The neighbours are what they were.
        prop_assert_eq!(variant(&fleet, "llm-d/llama-8b-h100").desired, 3);
    }
}

#[test]
fn a_malformed_object_is_a_finding_about_itself() {
    let mut index: Index = index(include_str!("../samples/labelled.yaml"));
    let before = index.fleet(&base());
    let (kind, broken) = object(json!({
        "apiVersion": "llmd.ai/v1alpha1", "kind": "VariantAutoscaling",
        "metadata": {"name": "broken", "namespace": "llm-d"},
        "spec": {"modelID": ["not", "a", "text"]}}));
    index.apply(kind, &broken);
    let after = index.fleet(&base());
    assert_eq!(before.variants, after.variants);
    let finding = &after.findings[0];
    assert_eq!(
        (finding.subject.as_str(), finding.code),
        ("VariantAutoscaling llm-d/broken", "Unreadable")
    );
}

#[test]
fn absurd_numbers_are_bounded() {
    let (kind, odd) = object(json!({
        "apiVersion": "llmd.ai/v1alpha1", "kind": "VariantAutoscaling",
        "metadata": {"name": "odd", "namespace": "llm-d", "annotations": {
            "wva.llmd.ai/start-up-seconds": "NaN", "llm-d.ai/role": "chef", "wva.llmd.ai/mode": "perhaps"}},
        "spec": {"modelID": "m", "minReplicas": 9, "maxReplicas": 2, "acceleratorCount": 2000000000, "variantCost": "1e400"}}));
    let mut index = Index::default();
    index.apply(kind, &odd);
    let fleet = index.fleet(&base());
    let v = variant(&fleet, "llm-d/odd");
    assert_eq!(
        (v.min, v.max, v.cost, v.start_up_s),
        (2, Some(2), None, None)
    );
    assert!(v.devices <= 1024);
    assert!(v.findings.len() >= 5, "{:?}", v.findings);
}
