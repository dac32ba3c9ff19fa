//! Requests simulated per second.

use divan::Bencher;
use divan::counter::ItemsCount;
use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_models::latency::Arrivals;
use wva_models::shape::RequestShape;
use wva_simulations::single::{ShapedRequests, single_replica};

fn main() {
    divan::main();
}

/// An 80 GB H100 with an 8B model (see the design of the iteration law).
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

/// One replica under chat requests at this rate.
#[divan::bench(args = [5.0, 15.0, 22.0], sample_count = 5)]
fn single(bencher: Bencher, rate: f64) {
    let shape = RequestShape::fixed(1155.0, 211.0).expect("a valid shape");
    let model = h100();
    bencher.counter(ItemsCount::new(200_000u32)).bench(|| {
        let requests = ShapedRequests::new(&shape, rate, Arrivals::Poisson, 1);
        single_replica(&model, requests, 0.0, 0, 200_000)
    });
}
