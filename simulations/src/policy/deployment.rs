//! What a user of a one-variant autoscaler deploys: for each model the variant that serves its traffic cheapest.
//!
//! KEDA and the HPA scale one target; they do not choose between accelerators. Somebody chose before, with a benchmark
//! of each variant under the traffic's shape and SLO in hand. The latency model stands in for the benchmark, with the laws
//! of the real replicas: a benchmark measures what is there. That is more than this project's own policy is told, which
//! starts from the catalogue. Prefill and decode variants, the cheapest of each, are deployed as a pair where the two together
//! are cheaper than the cheapest variant that does both.

use wva_models::batching::ContinuousBatching;
use wva_models::capacity::{Conditions, capacity};
use wva_models::catalogue::Catalogue;
use wva_models::iteration::ReplicaModel;
use wva_models::latency::{Arrivals, LatencyModel};
use wva_models::service_class::Slo;
use wva_models::variant::{Role, Variant};

use crate::workload::statistics::StreamDemand;

/// Replicas that a router is taken to balance over when capacity is judged.
const POOL: u32 = 4;
/// Share of capacity that the opening fleet fills.
const FILL: f64 = 0.8;
/// Share of capacity at which a fleet has to grow, for thresholds on latency.
const BUSY: f64 = 1.0;
/// Share of capacity at which it may shrink.
const CALM: f64 = 0.8;

/// What is scaled for one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Model name.
    pub model: String,
    /// One variant, or a prefill and a decode variant.
    pub targets: Vec<Target>,
}

/// One variant that is scaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Ordinal in the catalogue's variants.
    pub variant: usize,
    /// Variant name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Whether it can meet all SLOs.
    pub feasible: bool,
    /// Replicas that the demand fills, ≥ 0.
    pub load: f64,
    /// Mean requests in one full replica, at least 1: what a target of requests per replica is derived from.
    pub concurrency: f64,
    /// Worst P90 latency over its SLO when a replica is full and when it is four fifths full: what thresholds on that
    /// ratio can be.
    pub ratios: (f64, f64),
    /// Fewest replicas: the variant's own minimum, at least 1, since neither metric can wake a model that sleeps.
    pub min: u32,
    /// Most replicas: the variant's own maximum and the stock.
    pub max: u32,
}

impl Target {
    /// Replicas for the demand, with some room.
    #[must_use]
    pub fn opening(&self) -> u32 {
        ((self.load / FILL).ceil() as u32).clamp(self.min, self.max)
    }
}

/// What is scaled for each model that has demand. `laws` are those of the real replicas, in the order of the catalogue's
/// variants; `demand` is that of the whole run.
#[must_use]
pub fn deployments(
    catalogue: &Catalogue,
    laws: &[ReplicaModel],
    demand: &[StreamDemand],
) -> Vec<Deployment> {
    let mut models: Vec<&str> = Vec::new();
    for d in demand {
        if !models.contains(&d.model.as_str()) {
            models.push(&d.model);
        }
    }
    let deployment = |model: &str| {
        let own: Vec<&StreamDemand> = demand.iter().filter(|d| d.model == model).collect();
        let best = |role| cheapest(catalogue, laws, model, role, &own);
        let alone = best(Role::Both).map(|both| vec![both]);
        let pair = best(Role::Prefill)
            .zip(best(Role::Decode))
            .map(|(p, d)| vec![p, d]);
        let ways = alone.into_iter().chain(pair);
        let best = ways.min_by(|a, b| {
            cost(a)
                .0
                .cmp(&cost(b).0)
                .then(cost(a).1.total_cmp(&cost(b).1))
        });
        let targets = best
            .unwrap_or_default()
            .into_iter()
            .map(|c| c.target)
            .collect();
        Deployment {
            model: model.to_owned(),
            targets,
        }
    };
    models.into_iter().map(deployment).collect()
}

/// A variant that could be deployed.
struct Choice {
    /// Price of the replicas that the demand fills.
    cost: f64,
    target: Target,
}

