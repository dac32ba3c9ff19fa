//! Blocks under prices: what a block does when shared rows cost something.

use crate::block::Block;
use crate::formulation::{Budget, Fleet, Objective, Outcome};
use crate::levels::{Candidate, Levels, Score};
use crate::lexicographic::Setting;
use crate::plan::Rung;
use crate::problem::Problem;
use crate::rungs::rate;

use super::selection::Column;

/// Linear weights of a block's solution: money, unmet requests/s of every level, use of every shared row.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    pub money: f64,
    pub levels: Vec<f64>,
    pub rows: Vec<f64>,
}

impl Weights {
    /// Weighted sum.
    pub fn of(&self, score: &Score, uses: &[f64]) -> f64 {
        let unmet: f64 = dot(&self.levels, &score.shortfall);
        self.money * score.money + unmet + dot(&self.rows, uses)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// One block of a component, with what it needs to be priced.
pub(super) struct Member<'a> {
    pub block: &'a Block,
    pub setting: Setting<'a>,
    /// Level of the component for every level of the block.
    levels: Vec<usize>,
    count: usize,
    /// (row, variant, use per replica).
    replicas: Vec<(usize, usize, f64)>,
    /// (row, route, use per unit of share).
    shares: Vec<(usize, usize, f64)>,
    rows: usize,
    /// Least unmet requests/s of every level of its own when the block has the shared rows for itself.
    alone: Vec<f64>,
}

impl<'a> Member<'a> {
    /// The block among the rows `joint` (ordinals of limits) of the component `whole`.
    pub fn new(whole: &Setting<'_>, block: &'a Block, joint: &[usize], lone: &Candidate) -> Self {
        let setting = Setting::new(&block.problem);
        let levels = setting
            .levels
            .priorities
            .iter()
            .map(|p| whole.levels.priorities.partition_point(|q| q > p))
            .collect();
        let own = Score::of(&block.problem, &setting.levels, &block.read(lone));
        let mut member = Self {
            block,
            setting,
            levels,
            count: whole.levels.len(),
            replicas: Vec::new(),
            shares: Vec::new(),
            rows: joint.len(),
            alone: own.shortfall,
        };
        for (row, &l) in joint.iter().enumerate() {
            member.touch(whole.problem, row, l);
        }
        member
    }

    fn touch(&mut self, whole: &Problem, row: usize, l: usize) {
        let limit = &whole.limits[l];
        for &(v, c) in &limit.replicas {
            if let Ok(own) = self.block.variants.binary_search(&v) {
                self.replicas.push((row, own, c));
            }
        }
        for &(r, c) in &limit.flows {
            if let Ok(own) = self.block.routes.binary_search(&r) {
                let rate = whole.demands[whole.routes[r].demand].rate;
                self.shares.push((row, own, c * rate));
            }
        }
    }

    /// Caps on the unmet demand of its own levels when the first `keep` levels of the component keep their service.
    pub fn caps(&self, keep: usize) -> Vec<Option<f64>> {
        let caps = self.setting.caps(&self.alone);
        let kept = self.levels.iter().zip(caps);
        kept.map(|(&level, cap)| cap.filter(|_| level < keep))
            .collect()
    }

    /// Whether a column serves the first `keep` levels of the component as well as the block does alone.
    pub fn keeps_service(&self, column: &Column, keep: usize) -> bool {
        let own = self.levels.iter().zip(&self.alone).enumerate();
        own.filter(|(_, (level, _))| **level < keep)
            .all(|(own, (&level, alone))| {
                let slack = 2.0 * self.setting.levels.tolerance(own);
                column.score.shortfall[level] <= alone + slack
            })
    }

    fn objective(&self, weights: &Weights) -> Objective {
        let problem = self.setting.problem;
        let mut objective = Objective {
            replica: problem
                .variants
                .iter()
                .map(|v| weights.money * v.price)
                .collect(),
            change: weights.money * problem.change_price,
            share: vec![0.0; problem.routes.len()],
            unmet: self.levels.iter().map(|&l| weights.levels[l]).collect(),
        };
        for &(row, v, c) in &self.replicas {
            objective.replica[v] += weights.rows[row] * c;
        }
        for &(row, r, c) in &self.shares {
            objective.share[r] += weights.rows[row] * c;
        }
        objective
    }

