//! A model that sleeps: nothing finishes there, so nothing is known of its requests, and yet it has to wake.

use wva_models::catalogue::Catalogue;
use wva_optimizer::snapshot::{Snapshot, StreamSample, VariantSample};
use wva_optimizer::state::State;
use wva_optimizer::step::{Autoscaler, Settings, step};

const CATALOGUE: &str = "
models: [{name: llama-3.1-8b}]
variants:
  - {name: l4, model: llama-3.1-8b, accelerator: L40S}
classes:
  - {name: chat, ttft_ms: {p99: 2000}, itl_ms: {p99: 80}}
";

fn autoscaler() -> Autoscaler {
    Autoscaler {
        catalogue: Catalogue::parse(CATALOGUE, "catalogue").expect("a valid catalogue"),
        settings: Settings {
            scale_to_zero: true,
            ..Settings::default()
        },
    }
}

fn snapshot(at: f64, arrivals: f64, held: f64, desired: u32) -> Snapshot {
    Snapshot {
        at,
        streams: vec![StreamSample {
            model: "llama-3.1-8b".into(),
            class: "chat".into(),
            at,
            arrivals,
            held,
            ..StreamSample::default()
        }],
        variants: vec![VariantSample {
            name: "l4".into(),
            desired,
            starting: vec![1.0; desired as usize],
            ..VariantSample::default()
        }],
        ..Snapshot::default()
    }
}

/// Targets over four cycles that see these numbers of arrivals and held requests.
fn targets(arrivals: f64, held: f64, desired: u32) -> Vec<u32> {
    let (autoscaler, mut state) = (autoscaler(), State::default());
    (0..4)
        .map(|i| {
            let grown = arrivals * f64::from(i);
            let (next, cycle) = step(
                &autoscaler,
                &snapshot(15.0 * f64::from(i), grown, held, desired),
                std::mem::take(&mut state),
            );
            state = next;
            cycle.decisions[0].target
        })
        .collect()
}

#[test]
fn held_requests_wake_a_model_that_nothing_is_known_of() {
    assert!(targets(3.0, 3.0, 0)[3] >= 1);
}

#[test]
fn nothing_wakes_a_model_that_nobody_asks_for() {
    assert_eq!(targets(0.0, 0.0, 0), [0, 0, 0, 0]);
}

#[test]
fn a_model_that_loads_is_held_until_its_requests_are_known() {
    assert_eq!(targets(3.0, 3.0, 2), [2, 2, 2, 2]);
}
