//! Latency predictions and capacities: what a planning cycle pays per variant, class and shape.

use divan::{Bencher, black_box};
use wva_models::batching::ContinuousBatching;
use wva_models::capacity::{Conditions, capacity};
use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_models::latency::{Arrivals, LatencyModel, Load};
use wva_models::model_kind::ModelKind;
use wva_models::service_class::{Bound, Slo, Statistic};
use wva_models::shape::RequestShape;
use wva_models::units::Seconds;
use wva_models::variant::Role;

fn main() {
    divan::main();
}

/// An 80 GB H100 with an 8B model.
const H100: ReplicaModel = ReplicaModel {
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
};

/// Chat requests as 64 points.
fn chat() -> RequestShape {
    RequestShape::lognormal((1155.0, 1.0), (211.0, 0.8), None).expect("a valid shape")
}

fn load(shape: &RequestShape, rate: f64) -> Load<'_> {
    Load {
        rate: black_box(rate),
        shape,
        arrivals: Arrivals::Poisson,
        pool: 1,
        ttft_allowance_per_token: 0.0,
    }
}

/// One prediction at 60 % load, by number of sampled arrivals.
#[divan::bench(args = [2048, 16_384])]
fn predict(bencher: Bencher, samples: usize) {
    let shape = chat();
    let model = ContinuousBatching {
        samples,
        ..ContinuousBatching::new(H100, Role::Both)
    };
    bencher.bench(|| model.predict(&load(&shape, 12.0)));
}

/// One prediction of the textbook models, in their roles.
#[divan::bench(args = ["chain", "mg1"])]
fn predict_textbook(bencher: Bencher, name: &str) {
    let shape = chat();
    let kind: ModelKind = name.parse().expect("a known name");
    let model = kind.model(H100, Role::Prefill).expect("a known role");
    let rate = 0.6 * model.stability_limit(&shape);
    bencher.bench(|| model.predict(&load(&shape, rate)));
}

/// One capacity under TTFT p99 and ITL p95; target 3 ms with 2048 samples.
#[divan::bench(args = [2048, 16_384])]
fn capacity_inversion(bencher: Bencher, samples: usize) {
    let shape = chat();
    let bound = |q, limit| Bound {
        statistic: Statistic::Quantile(q),
        limit: Seconds::new(limit).expect("a duration"),
        per_input_token: Seconds::new(0.0).expect("a duration"),
    };
    let slo = Slo {
        ttft: Some(bound(0.99, 0.5)),
        itl: Some(bound(0.95, 0.03)),
        e2e: None,
    };
    let model = ContinuousBatching {
        samples,
        ..ContinuousBatching::new(H100, Role::Both)
    };
    let conditions = Conditions {
        shape: &shape,
        arrivals: Arrivals::Poisson,
        pool: 1,
        slo: &slo,
    };
    bencher.bench(|| capacity(black_box(&model), &conditions));
}
