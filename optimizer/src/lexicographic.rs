//! Lexicographic solution of one program: unmet demand level by level, each fixed within (1 + ε), then the objective.
//!
//! Most problems can serve everything, so that is tried first, as one program without any column for unmet demand. Only
//! when it is infeasible are the levels settled one after the other.

use crate::formulation::{Answer, Budget, Fleet, Objective, Outcome, Program};
use crate::levels::{Candidate, LEVEL_TOLERANCE, Levels};
use crate::occupancy::Occupancy;
use crate::problem::Problem;

/// ε of the caps: how much more of a level may stay unmet than its least.
const CAP_SLACK: f64 = LEVEL_TOLERANCE / 4.0;

/// The lexicographic optimum as far as the budget reached.
#[derive(Debug, Clone)]
pub(crate) struct Optimum {
    /// Values of the last program.
    pub answer: Answer,
    /// Caps on the unmet requests/s of every level under which the objective was minimised.
    pub caps: Vec<Option<f64>>,
}

/// A problem with what every program on it needs.
pub(crate) struct Setting<'a> {
    pub problem: &'a Problem,
    pub levels: Levels,
    pub occupancy: Occupancy,
    /// Requests/s of every level that no route can carry: unmet whatever happens, and in no program.
    hopeless: Vec<f64>,
}

impl<'a> Setting<'a> {
    pub fn new(problem: &'a Problem) -> Self {
        let (levels, occupancy) = (Levels::new(problem), Occupancy::new(problem));
        let mut hopeless = vec![0.0; levels.len()];
        for (d, demand) in problem.demands.iter().enumerate() {
            if occupancy.of_demand[d].is_empty() {
                hopeless[levels.of[d]] += demand.rate;
            }
        }
        Self {
            problem,
            levels,
            occupancy,
            hopeless,
        }
    }

    /// Caps for programs under which no level has more unmet demand than `shortfall`.
    pub fn caps(&self, shortfall: &[f64]) -> Vec<Option<f64>> {
        shortfall
            .iter()
            .zip(&self.hopeless)
            .enumerate()
            .map(|(level, (unmet, hopeless))| {
                let slack = self.levels.tolerance(level);
                let avoidable = unmet - hopeless;
                Some(if avoidable <= slack {
                    0.0
                } else {
                    avoidable + slack
                })
            })
            .collect()
    }

    /// Lexicographic optimum of `objective`; `None` when the budget ended first.
    pub fn optimum(
        &self,
        objective: &Objective,
        fleet: Fleet<'_>,
        budget: &mut Budget,
    ) -> Option<Optimum> {
        let all_served = vec![Some(0.0); self.levels.len()];
        match self.under(objective, &all_served, fleet, budget) {
            Outcome::Answer(answer) => Some(Optimum {
                answer,
                caps: all_served,
            }),
            Outcome::Unfinished => None,
            Outcome::Infeasible => self.level_by_level(objective, fleet, budget),
        }
    }

    /// Optimum of `objective` under given caps.
    pub fn under(
        &self,
        objective: &Objective,
        caps: &[Option<f64>],
        fleet: Fleet<'_>,
        budget: &mut Budget,
    ) -> Outcome {
        Program {
            problem: self.problem,
            levels: &self.levels,
            occupancy: &self.occupancy,
            objective,
            caps,
            fleet,
        }
        .solve(budget)
    }

    fn level_by_level(
        &self,
        objective: &Objective,
        fleet: Fleet<'_>,
        budget: &mut Budget,
    ) -> Option<Optimum> {
        let mut caps = vec![None; self.levels.len()];
        for level in 0..self.levels.len() {
            caps[level] = Some(self.least_unmet(level, &caps, fleet, budget)?);
        }
        match self.under(objective, &caps, fleet, budget) {
            Outcome::Answer(answer) => Some(Optimum { answer, caps }),
            Outcome::Infeasible | Outcome::Unfinished => None,
        }
    }

    /// Least unmet requests/s of `level` under the caps of the levels before it, with a little slack.
    fn least_unmet(
        &self,
        level: usize,
        caps: &[Option<f64>],
        fleet: Fleet<'_>,
        budget: &mut Budget,
    ) -> Option<f64> {
        let objective = Objective::shortfall(self.problem, &self.levels, level);
        if self.levels.len() > 1 {
            let mut none = caps.to_vec();
            none[level] = Some(0.0);
            match self.under(&objective, &none, fleet, budget) {
                Outcome::Answer(_) => return Some(0.0),
                Outcome::Infeasible => {}
                Outcome::Unfinished => return None,
            }
        }
        let exact = budget.gap;
        budget.gap = exact.min(CAP_SLACK);
        let outcome = self.under(&objective, caps, fleet, budget);
        budget.gap = exact;
        match outcome {
            Outcome::Answer(answer) => {
                Some(answer.objective.max(0.0) + CAP_SLACK * self.levels.rate[level])
            }
            Outcome::Infeasible | Outcome::Unfinished => None,
        }
    }

    /// The candidate that an answer with whole (or fixed) replicas describes: stray shares swept up, unmet recomputed.
    pub fn candidate(&self, answer: &Answer) -> Candidate {
        let replicas = answer
            .replicas
            .iter()
            .map(|y| y.round().clamp(0.0, f64::from(u32::MAX)) as u32)
            .collect();
        self.swept(replicas, &answer.shares)
    }

    /// A candidate from replicas and raw shares: no share passes through a variant without replicas, shares of a demand
    /// sum to at most 1, and what is left is unmet; rounding dust counts as served.
    pub fn swept(&self, replicas: Vec<u32>, raw: &[f64]) -> Candidate {
        let mut shares = vec![0.0; raw.len()];
        let mut unmet = vec![0.0; self.problem.demands.len()];
        for (d, routes) in self.occupancy.of_demand.iter().enumerate() {
            if routes.is_empty() {
                unmet[d] = f64::from(u8::from(self.problem.demands[d].rate > 0.0));
                continue;
            }
            let asked: f64 = routes.iter().map(|&r| raw[r].max(0.0)).sum();
            for &r in routes {
                let stages = &self.occupancy.routes[r];
                if raw[r] > SHARE_DUST && stages.iter().all(|&(v, _)| replicas[v] > 0) {
                    shares[r] = raw[r];
                }
            }
            let kept: f64 = routes.iter().map(|&r| shares[r]).sum();
            let served = if asked > 1.0 - UNMET_DUST { 1.0 } else { asked };
            if kept == 0.0 || kept < served * (1.0 - MOST_STRAY) {
                unmet[d] = 1.0 - kept;
                continue;
            }
            for &r in routes {
                shares[r] *= served / kept;
            }
            unmet[d] = 1.0 - served;
        }
        Candidate {
            replicas,
            shares,
            unmet,
        }
    }
}

/// Shares below this are arithmetic, not routing.
const SHARE_DUST: f64 = 1e-7;
/// Greatest part of a demand's shares that may be swept from empty variants onto its other routes.
const MOST_STRAY: f64 = 0.01;
/// Unmet shares below this are arithmetic, not shortage.
const UNMET_DUST: f64 = 1e-7;