    /// The whole-replica optimum under `weights`: a column and its proven bound.
    pub fn whole(
        &self,
        weights: &Weights,
        caps: &[Option<f64>],
        budget: &mut Budget,
    ) -> Option<(Column, f64)> {
        let objective = self.objective(weights);
        let outcome = self.setting.under(&objective, caps, Fleet::Integer, budget);
        let Outcome::Answer(answer) = outcome else {
            return None;
        };
        let column = self.column(self.setting.candidate(&answer))?;
        Some((column, answer.bound))
    }

    /// A candidate of the block as a column, if the verifier accepts it.
    pub fn column(&self, candidate: Candidate) -> Option<Column> {
        let rated = rate(&self.setting, candidate, Rung::Milp)?;
        let uses = self.uses(&rated.candidate);
        Some(Column {
            score: self.lift(&rated.score),
            uses,
            candidate: rated.candidate,
        })
    }

    /// A score of the block on the levels of the component.
    fn lift(&self, own: &Score) -> Score {
        let mut shortfall = vec![0.0; self.count];
        for (&level, s) in self.levels.iter().zip(&own.shortfall) {
            shortfall[level] += s;
        }
        Score {
            shortfall,
            money: own.money,
        }
    }

    fn uses(&self, candidate: &Candidate) -> Vec<f64> {
        let mut uses = vec![0.0; self.rows];
        for &(row, v, c) in &self.replicas {
            uses[row] += c * f64::from(candidate.replicas[v]);
        }
        for &(row, r, c) in &self.shares {
            uses[row] += c * candidate.shares[r];
        }
        uses
    }

    /// The best column that leaves the others their room: least `objective` (without prices) with at most `room` of
    /// every row and no more unmet demand than `now`, but for the levels that the objective counts.
    pub fn within(
        &self,
        room: &[f64],
        objective: &Weights,
        now: &Column,
        budget: &mut Budget,
    ) -> Option<Column> {
        let problem = self.with_room(room);
        let now: Vec<f64> = self
            .levels
            .iter()
            .map(|&level| now.score.shortfall[level])
            .collect();
        let caps: Vec<Option<f64>> = self
            .setting
            .caps(&now)
            .into_iter()
            .zip(&self.levels)
            .map(|(cap, &level)| cap.filter(|_| objective.levels[level] == 0.0))
            .collect();
        let setting = Setting::new(&problem);
        match setting.under(&self.objective(objective), &caps, Fleet::Integer, budget) {
            Outcome::Answer(answer) => self.column(self.setting.candidate(&answer)),
            Outcome::Infeasible | Outcome::Unfinished => None,
        }
    }

    /// The block's problem with at most `room` of every shared row, for solving it again beside the others.
    fn with_room(&self, room: &[f64]) -> Problem {
        let mut problem = self.block.problem.clone();
        for (row, &at_most) in room.iter().enumerate() {
            let of_row = |entries: &[(usize, usize, f64)], rate: &dyn Fn(usize) -> f64| {
                let own = entries.iter().filter(|(r, ..)| *r == row);
                own.map(|&(_, i, c)| (i, c / rate(i))).collect::<Vec<_>>()
            };
            let demands = &self.block.problem.demands;
            let rate = |r: usize| {
                demands[self.block.problem.routes[r].demand]
                    .rate
                    .max(f64::MIN_POSITIVE)
            };
            let limit = crate::problem::Limit {
                name: String::new(),
                at_most: at_most.max(0.0),
                replicas: of_row(&self.replicas, &|_| 1.0),
                flows: of_row(&self.shares, &rate),
            };
            if !(limit.replicas.is_empty() && limit.flows.is_empty()) {
                problem.limits.push(limit);
            }
        }
        problem
    }
}

/// Levels of the component with the tolerance that one of `blocks` may have.
pub(super) fn per_block(levels: &Levels, blocks: usize) -> Levels {
    let mut levels = levels.clone();
    for rate in &mut levels.rate {
        *rate /= blocks.max(1) as f64;
    }
    levels
}
