//! Cycles without a cluster: what is decided, published and written.

use serde_json::json;
use wva_controllers::cycle::Outcome;
use wva_controllers::cycle::effects::{Effect, WriteOutcome, Written};
use wva_controllers::index::Key;
use wva_controllers::published::Entry;
use wva_controllers::telemetry::Reason;

use crate::world::World;

const AUTOSCALING: &str = "apiVersion: llmd.ai/v1alpha1
kind: VariantAutoscaling
metadata: {name: llama-l40s, namespace: llm-d, uid: va-1, generation: 1}
spec: {modelID: meta-llama/Llama-3.1-8B-Instruct, minReplicas: 1, maxReplicas: 40}";

fn world() -> World {
    let mut world = World::new(AUTOSCALING);
    world.deploy("llama-l40s", "L40S", 1);
    world
}

fn scale(outcome: &Outcome) -> Option<(u32, u32)> {
    outcome.effects.iter().find_map(|e| match e {
        Effect::Scale { from, to, .. } => Some((*from, *to)),
        _ => None,
    })
}

fn condition(outcome: &Outcome, kind: &str) -> Option<(String, String)> {
    outcome.effects.iter().find_map(|e| match e {
        Effect::Status { status, .. } => {
            let found = status.conditions.iter().find(|c| c.type_ == kind)?;
            Some((found.status.clone(), found.reason.clone()))
        }
        _ => None,
    })
}

fn events(outcome: &Outcome) -> Vec<&'static str> {
    let reasons = outcome.effects.iter().filter_map(|e| match e {
        Effect::Event { reason, .. } => Some(*reason),
        _ => None,
    });
    reasons.collect()
}

fn desired(world: &World) -> u32 {
    world.index.fleet(&world.base).variants[0].desired
}

#[test]
fn load_is_met_and_a_steady_fleet_writes_nothing() {
    let mut world = world();
    world.rate = 12.0;
    world.live(12);
    let reached = desired(&world);
    assert!(reached > 1, "{reached}");
    world.live(40);
    let last = world.step();
    assert_eq!(last.effects, [], "nothing changed");
    let Entry::Decided(report) = &last.report.entries[0] else {
        panic!("decided");
    };
    assert_eq!(report.desired, desired(&world));
    // The built-in class: p95 of TTFT at most 2 s and 0.3 s per thousand tokens, p95 of TPOT at most 100 ms.
    let margin = report.slo_margin.expect("enough requests");
    assert!((0.0..0.5).contains(&margin), "{margin}");
    assert!(desired(&world) >= reached.saturating_sub(1));
}

#[test]
fn what_is_not_known_lowers_nothing() {
    let mut world = world();
    world.rate = 12.0;
    world.live(12);
    let reached = desired(&world);
    world.missing = Some(Reason::Stale);
    let first = world.step();
    assert_eq!(scale(&first), None);
    assert_eq!(
        condition(&first, "MetricsAvailable"),
        Some(("False".into(), "MetricsStale".into()))
    );
    // For a while what was known lately still counts.
    let not_ready = |o: &Outcome| condition(o, "OptimizationReady").is_some_and(|c| c.0 == "False");
    let held = (0..8).map(|_| world.live(1)).find(not_ready);
    let held = held.expect("held after 90 s");
    assert_eq!(
        condition(&held, "OptimizationReady"),
        Some(("False".into(), "MetricsUnavailable".into()))
    );
    for _ in 0..200 {
        let outcome = world.live(1);
        assert_eq!(scale(&outcome), None);
        assert!(matches!(&outcome.report.entries[0], Entry::Held { .. }));
    }
    assert_eq!(desired(&world), reached);
    world.missing = None;
    world.rate = 0.5;
    world.live(60);
    assert!(
        desired(&world) < reached,
        "it goes down when it is known that less arrives"
    );
}

#[test]
fn a_lost_memory_lowers_nothing_at_once() {
    let mut world = world();
    world.rate = 12.0;
    world.live(12);
    let reached = desired(&world);
    world.memory = Default::default();
    for _ in 0..8 {
        let outcome = world.live(1);
        assert!(
            scale(&outcome).is_none_or(|(from, to)| to >= from),
            "{:?}",
            scale(&outcome)
        );
    }
    assert!(desired(&world) >= reached);
}

#[test]
fn a_target_that_does_not_exist_is_told_once() {
    let mut world = World::new(AUTOSCALING);
    let first = world.live(1);
    assert_eq!(
        condition(&first, "TargetResolved"),
        Some(("False".into(), "TargetNotFound".into()))
    );
    assert_eq!(events(&first), ["TargetNotFound"]);
    assert_eq!(world.live(5).effects, []);
}

