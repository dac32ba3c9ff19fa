//! Phases: what a component minimises while other things are settled.

use super::pricing::Weights;

/// What is minimised, and under which caps.
#[derive(Clone)]
pub(super) struct Phase {
    pub objective: Weights,
    /// What there is of every row: the limits, then the capped levels.
    pub caps: Vec<f64>,
    /// Levels of the component that are rows.
    pub capped: Vec<usize>,
    /// How many levels, most important first, every block serves as well as it does alone.
    pub keep: usize,
}

impl Phase {
    /// The phase's weights with prices on its rows.
    pub fn priced(&self, prices: &[f64]) -> Weights {
        let limits = self.caps.len() - self.capped.len();
        let mut weights = self.objective.clone();
        weights.rows = prices[..limits].to_vec();
        for (&level, price) in self.capped.iter().zip(&prices[limits..]) {
            weights.levels[level] += price;
        }
        weights
    }

    /// Σ price · cap over all rows.
    pub fn charge(&self, prices: &[f64]) -> f64 {
        self.caps.iter().zip(prices).map(|(l, p)| l * p).sum()
    }

    /// How far prices may go next: columns known so far may leave the dual's model unbounded. At first a fiftieth of
    /// what the whole objective is `worth` per unit of the row; later a few times the `best` prices.
    pub fn ceiling(&self, best: &[f64], worth: f64) -> Vec<f64> {
        best.iter()
            .zip(&self.caps)
            .map(|(price, cap)| (4.0 * price).max(0.02 * worth / cap.max(1e-6)))
            .collect()
    }
}
