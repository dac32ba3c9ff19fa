//! Replicas are taken away once endpoint pickers leave them out.

use wva_controllers::cycle::Outcome;
use wva_controllers::cycle::drain::Followers;
use wva_controllers::cycle::effects::Effect;
use wva_controllers::published::Entry;
use wva_controllers::telemetry::pushed::{self, Push, Pushed};

use crate::world::{CYCLE, World};

const AUTOSCALING: &str = "apiVersion: llmd.ai/v1alpha1
kind: VariantAutoscaling
metadata: {name: llama-l40s, namespace: llm-d, uid: va-1, generation: 1}
spec: {modelID: meta-llama/Llama-3.1-8B-Instruct, minReplicas: 1, maxReplicas: 40}";

/// A picker that was heard at `heard` and goes by the fits of `fits_at`.
fn picker(world: &mut World, heard: f64, fits_at: f64) {
    let mut pushes = Pushed::default();
    let push = Push {
        version: pushed::VERSION,
        pusher: "epp-0".into(),
        incarnation: 1,
        sequence: 1,
        at: heard,
        streams: Vec::new(),
        engines: Default::default(),
        fits_at: Some(fits_at),
    };
    pushes.take(push, heard);
    world.followers = Followers::of(&pushes, true, world.now + CYCLE);
}

/// A fleet that just found out that it needs fewer, and its cycle.
fn fewer(heard: impl Fn(f64) -> f64) -> (World, Outcome, u32) {
    let mut world = World::new(AUTOSCALING);
    world.deploy("llama-l40s", "L40S", 1);
    world.rate = 40.0;
    world.live(12);
    let before = desired(&world);
    assert!(before > 2, "{before}");
    world.rate = 0.5;
    for _ in 0..100 {
        let now = world.now;
        picker(&mut world, heard(now), now - 3600.0);
        let outcome = world.step();
        if !outcome.departures.leaving.is_empty() || scale(&outcome).is_some() {
            return (world, outcome, before);
        }
    }
    panic!("nobody ever leaves");
}

fn desired(world: &World) -> u32 {
    world.index.fleet(&world.base).variants[0].desired
}

fn scale(outcome: &Outcome) -> Option<(u32, u32)> {
    outcome.effects.iter().find_map(|e| match e {
        Effect::Scale { from, to, .. } => Some((*from, *to)),
        _ => None,
    })
}

fn costs(outcome: &Outcome) -> Vec<(String, bool)> {
    let costs = outcome.effects.iter().filter_map(|e| match e {
        Effect::Cost { pod, first, .. } => Some((pod.clone(), *first)),
        _ => None,
    });
    costs.collect()
}

fn leaving(outcome: &Outcome) -> Vec<String> {
    let leaving = outcome.departures.leaving.iter();
    leaving.map(|l| l.pod.clone()).collect()
}

#[test]
fn pods_are_left_out_and_marked_before_they_go() {
    let (mut world, first, before) = fewer(|now| now);
    assert_eq!(scale(&first), None);
    let Entry::Decided(report) = &first.report.entries[0] else {
        panic!("decided");
    };
    assert_eq!(report.desired, before);
    assert!(report.planned < before, "{}", report.planned);
    assert_eq!(report.reasons[0].code, "draining");
    let gone = leaving(&first);
    assert_eq!(costs(&first).len(), gone.len());
    assert!(
        costs(&first)
            .iter()
            .all(|(pod, on)| *on && gone.contains(pod))
    );

    // Read, but not marked yet.
    let now = world.now;
    picker(&mut world, now, now);
    let mut last = world.step();
    assert_eq!(scale(&last), None);
    // Whoever goes was named before, and is marked by then; more may join them meanwhile.
    for _ in 0..8 {
        let named = leaving(&last);
        assert!(
            gone.iter().all(|pod| named.contains(pod)),
            "{gone:?} {named:?}"
        );
        last.effects.iter().for_each(|e| world.write(e));
        let now = world.now;
        picker(&mut world, now, now);
        last = world.step();
        if let Some((from, to)) = scale(&last) {
            assert_eq!((from, (from - to) as usize), (before, named.len()));
            assert!(named.iter().all(|pod| leaving(&last).contains(pod)));
            assert!(named.iter().all(|pod| world.first.contains(pod)));
            return;
        }
    }
    panic!("nobody ever goes");
}

#[test]
fn who_is_needed_after_all_stays_and_loses_the_mark() {
    let (mut world, first, _) = fewer(|now| now);
    first.effects.iter().for_each(|e| world.write(e));
    world.rate = 40.0;
    let mut back = Vec::new();
    for _ in 0..8 {
        let now = world.now;
        picker(&mut world, now, now - 3600.0);
        let outcome = world.step();
        back.extend(costs(&outcome));
        outcome.effects.iter().for_each(|e| world.write(e));
        if leaving(&outcome).is_empty() {
            break;
        }
    }
    assert!(world.first.is_empty() && !back.is_empty(), "{back:?}");
}

#[test]
fn a_picker_that_does_not_answer_is_waited_for_a_while_only() {
    let (mut world, first, before) = fewer(|now| now);
    first.effects.iter().for_each(|e| world.write(e));
    let lowered = (0..3).find_map(|_| {
        let now = world.now;
        picker(&mut world, now, now - 3600.0);
        scale(&world.step())
    });
    assert_eq!(lowered.map(|(from, _)| from), Some(before));
}

#[test]
fn without_a_picker_nobody_waits() {
    let (_, first, before) = fewer(|now| now - 3600.0);
    assert_eq!(scale(&first).map(|(from, _)| from), Some(before));
    assert_eq!((leaving(&first), costs(&first)), (vec![], vec![]));
}
