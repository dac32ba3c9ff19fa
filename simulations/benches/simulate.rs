//! Requests simulated per second.

use divan::Bencher;
use divan::counter::ItemsCount;
use wva_epp_core::router::Router as Ready;
use wva_models::catalogue::Catalogue;
use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_models::latency::Arrivals;
use wva_models::shape::RequestShape;
use wva_optimizer::snapshot::Snapshot;
use wva_simulations::fleet::Router;
use wva_simulations::policy::{Intent, Policy};
use wva_simulations::request::{Request, RequestSource, Stream};
use wva_simulations::run::{Options, Setup, run};
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

const CATALOGUE: &str = "
models:
  - {name: llama-3.1-8b}
variants:
  - {name: v, model: llama-3.1-8b, accelerator: H100, tensor_parallel: 1}
classes:
  - {name: chat, ttft_ms: {p99: 1000}, itl_ms: {p99: 50}}
";

/// Chat requests at a constant rate.
struct Chat {
    streams: Vec<Stream>,
    shape: RequestShape,
    rate: f64,
}

impl RequestSource for Chat {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn requests(&self, seed: u64) -> Box<dyn Iterator<Item = Request> + '_> {
        Box::new(ShapedRequests::new(
            &self.shape,
            self.rate,
            Arrivals::Poisson,
            seed,
        ))
    }
}

/// Keeps what there is.
struct Keep;

impl Policy for Keep {
    fn name(&self) -> &str {
        "keep"
    }

    fn period(&self) -> f64 {
        15.0
    }

    fn decide(&mut self, _snapshot: &Snapshot) -> Intent {
        Intent::default()
    }
}

/// A fleet of this many replicas at 15 requests/s each.
#[divan::bench(args = [1, 10, 100, 300], sample_count = 5)]
fn fleet(bencher: Bencher, replicas: u32) {
    routed(bencher, Router::LeastLoad, replicas);
}

/// The same with the Endpoint Picker's own choice.
#[divan::bench(args = [1, 10, 100], sample_count = 5)]
fn fleet_prefix(bencher: Bencher, replicas: u32) {
    routed(bencher, Router::Picker(Ready::Prefix), replicas);
}

/// The same with the Endpoint Picker's own choice.
#[divan::bench(args = [1, 10, 100], sample_count = 5)]
fn fleet_slo(bencher: Bencher, replicas: u32) {
    routed(bencher, Router::Picker(Ready::Slo), replicas);
}

fn routed(bencher: Bencher, router: Router, replicas: u32) {
    let catalogue = Catalogue::parse(CATALOGUE, "bench").expect("a valid catalogue");
    let source = Chat {
        streams: vec![Stream {
            model: "llama-3.1-8b".into(),
            class: "chat".into(),
            prefix_hit: 0.0,
        }],
        shape: RequestShape::fixed(1155.0, 211.0).expect("a valid shape"),
        rate: 15.0 * f64::from(replicas),
    };
    let setup = Setup {
        catalogue: &catalogue,
        truth: vec![h100()],
        source: &source,
        duration_s: 200_000.0 / source.rate,
        initial: vec![replicas],
        scrape_interval_s: 15.0,
        start_up_cv: 0.0,
        faults: Vec::new(),
        seed: 1,
        options: Options {
            router,
            ..Options::default()
        },
    };
    bencher
        .counter(ItemsCount::new(200_000u32))
        .bench(|| run(&setup, &mut Keep).expect("a valid setup"));
}
