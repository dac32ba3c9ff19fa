//! Latency models: limits that can be worked out by hand, laws that always hold, and inputs that make no sense.

mod by_hand;
mod capacity;
mod laws;
mod outcomes;

use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_models::latency::{Arrivals, Load, Outcome, Prediction};
use wva_models::shape::RequestShape;

/// An 80 GB H100 with an 8B model.
fn h100() -> ReplicaModel {
    ReplicaModel {
        law: IterationLaw {
            overhead_s: 1.9e-3,
            floor_s: 5.15e-3,
            per_token_s: 2.28e-5,
            per_kv_token_s: 4.1e-8,
            per_sequence_s: 2.3e-5,
            per_chunk_context_s: 8.3e-10,
            prefill_overhead_s: 5.9e-4,
            front_end_s: 11e-3,
        },
        limits: EngineLimits {
            token_budget: 8192.0,
            max_sequences: 512.0,
            kv_tokens: 437_000.0,
        },
    }
}

fn load(shape: &RequestShape, rate: f64) -> Load<'_> {
    Load {
        rate,
        shape,
        arrivals: Arrivals::Poisson,
        pool: 1,
        ttft_allowance_per_token: 0.0,
    }
}

fn stable(outcome: Outcome) -> Prediction {
    match outcome {
        Outcome::Stable(prediction) => prediction,
        other => panic!("not stable: {other:?}"),
    }
}

fn fixed(input: f64, output: f64) -> RequestShape {
    RequestShape::fixed(input, output).expect("a valid shape")
}

fn chat() -> RequestShape {
    RequestShape::lognormal((1155.0, 1.0), (211.0, 0.8), None).expect("a valid shape")
}

fn near(actual: f64, expected: f64, relative: f64) -> bool {
    (actual - expected).abs() <= relative * expected.abs()
}
