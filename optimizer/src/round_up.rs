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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::greedy::greedy;
    use crate::levels::Score;
    use crate::problem::{Demand, Problem, Route, Stage, VariantOption};
    use crate::rungs::climb;
    use proptest::prelude::*;

    fn problem(prices: &[f64], rates: &[f64], loads: &[f64]) -> Problem {
        let variant = |&price: &f64| VariantOption {
            name: String::new(),
            price,
            min: 0,
            max: 1000,
            current: 0,
            fill: 1.0,
        };
        let demand = |&rate: &f64| Demand {
            model: String::new(),
            class: String::new(),
            bucket: 0,
            priority: 0,
            rate,
            batch: false,
        };
        let route = |(i, &load): (usize, &f64)| Route {
            demand: i / prices.len(),
            stages: vec![Stage {
                variant: i % prices.len(),
                load,
            }],
        };
        Problem {
            variants: prices.iter().map(variant).collect(),
            demands: rates.iter().map(demand).collect(),
            routes: loads.iter().enumerate().map(route).collect(),
            ..Problem::default()
        }
    }

    proptest! {
        #[test]
        fn relaxed_below_whole_below_rounded_and_greedy(
            prices in prop::collection::vec(0.5f64..8.0, 3),
            rates in prop::collection::vec(0.1f64..9.0, 4),
            loads in prop::collection::vec(0.05f64..1.0, 12),
        ) {
            let problem = problem(&prices, &rates, &loads);
            let setting = Setting::new(&problem);
            let mut budget = Budget { seconds: 60.0, nodes: 100_000, gap: 0.0, cut_short: false };
            let (rounded, relaxed) = round_up(&setting, &mut budget).expect("enough budget");
            let whole = climb(&setting, &mut budget).score.money;
            let money = |c: &Candidate| Score::of(&problem, &setting.levels, c).money;
            let excess: f64 = prices.iter().sum();
            prop_assert!(relaxed <= whole + 1e-6);
            prop_assert!(whole <= money(&rounded) + 1e-6 && whole <= money(&greedy(&setting)) + 1e-6);
            prop_assert!(money(&rounded) <= relaxed + excess + 1e-6);
        }
    }
}
