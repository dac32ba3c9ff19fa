//! Repair: a fleet brought back within bounds and limits, spare replicas first and the least important work next.
//!
//! Used for today's fleet (the safest rung: change nothing that need not change) and for a relaxed solution rounded up
//! past the stock.

use crate::formulation::{Budget, Fleet, Objective};
use crate::greedy::Builder;
use crate::levels::Candidate;
use crate::lexicographic::Setting;

/// `fleet` within every bound and limit: clipped, then lowered where limits are exceeded.
///
/// The lowering takes replicas that carry nothing first, then those of the cheapest work to lose: the variant whose
/// best demand has the lowest priority; among equals the one with most use of the limit per replica.
pub(crate) fn within_limits(setting: &Setting<'_>, fleet: &[u32]) -> Vec<u32> {
    let problem = setting.problem;
    let mut fleet: Vec<u32> = fleet
        .iter()
        .zip(&problem.variants)
        .map(|(&y, v)| y.clamp(v.min, v.max))
        .collect();
    let exceeded = |fleet: &[u32], l: usize| -> f64 {
        let limit = &problem.limits[l];
        let used: f64 = limit
            .replicas
            .iter()
            .map(|&(v, c)| c * f64::from(fleet[v]))
            .sum();
        used - limit.at_most * (1.0 + 1e-9)
    };
    if (0..problem.limits.len()).all(|l| exceeded(&fleet, l) <= 0.0) {
        return fleet;
    }
    let needed = needed(setting, &fleet);
    let importance = importance(setting);
    for l in 0..problem.limits.len() {
        let mut users = problem.limits[l].replicas.clone();
        users.retain(|&(_, c)| c > 0.0);
        users.sort_by(|&(a, ca), &(b, cb)| {
            (importance[b].cmp(&importance[a]))
                .then(cb.total_cmp(&ca))
                .then(a.cmp(&b))
        });
        for keep_needed in [true, false] {
            for &(v, c) in &users {
                let excess = exceeded(&fleet, l);
                if excess <= 0.0 {
                    break;
                }
                let floor = problem.variants[v]
                    .min
                    .max(if keep_needed { needed[v] } else { 0 });
                let give = (excess / c).ceil().min(f64::from(u32::MAX)) as u32;
                fleet[v] -= give.min(fleet[v].saturating_sub(floor));
            }
        }
    }
    fleet
}

/// Replicas of a fleet that its traffic occupies when it is filled greedily.
fn needed(setting: &Setting<'_>, fleet: &[u32]) -> Vec<u32> {
    Builder::new(setting, fleet.to_vec(), false).needed()
}

/// Most important level (0 first) that every variant can serve; the last level + 1 where it serves nothing.
fn importance(setting: &Setting<'_>) -> Vec<usize> {
    let mut out = vec![setting.levels.len(); setting.problem.variants.len()];
    for (r, stages) in setting.occupancy.routes.iter().enumerate() {
        let level = setting.levels.of[setting.problem.routes[r].demand];
        for &(v, _) in stages {
            out[v] = out[v].min(level);
        }
    }
    out
}

/// The best division of traffic over a given fleet that is within bounds and limits: exact where the budget allows,
/// greedy otherwise.
pub(crate) fn divide(setting: &Setting<'_>, fleet: Vec<u32>, budget: &mut Budget) -> Candidate {
    let objective = Objective::money(setting.problem, &setting.levels);
    match setting.optimum(&objective, Fleet::Fixed(&fleet), budget) {
        Some(optimum) => setting.swept(fleet, &optimum.answer.shares),
        None => Builder::new(setting, fleet, false).serve(),
    }
}

/// Today's fleet repaired to bounds and limits.
pub(crate) fn current(setting: &Setting<'_>, budget: &mut Budget) -> Candidate {
    let today: Vec<u32> = setting.problem.variants.iter().map(|v| v.current).collect();
    divide(setting, within_limits(setting, &today), budget)
}
