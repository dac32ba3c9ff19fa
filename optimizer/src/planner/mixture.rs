//! The mixed-shape check: what a variant is given by the plan, put through the latency model as the mixture it is.

use wva_models::capacity::{Conditions, worst_bound};
use wva_models::latency::{Arrivals, LatencyModel, Outcome};
use wva_models::shape::{RequestShape, ShapePoint};
use wva_models::variant::Role;

use super::{PlanInput, RouteInfo};
use crate::plan::Plan;
use crate::problem::Problem;

/// Excess of a bound that is left alone: finer than the latency model is right.
const TOLERATED: f64 = 1.05;

/// Raises the loads of aggregated variants whose mixture misses some class's bound; false when every mixture holds.
/// Variants with a single class were sized with it already, its buckets included.
pub(super) fn raise_loads(
    input: &PlanInput<'_>,
    routes: &[RouteInfo],
    plan: &Plan,
    problem: &mut Problem,
) -> bool {
    let mut raised = false;
    for v in 0..input.catalogue.variants.len() {
        if input.catalogue.variants[v].role != Role::Both || plan.replicas[v] == 0 {
            continue;
        }
        let parts = parts(input, routes, plan, problem, v);
        let class = |p: &(usize, f64)| &input.workloads[p.0].class;
        if parts.windows(2).all(|w| class(&w[0]) == class(&w[1])) {
            continue;
        }
        if let Some(excess) = excess(input, v, &parts, plan.replicas[v]) {
            // Latency rises more than proportionally with the load: the square root does not overshoot.
            let factor = excess.sqrt().clamp(1.02, 1.5);
            for stage in problem
                .routes
                .iter_mut()
                .flat_map(|r| &mut r.stages)
                .filter(|s| s.variant == v)
            {
                stage.load *= factor;
            }
            raised = true;
        }
    }
    raised
}

/// (workload, its rate on the variant) of the interactive workloads that the plan puts on `v`.
fn parts(
    input: &PlanInput<'_>,
    routes: &[RouteInfo],
    plan: &Plan,
    problem: &Problem,
    v: usize,
) -> Vec<(usize, f64)> {
    routes
        .iter()
        .filter_map(|r| {
            let ordinal = r.ordinal?;
            let on_it = problem.routes[ordinal]
                .stages
                .iter()
                .any(|s| s.variant == v);
            let rate = plan.shares[ordinal] * input.workloads[r.workload].rate;
            (on_it && rate > 1e-9 && !problem.demands[r.workload].batch)
                .then_some((r.workload, rate))
        })
        .collect()
}

/// Worst ratio of a class's statistic to its bound under the mixture; `None` when all hold.
fn excess(input: &PlanInput<'_>, v: usize, parts: &[(usize, f64)], replicas: u32) -> Option<f64> {
    let total: f64 = parts.iter().map(|p| p.1).sum();
    let shape = mixture(input, parts, total)?;
    let dispersion = parts
        .iter()
        .map(|&(w, rate)| input.workloads[w].dispersion * rate / total)
        .sum::<f64>();
    let model = input.model_of(v);
    let factor = parts
        .iter()
        .map(|&(w, rate)| input.factor(v, &input.workloads[w]) * rate / total)
        .sum::<f64>();
    let rate = total / f64::from(replicas) / factor;
    let worst = parts
        .iter()
        .filter_map(|&(w, _)| input.catalogue.class(&input.workloads[w].class)?.slo())
        .map(|slo| {
            let conditions = Conditions {
                shape: &shape,
                arrivals: Arrivals::Dispersion(dispersion.max(1.0)),
                pool: replicas.min(16),
                slo,
            };
            match model.predict(&conditions.load(rate)) {
                Outcome::Stable(p) => worst_bound(&p, slo, &shape).map_or(0.0, |w| w.ratio()),
                Outcome::Unstable { .. } | Outcome::DoesNotFit { .. } => 2.0,
            }
        })
        .fold(0.0, f64::max);
    (worst > TOLERATED).then_some(worst)
}

fn mixture(input: &PlanInput<'_>, parts: &[(usize, f64)], total: f64) -> Option<RequestShape> {
    let points = parts.iter().flat_map(|&(w, rate)| {
        let shape = &input.workloads[w].shape;
        shape.points().iter().map(move |p| ShapePoint {
            weight: p.weight * rate / total,
            ..*p
        })
    });
    let hit = parts
        .iter()
        .map(|&(w, rate)| input.workloads[w].shape.prefix_hit() * rate / total)
        .sum::<f64>();
    RequestShape::new(points.collect(), hit.clamp(0.0, 1.0)).ok()
}
