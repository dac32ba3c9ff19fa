//! A plan: the solver's answer, before it is turned into bounded, stabilised decisions.

use serde::{Deserialize, Serialize};

/// Which rung of the anytime chain produced the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Today's replicas, repaired to the limits.
    Current,
    /// Regret-greedy.
    Greedy,
    /// LP relaxation rounded up and repaired.
    RoundUp,
    /// Mixed-integer program.
    Milp,
}

/// Replicas and traffic shares, with how good they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Replicas per variant ordinal.
    pub replicas: Vec<u32>,
    /// Share of its demand that each route carries, per route ordinal.
    pub shares: Vec<f64>,
    /// Share of each demand that is not served.
    pub unmet: Vec<f64>,
    /// Σ price · replicas, $/h.
    pub cost: f64,
    /// Lower bound on the cost of any plan with as little unmet demand, $/h. Where changes have a price, cost − bound is
    /// the most that another plan could save, its changes included.
    pub bound: f64,
    /// Rung that produced it.
    pub rung: Rung,
    /// Whether a limit of time or work stopped the search.
    pub cut_short: bool,
}

impl Plan {
    /// (cost − bound) / cost; 0 when proven optimal or when the plan is empty.
    #[must_use]
    pub fn gap(&self) -> f64 {
        if self.cost > 0.0 {
            ((self.cost - self.bound) / self.cost).max(0.0)
        } else {
            0.0
        }
    }

    /// Whether every demand is fully served (to 10⁻⁶).
    #[must_use]
    pub fn serves_all(&self) -> bool {
        self.unmet.iter().all(|&u| u <= 1e-6)
    }
}
