//! Which of a plan's routes pass through each variant: looked up once a cycle, since thousands of variants ask.

use std::collections::BTreeMap;

use crate::planner::specialists::worth;
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

    /// Requests/s of its model's traffic mix that `replicas` of variant `v` carry together. Those that take short prompts off
    /// larger ones add less the more they are.
    pub fn carry(&self, v: usize, replicas: u32) -> f64 {
        match self.planned.short_prompts.get(&v) {
            Some(short) => worth(replicas) * short,
            None => f64::from(replicas) * self.capacity(v),
        }
    }

    fn through(&self, v: usize) -> impl Iterator<Item = Passage<'a>> {
        self.of_variant.get(v).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::planner::{
        CapacityTable, PlanInput, PlannerSettings, VariantBelief, Workload, plan,
    };
    use wva_models::catalogue::Catalogue;
    use wva_models::shape::RequestShape;

    const UNEQUAL: &str = "
variants:
  - {name: small, model: llama-3.1-8b, accelerator: L4, engine: {precision: fp8, kv_precision: fp8, max_num_batched_tokens: 1024}}
  - {name: large, model: llama-3.1-8b, accelerator: H100, engine: {max_num_batched_tokens: 2048}}
classes:
  - {name: chat, ttft_ms: {p99: 1500, per_1k_input_tokens: 300}, itl_ms: {p99: 75}}
";

    #[test]
    fn small_devices_carry_something_whether_the_plan_asks_for_them_or_not() {
        let catalogue = Catalogue::parse(UNEQUAL, "test").expect("a catalogue");
        let long = RequestShape::lognormal((12_000.0, 1.0), (340.0, 0.8), None).expect("a shape");
        let belief = |v| VariantBelief::on_paper(catalogue.replica_model(v));
        let mut unused = 0;
        for rate in [1.0, 1.7, 2.4, 3.1, 3.8] {
            let workload = Workload {
                model: "llama-3.1-8b".into(),
                class: "chat".into(),
                bucket: 0,
                rate,
                shape: long.clone(),
                dispersion: 1.5,
                capacity_factor: 1.0,
                doubt: 1.0,
            };
            let input = PlanInput {
                catalogue: &catalogue,
                beliefs: catalogue.variants.iter().map(belief).collect(),
                workloads: vec![workload],
                stock: BTreeMap::new(),
                quotas: BTreeMap::new(),
                settings: PlannerSettings::default(),
            };
            let planned = plan(&input, &mut CapacityTable::default()).expect("a plan");
            let passages = Passages::of(&planned);
            let small = |n| passages.carry(0, n);
            assert_eq!(small(0), 0.0);
            assert!(small(1) > 0.1 && small(4) > 2.5 * small(1), "{rate}");
            assert!(small(7) - small(4) < small(4) - small(1), "{rate}");
            assert_eq!(passages.carry(1, 3), 3.0 * passages.capacity(1));
            unused += usize::from(planned.plan.replicas[0] == 0);
        }
        assert!(unused > 0);
    }
}
