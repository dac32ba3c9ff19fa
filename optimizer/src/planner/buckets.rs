//! Classes of which the requests come in buckets of prompt lengths, each with a rate and a shape of its own.
//!
//! Alone, a bucket of short prompts loads a replica little; beside long ones it waits for them. So the capacity is that of
//! the mixture, and the buckets divide it up in proportion to what they would cost alone: then all of a class on one
//! variant comes to exactly what the latency model says of the whole, and taking a bucket away takes its part away. A
//! variant too slow for the longest prompts serves the shorter buckets, as many as their mixture allows.

use std::collections::BTreeMap;

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

/// Finds what one replica of an aggregated variant does of each bucket of an interactive class, by (workload, variant),
/// where it is not known yet.
pub(super) fn find(
    input: &PlanInput<'_>,
    table: &mut CapacityTable,
    known: &mut BTreeMap<(usize, usize), Capacity>,
) {
    for group in groups(&input.workloads) {
        let first = &input.workloads[group[0]];
        let class = input.catalogue.class(&first.class);
        let Some(slo) = class.and_then(|c| c.slo()) else {
            continue;
        };
        if known.keys().any(|(w, _)| *w == group[0]) {
            continue;
        }
        let slo = beside_batch(input, first, slo);
        for v in of_role(input, first, Role::Both) {
            let shared = divided(input, table, v, &group, &slo);
            known.extend(group.iter().map(|&w| (w, v)).zip(shared));
        }
    }
}

/// Ordinals of the workloads of each class of each model that is split into buckets, those of short prompts first.
pub(super) fn groups(workloads: &[Workload]) -> Vec<Vec<usize>> {
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
