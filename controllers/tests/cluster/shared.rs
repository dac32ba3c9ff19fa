//! What several variants share, and that every decision says why.

use serde_json::json;
use wva_controllers::cycle::Outcome;
use wva_controllers::published::Entry;

use crate::world::World;

const TWO: &str = "apiVersion: llmd.ai/v1alpha1
kind: VariantAutoscaling
metadata: {name: one, namespace: llm-d}
spec: {modelID: meta-llama/Llama-3.1-8B-Instruct, maxReplicas: 40}
---
apiVersion: llmd.ai/v1alpha1
kind: VariantAutoscaling
metadata: {name: two, namespace: llm-d}
spec: {modelID: qwen3-8b, maxReplicas: 40}";

fn two() -> World {
    let mut world = World::new(TWO);
    world.deploy("one", "L40S", 1);
    world.deploy("two", "H100", 1);
    world.rate = 30.0;
    world
}

fn desired(world: &World) -> Vec<u32> {
    let fleet = world.index.fleet(&world.base);
    fleet.variants.iter().map(|v| v.desired).collect()
}

#[test]
fn variants_share_the_quota_of_their_namespace() {
    let mut free = two();
    free.live(12);
    let wanted = desired(&free);
    let total: u32 = wanted.iter().sum();
    let quota = *wanted.iter().max().expect("two");
    assert!(wanted.iter().all(|n| *n >= 2), "{wanted:?}");

    let mut world = two();
    world.apply(json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "devices", "namespace": "llm-d"},
        "spec": {"hard": {"requests.nvidia.com/gpu": quota.to_string()}},
    }));
    world.live(12);
    let got = desired(&world);
    assert!(
        got.iter().sum::<u32>() <= quota && quota < total,
        "{got:?} of {quota}; {wanted:?} without"
    );
    assert!(got.iter().all(|n| *n >= 1), "{got:?}");

    // Another namespace's quota is none of their business.
    let mut world = two();
    world.apply(json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "devices", "namespace": "elsewhere"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "1"}},
    }));
    world.live(12);
    assert_eq!(desired(&world), wanted);
}

fn unexplained(outcome: &Outcome) -> bool {
    outcome.report.entries.iter().any(|entry| match entry {
        Entry::Decided(report) => report.reasons.is_empty(),
        Entry::Held { reason, .. } => reason.text.is_empty(),
    })
}

#[test]
fn every_decision_says_why_also_on_the_way_down() {
    let mut world = two();
    for rate in [30.0, 0.5, 0.0] {
        world.rate = rate;
        for _ in 0..40 {
            let outcome = world.live(1);
            assert!(!unexplained(&outcome), "{:?}", outcome.report);
            let words = outcome.changes.iter().find(|c| c.ends_with("()"));
            assert_eq!(words, None);
        }
    }
    assert_eq!(desired(&world), [1, 1]);
}