/// Whether any part misses its SLOs, and the price of all.
fn cost(parts: &[Choice]) -> (bool, f64) {
    let misses = parts.iter().any(|c| !c.target.feasible);
    (misses, parts.iter().map(|c| c.cost).sum())
}

/// The variant of this role that serves the demand cheapest; one that can meet all SLOs goes before one that cannot.
fn cheapest(
    catalogue: &Catalogue,
    laws: &[ReplicaModel],
    model: &str,
    role: Role,
    demand: &[&StreamDemand],
) -> Option<Choice> {
    let variants = catalogue.variants.iter().enumerate();
    variants
        .filter(|(_, v)| v.model == model && v.role == role)
        .map(|(i, v)| {
            let target = target(catalogue, i, v, &laws[i], demand);
            Choice {
                cost: target.load * catalogue.price_per_replica(v).get(),
                target,
            }
        })
        .min_by(|a, b| {
            let order = b.target.feasible.cmp(&a.target.feasible);
            order.then(a.cost.total_cmp(&b.cost))
        })
}

/// How many replicas of a variant the demand fills, and what is to be known of it to scale it.
pub(super) fn target(
    catalogue: &Catalogue,
    ordinal: usize,
    variant: &Variant,
    law: &ReplicaModel,
    demand: &[&StreamDemand],
) -> Target {
    let engine = ContinuousBatching::new(*law, variant.role);
    let (mut feasible, mut load, mut requests) = (true, 0.0, 0.0);
    let mut ratios: (f64, f64) = (0.0, 0.0);
    for d in demand {
        let slo = slo_of(catalogue, d, variant.role);
        let conditions = Conditions {
            shape: &d.shape,
            arrivals: Arrivals::Poisson,
            pool: POOL,
            slo: &slo,
        };
        let mut rate = capacity(&engine, &conditions).rate();
        if rate <= 0.0 {
            feasible = false;
            rate = (engine.stability_limit(&d.shape) * FILL).max(1e-6);
        }
        let ratio = |share: f64| worst_ratio(&engine, &conditions, rate * share);
        ratios = (ratios.0.max(ratio(BUSY)), ratios.1.max(ratio(CALM)));
        let outcome = engine.predict(&conditions.load(rate));
        load += d.rate / rate;
        requests += d.rate / rate * outcome.stable().map_or(1.0, |p| p.concurrency);
    }
    let devices = catalogue.stock.get(&variant.accelerator);
    let stock = devices.map_or(1000, |d| d / variant.tensor_parallel.max(1));
    let max = variant.max_replicas.unwrap_or(u32::MAX).min(stock).max(1);
    Target {
        variant: ordinal,
        name: variant.name.clone(),
        role: variant.role,
        feasible,
        load,
        ratios,
        concurrency: if load > 0.0 {
            (requests / load).max(1.0)
        } else {
            1.0
        },
        min: variant.min_replicas.clamp(1, max),
        max,
    }
}

/// P90 of TTFT and of ITL over their bounds for the P90 input, the worse of the two; 0 without a bound.
fn worst_ratio(engine: &ContinuousBatching, conditions: &Conditions<'_>, rate: f64) -> f64 {
    let outcome = engine.predict(&conditions.load(rate));
    let Some(p) = outcome.stable() else {
        return 0.0;
    };
    let input = conditions.shape.input_quantile(0.9);
    let slo = conditions.slo;
    let ttft = slo.ttft.map(|b| p.ttft.quantile(0.9) / b.limit_for(input));
    let itl = slo.itl.map(|b| p.itl.quantile(0.9) / b.limit_for(input));
    ttft.into_iter().chain(itl).fold(0.0, f64::max)
}

/// The part of the class's SLO that a role answers for; batch work has none.
fn slo_of(catalogue: &Catalogue, demand: &StreamDemand, role: Role) -> Slo {
    let class = catalogue.class(&demand.class);
    let slo = class.and_then(|c| c.slo()).copied().unwrap_or_default();
    match role {
        Role::Both => slo,
        Role::Prefill => Slo {
            ttft: slo.ttft,
            ..Slo::default()
        },
        Role::Decode => Slo {
            itl: slo.itl,
            ..Slo::default()
        },
    }
}
