//! Round-up: the relaxed optimum with every variant's load rounded up to whole replicas. It keeps every service level
//! that the relaxation keeps; the excess is at most one replica of each variant that the relaxation uses in part. Where
//! rounding up exceeds a limit the fleet is repaired and the traffic divided anew.

use crate::formulation::{Budget, Fleet, Objective};
use crate::levels::Candidate;
use crate::lexicographic::Setting;
use crate::repair;

/// Loads may exceed whole replicas by this.
const ROUNDING: f64 = 1e-7;

/// The rounded-up plan and the relaxed bound on the objective; `None` when the budget ended first.
pub(crate) fn round_up(setting: &Setting<'_>, budget: &mut Budget) -> Option<(Candidate, f64)> {
    let objective = Objective::money(setting.problem, &setting.levels);
    let optimum = setting.optimum(&objective, Fleet::Relaxed, budget)?;
    let fleet: Vec<u32> = optimum
        .answer
        .replicas
        .iter()
        .map(|y| (y - ROUNDING).ceil().max(0.0) as u32)
        .collect();
    let repaired = repair::within_limits(setting, &fleet);
    let candidate = if repaired == fleet {
        setting.swept(fleet, &optimum.answer.shares)
    } else {
        repair::divide(setting, repaired, budget)
    };
    Some((candidate, optimum.answer.bound))
}
