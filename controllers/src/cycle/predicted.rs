//! Latencies that the models expect of each variant's replicas at the load that they have now: beside what was observed,
//! they show whether a model can be relied upon.
//!
//! The traffic of a model is taken to spread over its serving replicas by how fast they decode, as a router that looks at
//! load has it. A prediction is kept until what it depends on has moved by a tenth, and a cycle makes only so many: they
//! inform people, and no decision waits for them.

use std::collections::BTreeMap;

use wva_models::batching::ContinuousBatching;
use wva_models::iteration::{Composition, ReplicaModel};
use wva_models::latency::{Arrivals, LatencyModel as _, Load, Outcome};
use wva_models::shape::RequestShape;
use wva_models::variant::{Role, Variant};
use wva_optimizer::snapshot::Snapshot;
use wva_optimizer::state::State;
use wva_optimizer::step::Autoscaler;

use crate::published::Latencies;

/// What was predicted last, by variant.
pub(super) type Predictions = BTreeMap<String, Prediction>;

/// A prediction and what it was made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prediction {
    inputs: [f64; 7],
    latencies: Latencies,
}

/// Relative move of an input beyond which a prediction is made anew.
const MOVED: f64 = 0.1;
/// Predictions that one cycle makes at most.
const MOST: usize = 64;
/// Arrivals that a prediction samples: enough for a mean.
const SAMPLES: usize = 512;
/// Batch at which replicas' speeds are compared.
const BATCH: f64 = 32.0;
/// Larger pools are alike.
const LARGEST_POOL: u32 = 16;

/// What is expected in this cycle.
pub(super) struct Expected<'a> {
    variants: BTreeMap<&'a str, (&'a Variant, ReplicaModel, u32)>,
    traffic: BTreeMap<&'a str, Traffic<'a>>,
    left: usize,
}

/// Traffic of one model on what serves it.
struct Traffic<'a> {
    rate: f64,
    shape: &'a RequestShape,
    dispersion: f64,
    /// Σ replicas × speed.
    power: f64,
    pool: u32,
}

impl<'a> Expected<'a> {
    /// By what is remembered after the cycle.
    pub fn new(autoscaler: &'a Autoscaler, snapshot: &'a Snapshot, state: &'a State) -> Self {
        let ready: BTreeMap<&str, u32> = snapshot
            .variants
            .iter()
            .map(|s| (s.name.as_str(), s.ready))
            .collect();
        let catalogue = &autoscaler.catalogue;
        let whole = catalogue.variants.iter().filter(|v| v.role == Role::Both);
        let variants = whole.filter_map(|v| {
            let replica = ReplicaModel {
                law: state.variants.get(&v.name)?.fitted().law,
                ..catalogue.replica_model(v)
            };
            let ready = ready.get(v.name.as_str()).copied().filter(|n| *n > 0)?;
            Some((v.name.as_str(), (v, replica, ready)))
        });
        let mut expected = Self {
            variants: variants.collect(),
            traffic: BTreeMap::new(),
            left: MOST,
        };
        for sample in &snapshot.streams {
            if catalogue.class(&sample.class).is_some_and(|c| c.is_batch()) {
                continue;
            }
            let key = wva_optimizer::state::stream_key(&sample.model, &sample.class);
            let Some(stream) = state.streams.get(&key) else {
                continue;
            };
            if let (Some(rate), Some(shape)) = (stream.rate(), stream.shape()) {
                expected.add(&sample.model, rate, shape, stream.dispersion());
            }
        }
        expected
    }

    /// Adds a stream to its model's traffic; the busiest one's shape stands for all.
    fn add(&mut self, model: &'a str, rate: f64, shape: &'a RequestShape, dispersion: f64) {
        let own = || self.variants.values().filter(|(v, ..)| v.model == model);
        let (power, pool) = own().fold((0.0, 0), |(power, pool), (_, replica, ready)| {
            (
                power + f64::from(*ready) * speed(replica, shape),
                pool + ready,
            )
        });
        let traffic = self.traffic.entry(model).or_insert(Traffic {
            rate: 0.0,
            shape,
            dispersion,
            power,
            pool,
        });
        if rate > traffic.rate {
            (traffic.shape, traffic.dispersion, traffic.power) = (shape, dispersion, power);
        }
        traffic.rate += rate;
    }

    /// What is expected of this variant's replicas; nothing where it serves nothing, or would drown.
    pub fn of(&mut self, name: &str, before: &mut Predictions) -> Latencies {
        let nothing = Latencies::default();
        let Some((variant, replica, _)) = self.variants.get(name) else {
            return nothing;
        };
        let Some(traffic) = self.traffic.get(variant.model.as_str()) else {
            return nothing;
        };
        if traffic.rate <= 0.0 || traffic.power <= 0.0 {
            return nothing;
        }
        let speed = speed(replica, traffic.shape);
        let rate = traffic.rate * speed / traffic.power;
        let inputs = [
            rate,
            speed,
            replica.law.seconds(&prompt(traffic.shape)),
            traffic.shape.mean_input(),
            traffic.shape.mean_output(),
            traffic.dispersion,
            f64::from(traffic.pool.min(LARGEST_POOL)),
        ];
        let known = before
            .get(name)
            .filter(|p| self.left == 0 || near(&p.inputs, &inputs));
        if let Some(known) = known {
            return known.latencies;
        }
        if self.left == 0 {
            return nothing;
        }
        self.left -= 1;
        let latencies = predict(*replica, variant.role, traffic, rate);
        before.insert(name.to_owned(), Prediction { inputs, latencies });
        latencies
    }
}

fn near(before: &[f64], now: &[f64]) -> bool {
    before
        .iter()
        .zip(now)
        .all(|(a, b)| (a - b).abs() <= MOVED * a.abs().max(b.abs()))
}

fn predict(replica: ReplicaModel, role: Role, traffic: &Traffic<'_>, rate: f64) -> Latencies {
    let model = ContinuousBatching {
        samples: SAMPLES,
        ..ContinuousBatching::new(replica, role)
    };
    let load = Load {
        rate,
        shape: traffic.shape,
        arrivals: Arrivals::Dispersion(traffic.dispersion),
        pool: traffic.pool.clamp(1, LARGEST_POOL),
        ttft_allowance_per_token: 0.0,
    };
    match model.predict(&load) {
        Outcome::Stable(p) => Latencies {
            ttft: Some(p.ttft.mean()),
            itl: Some(p.itl.mean()),
        },
        _ => Latencies::default(),
    }
}

/// Iterations per second of a middling batch.
fn speed(replica: &ReplicaModel, shape: &RequestShape) -> f64 {
    let context = shape.mean_input() + shape.mean_output() / 2.0;
    let seconds = replica.law.seconds(&Composition {
        tokens: BATCH,
        kv_tokens: BATCH * context,
        sequences: BATCH,
        ..Composition::default()
    });
    seconds.max(1e-6).recip()
}

fn prompt(shape: &RequestShape) -> Composition {
    Composition {
        tokens: shape.mean_input(),
        kv_tokens: shape.mean_input(),
        sequences: 1.0,
        any_prefill: true,
        ..Composition::default()
    }
}
