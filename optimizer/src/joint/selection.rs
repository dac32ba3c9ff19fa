//! Choosing one column of every block so that the shared rows hold: start where the prices point, repair, improve.

use crate::levels::{Candidate, Levels, Score};

use super::duals::Cut;
use super::pricing::Weights;

/// A whole-replica solution of one block in terms of the component.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub candidate: Candidate,
    /// Unmet requests/s by level of the component, and money.
    pub score: Score,
    /// Use of every shared row.
    pub uses: Vec<f64>,
}

impl Column {
    /// This column as the dual of a phase sees it: the phase's own objective, and the rows, capped levels last.
    pub fn cut(&self, phase: &Weights, capped: &[usize]) -> Cut {
        let levels = capped.iter().map(|&l| self.score.shortfall[l]);
        Cut {
            objective: phase.of(&self.score, &self.uses),
            uses: self.uses.iter().copied().chain(levels).collect(),
        }
    }
}

/// One column of every block with its totals.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    pub choice: Vec<usize>,
    pub total: Score,
    pub uses: Vec<f64>,
}

/// Rows may be exceeded by this, relatively: arithmetic.
const ROUNDING: f64 = 1e-9;

/// What the selection sees of the component.
pub(super) struct Rows<'a> {
    pub at_most: &'a [f64],
    /// Levels with the tolerance that one block may have.
    pub levels: &'a Levels,
}

impl Rows<'_> {
    /// Totals of a choice.
    pub fn total(&self, columns: &[Vec<Column>], choice: Vec<usize>) -> Selection {
        let mut selection = Selection {
            choice,
            total: Score {
                shortfall: vec![0.0; self.levels.len()],
                money: 0.0,
            },
            uses: vec![0.0; self.at_most.len()],
        };
        for (block, &k) in columns.iter().zip(&selection.choice) {
            add(&mut selection.total, &mut selection.uses, &block[k], 1.0);
        }
        selection
    }

    pub fn feasible(&self, uses: &[f64]) -> bool {
        self.excess(uses) <= 0.0
    }

    /// How far rows are exceeded, each relative to what there is.
    fn excess(&self, uses: &[f64]) -> f64 {
        uses.iter()
            .zip(self.at_most)
            .map(|(u, l)| (u - l * (1.0 + ROUNDING) - ROUNDING).max(0.0) / l.max(1.0))
            .sum()
    }

    /// Exchanges columns until the rows hold: each time the exchange that costs least (at `weights`) per excess removed.
    /// `None` when no exchange removes any.
    pub fn repair(
        &self,
        columns: &[Vec<Column>],
        mut selection: Selection,
        weights: &Weights,
    ) -> Option<Selection> {
        for _ in 0..4 * columns.len() {
            let excess = self.excess(&selection.uses);
            if excess <= 0.0 {
                return Some(selection);
            }
            let mut best: Option<(f64, usize, usize)> = None;
            for (b, block) in columns.iter().enumerate() {
                let old = &block[selection.choice[b]];
                for (k, new) in block.iter().enumerate() {
                    let removed = excess - self.excess_after(&selection.uses, old, new);
                    if removed <= 1e-12 {
                        continue;
                    }
                    let costs =
                        weights.of(&new.score, &new.uses) - weights.of(&old.score, &old.uses);
                    let rate = if costs > 0.0 {
                        costs / removed
                    } else {
                        costs * removed
                    };
                    if best.is_none_or(|(least, ..)| rate < least) {
                        best = Some((rate, b, k));
                    }
                }
            }
            let (_, b, k) = best?;
            exchange(&mut selection, columns, b, k);
        }
        None
    }

    fn excess_after(&self, uses: &[f64], old: &Column, new: &Column) -> f64 {
        uses.iter()
            .zip(self.at_most)
            .zip(old.uses.iter().zip(&new.uses))
            .map(|((u, l), (a, b))| {
                (u - a + b - l * (1.0 + ROUNDING) - ROUNDING).max(0.0) / l.max(1.0)
            })
            .sum()
    }

    /// Takes every exchange that keeps the rows and makes the total better, until there is none.
    pub fn improve(&self, columns: &[Vec<Column>], selection: &mut Selection) {
        for _ in 0..8 {
            let mut changed = false;
            for (b, block) in columns.iter().enumerate() {
                for k in 0..block.len() {
                    let old = &block[selection.choice[b]];
                    if k != selection.choice[b]
                        && block[k].score.beats(&old.score, self.levels)
                        && self.excess_after(&selection.uses, old, &block[k]) <= 0.0
                    {
                        exchange(selection, columns, b, k);
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
    }
}

/// Moves block `b` to its column `k`.
pub(super) fn exchange(selection: &mut Selection, columns: &[Vec<Column>], b: usize, k: usize) {
    let old = &columns[b][selection.choice[b]];
    add(&mut selection.total, &mut selection.uses, old, -1.0);
    add(
        &mut selection.total,
        &mut selection.uses,
        &columns[b][k],
        1.0,
    );
    selection.choice[b] = k;
}

fn add(total: &mut Score, uses: &mut [f64], column: &Column, sign: f64) {
    for (t, s) in total.shortfall.iter_mut().zip(&column.score.shortfall) {
        *t += sign * s;
    }
    total.money += sign * column.score.money;
    for (t, u) in uses.iter_mut().zip(&column.uses) {
        *t += sign * u;
    }
}
