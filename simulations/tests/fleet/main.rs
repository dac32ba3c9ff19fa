//! Whole fleets: scaling, stock, routing, disaggregation, batch work, and what must always hold.

mod batch;
mod invariants;
mod lifecycle;
mod picking;
mod routing;
mod watching;

use std::collections::BTreeMap;

use wva_models::catalogue::Catalogue;
use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_optimizer::decision::RoutingShare;
use wva_optimizer::snapshot::Snapshot;
use wva_simulations::policy::{Actuation, Intent, Policy, World};
use wva_simulations::request::{Request, RequestList, RequestSource, Stream};
use wva_simulations::result::RunResult;
use wva_simulations::run::{Options, Setup, run};
use wva_simulations::time::Time;

/// One aggregated variant `whole` (10 s start-up, 2 devices, $3.6/h), a pair `p`/`d`, and `small`, which holds 300 tokens.
const CATALOGUE: &str = "
accelerators:
  - {name: X1, memory_gb: 80, bandwidth_tb_s: 3, bf16_tflops: 900, power_w: 700, price_per_hour_usd: 1.8}
models:
  - {name: m, parameters_b: 8, layers: 32, hidden_size: 4096, kv_heads: 8, head_dim: 128, max_context_tokens: 131072}
variants:
  - {name: whole, model: m, accelerator: X1, tensor_parallel: 2, start_up_seconds: 10}
  - {name: p, model: m, accelerator: X1, role: prefill, start_up_seconds: 10}
  - {name: d, model: m, accelerator: X1, role: decode, start_up_seconds: 10}
  - {name: small, model: m, accelerator: X1, start_up_seconds: 10}
classes:
  - {name: chat, priority: 10, ttft_ms: {p99: 1000}, itl_ms: {p99: 50}}
  - {name: nightly, priority: 1, deadline_seconds: 600}
";
const WHOLE: usize = 0;
const P: usize = 1;
const D: usize = 2;
const SMALL: usize = 3;
const CHAT: u32 = 0;
const NIGHTLY: u32 = 1;

fn catalogue(stock: Option<u32>) -> Catalogue {
    let stock = stock.map_or(String::new(), |s| format!("stock: {{X1: {s}}}\n"));
    Catalogue::parse(&format!("{CATALOGUE}{stock}"), "test").expect("a valid catalogue")
}

/// 1 ms + 10 µs a token + 1 µs a KV token + 100 µs a sequence; prefill adds 500 µs. 5 ms of front end.
fn truth() -> Vec<ReplicaModel> {
    let law = IterationLaw {
        overhead_s: 1e-3,
        floor_s: 0.0,
        per_token_s: 1e-5,
        per_kv_token_s: 1e-6,
        per_sequence_s: 1e-4,
        per_chunk_context_s: 0.0,
        prefill_overhead_s: 5e-4,
        front_end_s: 5e-3,
    };
    let model = |kv_tokens| ReplicaModel {
        law,
        limits: EngineLimits {
            token_budget: 2048.0,
            max_sequences: 64.0,
            kv_tokens,
        },
    };
    vec![
        model(100_000.0),
        model(100_000.0),
        model(100_000.0),
        model(300.0),
    ]
}

fn request(seconds: f64, stream: u32, input: u32, output: u32) -> Request {
    Request {
        at: Time::from_seconds(seconds),
        stream,
        input,
        output,
        hash_ids: None,
    }
}

fn source(requests: Vec<Request>) -> RequestList {
    let stream = |class: &str| Stream {
        model: "m".into(),
        class: class.into(),
        prefix_hit: 0.0,
    };
    RequestList::new(vec![stream("chat"), stream("nightly")], requests)
}

fn setup<'a>(
    catalogue: &'a Catalogue,
    source: &'a dyn RequestSource,
    initial: [u32; 4],
) -> Setup<'a> {
    Setup {
        catalogue,
        truth: truth(),
        source,
        duration_s: 600.0,
        initial: initial.to_vec(),
        scrape_interval_s: 15.0,
        start_up_cv: 0.0,
        faults: Vec::new(),
        seed: 7,
        options: Options::default(),
    }
}

/// Does at given times what it is told to, and remembers every snapshot.
#[derive(Default)]
struct Script {
    period: f64,
    /// (from when, variant, replicas).
    scale: Vec<(f64, &'static str, u32)>,
    shares: Vec<RoutingShare>,
    batch_limits: BTreeMap<String, u32>,
    actuation: Option<Actuation>,
    seen: Vec<Snapshot>,
    priors: Vec<ReplicaModel>,
}

impl Script {
    fn new(scale: &[(f64, &'static str, u32)]) -> Self {
        Self {
            period: 5.0,
            scale: scale.to_vec(),
            ..Self::default()
        }
    }
}

impl Policy for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn period(&self) -> f64 {
        self.period
    }

    fn actuation(&self) -> Actuation {
        self.actuation.clone().unwrap_or(Actuation::Direct)
    }

    fn begin(&mut self, world: &World<'_>) {
        self.priors = world.priors.to_vec();
    }

    fn decide(&mut self, snapshot: &Snapshot) -> Intent {
        self.seen.push(snapshot.clone());
        let due = self.scale.iter().filter(|s| s.0 <= snapshot.at);
        Intent {
            replicas: due.map(|s| (s.1.to_owned(), s.2)).collect(),
            shares: self.shares.clone(),
            batch_limits: self.batch_limits.clone(),
            decisions: Vec::new(),
        }
    }
}

fn play(setup: &Setup<'_>, script: &mut Script) -> RunResult {
    run(setup, script).expect("a valid setup")
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs().max(1.0)
}