#[test]
fn a_paused_variant_stays_and_says_so() {
    let mut world = World::new(&AUTOSCALING.replace(
        "generation: 1",
        "generation: 1, annotations: {wva.llmd.ai/paused: 'true'}",
    ));
    world.deploy("llama-l40s", "L40S", 2);
    world.rate = 20.0;
    let first = world.live(1);
    assert_eq!(
        condition(&first, "InControl"),
        Some(("False".into(), "Paused".into()))
    );
    world.live(10);
    assert_eq!(desired(&world), 2);
}

#[test]
fn advice_is_given_without_being_taken() {
    let mut world = World::new(&AUTOSCALING.replace(
        "generation: 1",
        "generation: 1, annotations: {wva.llmd.ai/mode: advise}",
    ));
    world.deploy("llama-l40s", "L40S", 1);
    world.rate = 20.0;
    let last = world.live(10);
    assert_eq!(desired(&world), 1);
    assert!(
        matches!(&last.report.entries[0], Entry::Decided(r) if r.desired == 1 && r.planned > 1)
    );
}

#[test]
fn a_second_writer_is_noticed_and_left_alone() {
    let mut world = world();
    world.rate = 12.0;
    let mut undone = 0;
    let mut last = None;
    for _ in 0..60 {
        let outcome = world.live(1);
        if scale(&outcome).is_some() {
            // It is seen to be done, and then somebody puts it back.
            world.live(1);
            world.deploy("llama-l40s", "L40S", 1);
            undone += 1;
        }
        last = Some(outcome);
        if undone == 3 {
            break;
        }
    }
    assert_eq!(undone, 3, "{:?}", last.map(|o| o.effects));
    let after = world.live(1);
    assert_eq!(scale(&after), None);
    assert_eq!(
        condition(&after, "InControl"),
        Some(("False".into(), "TwoWriters".into()))
    );
    assert!(events(&after).contains(&"TwoWriters"));
}

#[test]
fn a_write_that_is_not_allowed_is_named() {
    let mut world = world();
    world.rate = 12.0;
    world.step();
    let forbidden = WriteOutcome::Forbidden("deployments/scale is forbidden".into());
    world.written.push(Written {
        variant: Key::new("llm-d", "llama-l40s"),
        scale: Some(5),
        outcome: forbidden,
    });
    let outcome = world.step();
    assert_eq!(
        condition(&outcome, "InControl"),
        Some(("False".into(), "Forbidden".into()))
    );
    assert!(events(&outcome).contains(&"WriteFailed"));
    assert!(scale(&outcome).is_some(), "it is tried again");
}

/// That a status can be written does not mean that replicas can.
#[test]
fn what_is_not_allowed_is_said_once_and_stands() {
    let mut world = world();
    world.rate = 12.0;
    let mut statuses = 0;
    for cycle in 0..12 {
        let outcome = world.step();
        for effect in &outcome.effects {
            if matches!(effect, Effect::Status { .. }) {
                statuses += u32::from(cycle >= 6);
                world.write(effect);
            }
        }
        let refused = Written {
            variant: Key::new("llm-d", "llama-l40s"),
            scale: Some(5),
            outcome: WriteOutcome::Forbidden("deployments/scale is forbidden".into()),
        };
        // Whichever of the two was answered first.
        let place = cycle % (world.written.len() + 1);
        world.written.insert(place, refused);
    }
    assert_eq!(statuses, 0, "nothing new to say");
    // Once it is as wanted, nothing is in the way any more.
    world.deploy("llama-l40s", "L40S", 5);
    let last = (0..12).find_map(|_| condition(&world.live(1), "InControl"));
    assert_eq!(last, Some(("True".into(), "PatchesScale".into())));
}

#[test]
fn an_hpa_in_front_is_fed_and_not_overridden() {
    let mut world = world();
    world.apply(json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "namespace": "llm-d"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "llama-l40s"}, "minReplicas": 1, "maxReplicas": 30,
            "metrics": [{"type": "External", "external": {"metric": {"name": "wva_desired_replicas"}}}],
            "behavior": {"scaleUp": {"tolerance": "0"}, "scaleDown": {"tolerance": 0}}}}));
    world.rate = 12.0;
    let last = world.live(10);
    assert_eq!(scale(&last), None);
    assert_eq!(desired(&world), 1);
    let Entry::Decided(report) = &last.report.entries[0] else {
        panic!("decided");
    };
    assert!(report.desired > 1);
    assert_eq!(report.hpa_tolerance, None);
}

