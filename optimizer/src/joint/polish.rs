//! Polish: each block solved again, alone, with the room that the others leave it. Every step keeps the plan valid and
//! makes it better, so it may stop at any time.

use crate::formulation::Budget;

use super::pricing::Weights;
use super::selection::{Rows, exchange};
use super::{Component, Phase, cheapest};

/// Sweeps over the blocks.
const SWEEPS: u32 = 2;

impl Component<'_> {
    /// Solves again the blocks whose chosen column is dearest against what they would do at the prices, until the plan
    /// is within the gap of `bound`, nothing improves, or the budget ends.
    pub(super) fn polish(
        &mut self,
        phase: &Phase,
        weights: &Weights,
        bound: f64,
        budget: &mut Budget,
    ) {
        for _ in 0..SWEEPS {
            let mut improved = false;
            for b in self.regretful(weights) {
                let value = phase.objective.of(&self.best.total, &self.best.uses);
                if value - bound <= 1.8 * budget.gap * value || budget.seconds <= 0.0 {
                    return;
                }
                improved |= self.polish_block(b, phase, budget);
            }
            if !improved {
                break;
            }
        }
    }

    fn polish_block(&mut self, b: usize, phase: &Phase, budget: &mut Budget) -> bool {
        let rows = Rows {
            at_most: &self.at_most,
            levels: &self.levels,
        };
        let chosen = self.best.choice[b];
        let now = &self.columns[b][chosen];
        let room: Vec<f64> = (0..self.at_most.len())
            .map(|i| self.at_most[i] - self.best.uses[i] + now.uses[i])
            .collect();
        let Some(column) = self.members[b].within(&room, &phase.objective, now, budget) else {
            return false;
        };
        if !column.score.beats(&now.score, &self.levels) {
            return false;
        }
        self.columns[b].push(column);
        let last = self.columns[b].len() - 1;
        exchange(&mut self.best, &self.columns, b, last);
        if !rows.feasible(&self.best.uses) {
            exchange(&mut self.best, &self.columns, b, chosen);
            return false;
        }
        true
    }

    /// Blocks by what their chosen column costs above their cheapest at `weights`, dearest first.
    fn regretful(&self, weights: &Weights) -> Vec<usize> {
        let mut regrets: Vec<(usize, f64)> = (0..self.members.len())
            .map(|b| {
                let columns = &self.columns[b];
                let value = |k: usize| weights.of(&columns[k].score, &columns[k].uses);
                let least = value(cheapest(columns, weights));
                (b, value(self.best.choice[b]) - least)
            })
            .filter(|&(_, regret)| regret > 1e-9)
            .collect();
        regrets.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        regrets.into_iter().map(|(b, _)| b).collect()
    }
}
