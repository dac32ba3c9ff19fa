//! Priority levels and the order of plans: unmet demand level by level, most important first, and only then money.

use crate::plan::Plan;
use crate::problem::Problem;

/// Share of a level's traffic below which two shortfalls count as equal.
pub(crate) const LEVEL_TOLERANCE: f64 = 1e-6;

/// The priorities of a problem, most important first.
#[derive(Debug, Clone)]
pub(crate) struct Levels {
    /// Distinct priorities, descending.
    pub priorities: Vec<i32>,
    /// Level of every demand.
    pub of: Vec<usize>,
    /// Requests per second asked for at every level.
    pub rate: Vec<f64>,
}

impl Levels {
    pub fn new(problem: &Problem) -> Self {
        let mut priorities: Vec<i32> = problem.demands.iter().map(|d| d.priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        let of: Vec<usize> = problem
            .demands
            .iter()
            .map(|d| priorities.partition_point(|&p| p > d.priority))
            .collect();
        let mut rate = vec![0.0; priorities.len()];
        for (d, &level) in problem.demands.iter().zip(&of) {
            rate[level] += d.rate;
        }
        Self {
            priorities,
            of,
            rate,
        }
    }

    pub fn len(&self) -> usize {
        self.priorities.len()
    }

    /// Requests per second by which shortfalls of a level may differ and still count as equal.
    pub fn tolerance(&self, level: usize) -> f64 {
        LEVEL_TOLERANCE * self.rate[level]
    }
}

/// Replicas and shares, not yet judged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub replicas: Vec<u32>,
    pub shares: Vec<f64>,
    pub unmet: Vec<f64>,
}

impl Candidate {
    /// The minimum fleet that serves nothing: allowed in every well-formed problem.
    pub fn minimal(problem: &Problem) -> Self {
        Self {
            replicas: problem.variants.iter().map(|v| v.min).collect(),
            shares: vec![0.0; problem.routes.len()],
            unmet: problem.demands.iter().map(|_| 1.0).collect(),
        }
    }
}

impl Plan {
    /// Replicas and shares of this plan.
    pub(crate) fn candidate(&self) -> Candidate {
        Candidate {
            replicas: self.replicas.clone(),
            shares: self.shares.clone(),
            unmet: self.unmet.clone(),
        }
    }
}

/// How good a candidate is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Score {
    /// Unmet requests per second of each level.
    pub shortfall: Vec<f64>,
    /// Price of the replicas plus the price of changing today's, $/h.
    pub money: f64,
}

impl Score {
    pub fn of(problem: &Problem, levels: &Levels, candidate: &Candidate) -> Self {
        let mut shortfall = vec![0.0; levels.len()];
        for ((d, &level), unmet) in problem.demands.iter().zip(&levels.of).zip(&candidate.unmet) {
            shortfall[level] += d.rate * unmet;
        }
        Self {
            shortfall,
            money: fleet_cost(problem, &candidate.replicas)
                + change_cost(problem, &candidate.replicas),
        }
    }

    /// Whether this is better than `other`: less unmet at the first level where they differ, or else less money.
    pub fn beats(&self, other: &Self, levels: &Levels) -> bool {
        for level in 0..levels.len() {
            let difference = self.shortfall[level] - other.shortfall[level];
            if difference.abs() > levels.tolerance(level) {
                return difference < 0.0;
            }
        }
        self.money < other.money - 1e-9 * other.money.abs()
    }
}

/// Σ price · replicas, $/h.
pub(crate) fn fleet_cost(problem: &Problem, replicas: &[u32]) -> f64 {
    problem
        .variants
        .iter()
        .zip(replicas)
        .map(|(v, &y)| v.price * f64::from(y))
        .sum()
}

/// change price · Σ |replicas − today's|, $/h.
pub(crate) fn change_cost(problem: &Problem, replicas: &[u32]) -> f64 {
    let changed: f64 = problem
        .variants
        .iter()
        .zip(replicas)
        .map(|(v, &y)| f64::from(y.abs_diff(v.current)))
        .sum();
    problem.change_price * changed
}
