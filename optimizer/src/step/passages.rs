//! Which of a plan's routes pass through each variant: looked up once a cycle, since thousands of variants ask.

use std::collections::BTreeMap;

use crate::planner::{Planned, RouteInfo};

/// A route through a variant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passage<'a> {
    pub route: &'a RouteInfo,
    /// Which of its stages the variant is.
    pub stage: usize,
}

/// The routes of a plan by the ordinal of each variant that they pass through, in their order.
#[derive(Debug)]
pub(super) struct Passages<'a> {
    /// The plan.
    pub planned: &'a Planned,
    of_variant: Vec<Vec<Passage<'a>>>,
}

impl<'a> Passages<'a> {
    pub fn of(planned: &'a Planned) -> Self {
        let variants = &planned.problem.variants;
        let named = variants.iter().enumerate();
        let ordinals: BTreeMap<&str, usize> = named.map(|(v, o)| (o.name.as_str(), v)).collect();
        let mut of_variant = vec![Vec::new(); variants.len()];
        for route in &planned.routes {
            for (stage, name) in route.variants.iter().enumerate() {
                if let Some(&v) = ordinals.get(name.as_str()) {
                    of_variant[v].push(Passage { route, stage });
                }
            }
        }
        Self {
            planned,
            of_variant,
        }
    }

    /// Those through variant `v` that carry traffic: (passage, share of the route's workload).
    pub fn used(&self, v: usize) -> impl Iterator<Item = (Passage<'a>, f64)> {
        let carried = |passage: Passage<'a>| self.planned.carried_by(passage.route);
        self.through(v).filter_map(move |p| Some((p, carried(p)?)))
    }

    /// Requests/s of its model's traffic mix that one replica of variant `v` carries; 0 where it can serve none of it.
    pub fn capacity(&self, v: usize) -> f64 {
        let mut best: BTreeMap<usize, f64> = BTreeMap::new();
        for Passage { route, stage } in self.through(v).filter(|p| p.route.ordinal.is_some()) {
            let best = best.entry(route.workload).or_default();
            *best = best.max(route.capacities[stage].rate());
        }
        let (mut rate, mut replicas) = (0.0, 0.0);
        for (w, best) in best.into_iter().filter(|&(_, best)| best > 0.0) {
            // Where nothing arrives every workload weighs the same.
            let offered = self.planned.workloads[w].rate.max(1e-9);
            rate += offered;
            replicas += offered / best;
        }
        if replicas > 0.0 { rate / replicas } else { 0.0 }
    }

    fn through(&self, v: usize) -> impl Iterator<Item = Passage<'a>> {
        self.of_variant.get(v).into_iter().flatten().copied()
    }
}
