//! The problem as a linear or mixed-integer program, built with good_lp and solved by microlp.
//!
//! ```text
//! y_v  replicas (integer, relaxed or fixed)      x_r  share of its demand on route r      s_d  unmet share
//! a_rv replicas that route r occupies on v when it carries all of its demand
//!
//! min  Σ replica_v·y_v + change·Σ|y_v − current_v| + Σ share_r·x_r + Σ unmet_p·(Σ_{d∈p} rate_d·s_d)
//! s.t. Σ_r x_r + s_d = 1                        every demand that asks for something and has a route
//!      Σ a_rv·x_r ≤ y_v                         variants that batch work may use
//!      Σ_interactive a_rv·x_r ≤ fill_v·y_v      variants that interactive work may use
//!      Σ c·y + Σ c·rate·x ≤ limit               every limit
//!      Σ_{d∈p} rate_d·s_d ≤ cap_p               levels already settled
//! ```
//! The objective is data, so that one program serves the lexicographic levels (minimise one level's unmet demand under
//! the caps of those before it), the cost, and the priced subproblems of a decomposition. No big-M appears anywhere.
//! A level whose cap is zero drops its s_d altogether: the common case is the smallest program.

use std::time::Duration;

use microlp::{Error, SolveOptions, SolveOutcome, TerminationReason};

mod build;

use crate::levels::Levels;
use crate::occupancy::Occupancy;
use crate::problem::Problem;

/// Linear objective over replicas, changes, shares and unmet demand.
#[derive(Debug, Clone)]
pub(crate) struct Objective {
    /// Per replica of every variant.
    pub replica: Vec<f64>,
    /// Per replica added or removed.
    pub change: f64,
    /// Per unit of share of every route.
    pub share: Vec<f64>,
    /// Per unmet request/s of every level.
    pub unmet: Vec<f64>,
}

impl Objective {
    /// Money: prices and the price of change.
    pub fn money(problem: &Problem, levels: &Levels) -> Self {
        Self {
            replica: problem.variants.iter().map(|v| v.price).collect(),
            change: problem.change_price,
            share: vec![0.0; problem.routes.len()],
            unmet: vec![0.0; levels.len()],
        }
    }

    /// Unmet requests/s of one level.
    pub fn shortfall(problem: &Problem, levels: &Levels, level: usize) -> Self {
        let mut unmet = vec![0.0; levels.len()];
        unmet[level] = 1.0;
        Self {
            replica: vec![0.0; problem.variants.len()],
            change: 0.0,
            share: vec![0.0; problem.routes.len()],
            unmet,
        }
    }

    /// Largest coefficient, by which the solver's objective is divided: its tolerances are absolute.
    fn scale(&self, levels: &Levels) -> f64 {
        let unmet = self.unmet.iter().zip(&levels.rate).map(|(u, r)| u * r);
        let plain = self.replica.iter().chain(&self.share).copied();
        let largest = plain.chain(unmet).fold(self.change, f64::max);
        if largest > 0.0 { largest } else { 1.0 }
    }
}

/// How replicas appear in the program.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fleet<'a> {
    /// Whole replicas.
    Integer,
    /// Fractions of replicas allowed: a lower bound.
    Relaxed,
    /// Given: only the traffic is divided.
    Fixed(&'a [u32]),
}

/// One program.
#[derive(Clone, Copy)]
pub(crate) struct Program<'a> {
    pub problem: &'a Problem,
    pub levels: &'a Levels,
    pub occupancy: &'a Occupancy,
    pub objective: &'a Objective,
    /// Most unmet requests/s of every level; `None` where it is free.
    pub caps: &'a [Option<f64>],
    pub fleet: Fleet<'a>,
}

/// Work that solvers may still do. The seconds are the caller's limit less what the solver reports to have used: this
/// crate reads no clock.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// Seconds left.
    pub seconds: f64,
    /// Branch-and-bound nodes per program.
    pub nodes: u64,
    /// Relative gap at which a program is good enough.
    pub gap: f64,
    /// Whether any program was stopped by a limit.
    pub cut_short: bool,
}

/// A solved program.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Replicas, whole unless relaxed.
    pub replicas: Vec<f64>,
    /// Share of every route.
    pub shares: Vec<f64>,
    /// Value of the objective.
    pub objective: f64,
    /// Proven lower bound on the objective.
    pub bound: f64,
}

/// What became of a program.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// Solved to the gap, or the best found within the budget.
    Answer(Answer),
    /// No point satisfies the constraints.
    Infeasible,
    /// The budget ended, or the arithmetic failed, before any point was found.
    Unfinished,
}

impl Program<'_> {
    /// Builds and solves the program within the budget.
    pub fn solve(&self, budget: &mut Budget) -> Outcome {
        if budget.seconds <= 0.0 {
            budget.cut_short = true;
            return Outcome::Unfinished;
        }
        let scale = self.objective.scale(self.levels);
        let (model, columns) = self.build(scale);
        let mut options = SolveOptions::default();
        options.time_limit = Some(Duration::from_secs_f64(budget.seconds.min(1e6)));
        options.node_limit = Some(budget.nodes);
        options.mip_gap = budget.gap;
        let outcome = match model.as_inner().solve_with(options) {
            Ok(outcome) => outcome,
            Err(Error::Infeasible) => return Outcome::Infeasible,
            Err(_) => return Outcome::Unfinished,
        };
        let stats = outcome.stats();
        budget.seconds -= stats.elapsed.as_secs_f64();
        budget.cut_short |= matches!(
            outcome.termination_reason(),
            TerminationReason::TimeLimit | TerminationReason::NodeLimit
        );
        let SolveOutcome::Solution(solution) = outcome else {
            return Outcome::Unfinished;
        };
        let values: Vec<f64> = solution.iter().map(|(_, value)| value).collect();
        let objective = solution.objective();
        let constant = self.constant();
        Outcome::Answer(Answer {
            replicas: columns
                .replicas
                .iter()
                .map(|c| values[c.position])
                .collect(),
            shares: columns
                .shares
                .iter()
                .map(|c| c.map_or(0.0, |c| values[c.position]))
                .collect(),
            objective: objective * scale + constant,
            bound: stats.best_bound.unwrap_or(objective).min(objective) * scale + constant,
        })
    }

    fn bounds(&self, v: usize) -> (f64, f64) {
        match self.fleet {
            Fleet::Fixed(fleet) => (f64::from(fleet[v]), f64::from(fleet[v])),
            Fleet::Integer | Fleet::Relaxed => (
                f64::from(self.problem.variants[v].min),
                f64::from(self.occupancy.most[v]),
            ),
        }
    }

    /// Price of change per replica where |y − today| is linear within the bounds (up to a constant).
    fn linear_change(&self, v: usize) -> Option<f64> {
        let (low, high) = self.bounds(v);
        let today = f64::from(self.problem.variants[v].current);
        if today <= low {
            Some(self.objective.change)
        } else if today >= high {
            Some(-self.objective.change)
        } else {
            None
        }
    }

    /// The constant that [`Program::linear_change`] leaves out of the objective.
    fn constant(&self) -> f64 {
        (0..self.problem.variants.len())
            .map(|v| {
                let today = f64::from(self.problem.variants[v].current);
                -today * self.linear_change(v).unwrap_or(0.0)
            })
            .sum()
    }
}
