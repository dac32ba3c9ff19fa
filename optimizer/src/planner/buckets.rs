//! Classes whose requests are too different for one price: buckets of prompt lengths.
//!
//! A small device that is hopeless with the longest prompts may be good enough for the short ones, and a few of it take
//! from a large device what would call for one more of that. Where some cheaper replica is such a *specialist*, the class
//! is split into buckets that are placed apart; routers that see load and size send the short prompts there by themselves.
//!
//! Alone, a bucket of short prompts loads a replica little; beside long ones it waits for them. So the capacity is that of
//! the mixture, and the buckets divide it up in proportion to what they would cost alone: then all of a class on one
//! variant comes to exactly what the latency model says of the whole, and taking a bucket away takes its part away. A
//! variant too slow for the longest prompts serves the shorter buckets, as many as their mixture allows.

use std::collections::{BTreeMap, BTreeSet};

use wva_models::capacity::Capacity;
use wva_models::service_class::Slo;
use wva_models::shape::RequestShape;
use wva_models::variant::Role;

use super::routes::{beside_batch, of_role, sized};
use super::{CapacityTable, PlanInput, Workload};

/// Pool in which buckets are weighed against each other.
const POOL: u32 = 4;
/// Where the mixtures of the first so many buckets are kept in the table of capacities, beside the buckets.
const JOINT: usize = 1 << 16;

/// Quantiles of the prompt length at which a class is split.
const EDGES: [f64; 2] = [0.6, 0.9];
/// Cost of a request of the whole class, over the least of any variant, beyond which a variant is no choice for it.
const HOPELESS: f64 = 2.0;

/// The workloads to place: those that have specialists split into buckets, where they are not yet.
pub(super) fn split(input: &PlanInput<'_>, table: &mut CapacityTable) -> Vec<Workload> {
    let given: BTreeSet<usize> = groups(&input.workloads).into_iter().flatten().collect();
    let mut out = Vec::with_capacity(input.workloads.len());
    for (w, workload) in input.workloads.iter().enumerate() {
        if !given.contains(&w) && has_specialists(input, table, workload) {
            let edges = EDGES.map(|q| workload.shape.input_quantile(q));
            // 0 is the whole, which has capacities of its own in the table.
            let buckets = (1..).zip(workload.shape.buckets(&edges));
            out.extend(buckets.map(|(bucket, b)| Workload {
                bucket,
                rate: workload.rate * b.share,
                shape: b.shape,
                ..workload.clone()
            }));
        } else {
            out.push(workload.clone());
        }
    }
    out
}

/// Whether some replica that is cheaper than one of the best variant for the class is no choice for all of it.
fn has_specialists(input: &PlanInput<'_>, table: &mut CapacityTable, workload: &Workload) -> bool {
    let class = input.catalogue.class(&workload.class);
    let Some(slo) = class.and_then(|c| c.slo()) else {
        return false;
    };
    let own = || input.catalogue.variants_of(&workload.model);
    if own().count() < 2 || own().any(|v| v.role != Role::Both) {
        return false;
    }
    let slo = beside_batch(input, workload, slo);
    // (price of a replica, price of a request/s)
    let prices: Vec<(f64, f64)> = (of_role(input, workload, Role::Both).into_iter())
        .map(|v| {
            let variant = &input.catalogue.variants[v];
            let price = input.catalogue.price_per_replica(variant).get();
            let rate = sized(input, table, v, workload, &slo).rate() * input.factor(v, workload);
            (price, price / rate.max(1e-12))
        })
        .collect();
    let best = prices.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    best.is_some_and(|(replica, request)| {
        let mut others = prices.iter();
        others.any(|p| p.0 < replica && p.1 > HOPELESS * request)
    })
}

/// Capacity of one replica of an aggregated variant for each bucket of an interactive class that is split into some, by
/// (workload, variant).
pub(super) fn capacities(
    input: &PlanInput<'_>,
    table: &mut CapacityTable,
) -> BTreeMap<(usize, usize), Capacity> {
    let mut out = BTreeMap::new();
    for group in groups(&input.workloads) {
        let first = &input.workloads[group[0]];
        let class = input.catalogue.class(&first.class);
        let Some(slo) = class.and_then(|c| c.slo()) else {
            continue;
        };
        let slo = beside_batch(input, first, slo);
        for v in of_role(input, first, Role::Both) {
            let shared = divided(input, table, v, &group, &slo);
            out.extend(group.iter().map(|&w| (w, v)).zip(shared));
        }
    }
    out
}

/// Ordinals of the workloads of each class of each model that is split into buckets, those of short prompts first.
fn groups(workloads: &[Workload]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (w, workload) in workloads.iter().enumerate() {
        let class = (workload.model.as_str(), workload.class.as_str());
        groups.entry(class).or_default().push(w);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().filter(|g| g.len() > 1).collect();
    for group in &mut groups {
        let prompt = |&w: &usize| workloads[w].shape.mean_input();
        group.sort_by(|a, b| prompt(a).total_cmp(&prompt(b)));
    }
    groups
}

/// Capacity of one replica of variant `v` for each bucket of a group, in its order.
fn divided(
    input: &PlanInput<'_>,
    table: &mut CapacityTable,
    v: usize,
    group: &[usize],
    slo: &Slo,
) -> Vec<Capacity> {
    let bucket = |&w: &usize| &input.workloads[w];
    let mut alone: Vec<Capacity> = (group.iter())
        .map(|w| table.capacity(input, v, bucket(w), slo, POOL))
        .collect();
    for served in (1..=group.len()).rev() {
        let parts: Vec<&Workload> = group[..served].iter().map(bucket).collect();
        let Some(whole) = joint(&parts) else {
            return alone;
        };
        let together = sized(input, table, v, &whole, slo);
        let refused = (std::iter::once(&together).chain(&alone[..served]))
            .copied()
            .find(|c| c.rate() <= 0.0);
        let Some(refused) = refused else {
            let apart: f64 = (parts.iter().zip(&alone))
                .map(|(part, capacity)| part.rate / capacity.rate())
                .sum();
            let factor = together.rate() * apart / whole.rate;
            for capacity in &mut alone[..served] {
                *capacity = scaled(*capacity, factor, &together);
            }
            break;
        };
        alone[served - 1] = refused;
    }
    alone
}

/// The mixture of some buckets as one workload; `None` where there is nothing to mix.
fn joint(parts: &[&Workload]) -> Option<Workload> {
    let rate: f64 = parts.iter().map(|p| p.rate).sum();
    let shapes: Vec<(f64, &RequestShape)> =
        (parts.iter()).map(|p| (p.rate / rate, &p.shape)).collect();
    Some(Workload {
        bucket: JOINT + parts.len(),
        rate,
        shape: RequestShape::mix(&shapes).ok()?,
        ..(*parts.first()?).clone()
    })
}

/// The bound is that of the mixture: it is what more load would break.
fn scaled(capacity: Capacity, factor: f64, together: &Capacity) -> Capacity {
    Capacity::Sustains {
        rate: capacity.rate() * factor,
        binding: together.binding(),
    }
}