#[test]
fn a_model_goes_to_zero_after_its_window_and_comes_back() {
    let mut world = World::new(&AUTOSCALING.replace("minReplicas: 1", "minReplicas: 0"));
    world.deploy("llama-l40s", "L40S", 1);
    world.rate = 2.0;
    world.live(20);
    world.rate = 0.0;
    world.live(30);
    assert_eq!(desired(&world), 1, "within the window of ten minutes");
    world.live(60);
    assert_eq!(desired(&world), 0);
    world.rate = 2.0;
    world.live(3);
    assert!(desired(&world) >= 1);
}

#[test]
fn a_variant_without_model_or_accelerator_is_held_with_the_fix() {
    let mut world = World::new(
        "apiVersion: llmd.ai/v1alpha1
kind: VariantAutoscaling
metadata: {name: bare, namespace: llm-d}
spec: {modelID: m-8b}",
    );
    world.apply(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bare", "namespace": "llm-d"},
        "spec": {"replicas": 2}}));
    let first = world.live(1);
    assert_eq!(
        condition(&first, "OptimizationReady"),
        Some(("False".into(), "InvalidConfiguration".into()))
    );
    let told = first.effects.iter().any(|e| matches!(e, Effect::Event { note, .. } if note.contains("inference.optimization/acceleratorName")));
    assert!(told, "{:?}", first.effects);
}

#[test]
fn a_minimum_without_devices_holds_nobody_else_back() {
    let mut world = World::new(
        "apiVersion: llmd.ai/v1alpha1
kind: VariantAutoscaling
metadata: {name: big, namespace: llm-d}
spec: {modelID: meta-llama/Llama-3.1-8B-Instruct, minReplicas: 4}
---
apiVersion: llmd.ai/v1alpha1
kind: VariantAutoscaling
metadata: {name: small, namespace: llm-d}
spec: {modelID: qwen-7b}",
    );
    world.deploy("big", "H100", 1);
    world.deploy("small", "L40S", 1);
    world.base.catalogue.stock.insert("H100".into(), 1);
    world.rate = 12.0;
    let last = world.live(10);
    let fleet = world.index.fleet(&world.base);
    let desired = |name: &str| {
        fleet
            .variants
            .iter()
            .find(|v| v.key.name == name)
            .map(|v| v.desired)
    };
    assert!(desired("small") > Some(1), "{:?}", desired("small"));
    assert_eq!(desired("big"), Some(4), "what the user asked for");
    let told = last.cycle.decisions.iter().flat_map(|d| &d.reasons);
    assert!(told.into_iter().any(|r| r.code == "minimum-exceeds-limit"));
}

#[test]
fn trouble_of_many_is_told_of_a_few() {
    let many: Vec<String> = (0..100)
        .map(|i| AUTOSCALING.replace("llama-l40s", &format!("llama-{i}")))
        .collect();
    let mut world = World::new(&many.join("\n---\n"));
    let first = world.live(1);
    let told = events(&first)
        .iter()
        .filter(|r| **r == "TargetNotFound")
        .count();
    assert_eq!(told, 20);
    let last = first.effects.iter().rev().find_map(|e| match e {
        Effect::Event { note, .. } => Some(note.clone()),
        _ => None,
    });
    assert!(last.is_some_and(|n| n.ends_with("(and the same of 80 others)")));
    let statuses = first
        .effects
        .iter()
        .filter(|e| matches!(e, Effect::Status { .. }));
    assert_eq!(statuses.count(), 100, "each says it in its status");
    assert_eq!(world.live(5).effects, [], "and nothing twice");
}

#[test]
fn objects_that_cannot_be_read_are_told_where_they_are() {
    let mut world = world();
    world.apply(json!({
        "apiVersion": "llmd.ai/v1alpha1", "kind": "VariantAutoscaling",
        "metadata": {"name": "nonsense", "namespace": "llm-d"},
        "spec": {"minReplicas": "many"}}));
    let first = world.live(1);
    let about = first.effects.iter().find_map(|e| match e {
        Effect::Event {
            subject,
            note,
            reason,
            ..
        } if subject.name == "nonsense" => Some((*reason, note.clone())),
        _ => None,
    });
    let (reason, note) = about.expect("told");
    assert!(
        reason == "InvalidConfiguration" && note.contains("many"),
        "{note}"
    );
    let again = world.live(5);
    assert!(
        !again
            .effects
            .iter()
            .any(|e| matches!(e, Effect::Event { subject, .. } if subject.name == "nonsense"))
    );
}
