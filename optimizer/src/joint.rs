//! Many blocks under joint limits: price the limits, let every block answer alone, choose one answer of each that fit
//! together, and polish block by block with the room that is left.
//!
//! ```text
//!          ┌───── prices λ of the limits ◀── ascent on what the columns say ◀──┐
//!          ▼                                                                   │
//!   a sample of blocks, then all: min money + λ·use in whole replicas ──▶ columns
//!          │                                                                   │
//!          ▼                                                                   ▼
//!   bound: Σ blocks' minima − λ·limits               choose, repair, improve ──▶ polish ──▶ plan
//! ```
//! This is column generation with the dual solved approximately (Lagrangian bound, Geoffrion 1974). The limits are
//! priced against whole replicas, not against relaxed blocks: rounding favours small devices, and prices that ignore it
//! ask for twice the cheap stock that there is. A sample of the blocks is enough to find the prices.
//!
//! Only a few limits join the blocks, so almost every block is settled by the prices alone and fitting the few others
//! costs little: the relative gap falls as the number of blocks grows, exactly where one large program is hopeless.
//!
//! Where not everything can be served, the same machinery goes through the levels, most important first: blocks keep
//! their service of the levels that can be served in full; of a level that cannot, it minimises the unmet demand, which
//! is then a further shared row.

use crate::block::{Block, split};
use crate::formulation::Budget;
use crate::greedy::greedy;
use crate::levels::{Candidate, Levels, Score, fleet_cost};
use crate::lexicographic::Setting;
use crate::plan::Rung;
use crate::rungs::{Rated, rate};

mod duals;
mod phase;
mod polish;
mod pricing;
mod selection;

use phase::Phase;
use pricing::{Member, Weights, per_block};
use selection::{Column, Rows, Selection};

/// Fewest blocks whose columns find the first prices, and the part of all blocks that they are at least.
const SAMPLE: usize = 32;
const SAMPLE_PART: usize = 8;
/// Rounds of pricing the sample.
const SAMPLE_ROUNDS: u32 = 5;
/// Rounds of pricing every block when money is minimised, and when a level is settled on the way there.
const ROUNDS: u32 = 3;
const LEVEL_ROUNDS: u32 = 2;
/// Relative difference of the dual's model and its value at which prices are settled.
const SETTLED: f64 = 0.002;

/// A component under way.
struct Component<'a> {
    whole: &'a Setting<'a>,
    members: Vec<Member<'a>>,
    /// What there is of every joint limit.
    at_most: Vec<f64>,
    /// Levels with the tolerance that one block may have.
    levels: Levels,
    columns: Vec<Vec<Column>>,
    best: Selection,
    /// More money than any fleet within the limits can cost.
    dearest: f64,
}

/// The best plan of a component whose blocks do not fit their joint limits together; `lone` holds their lone optima
/// and the sum of the bounds on them, which bounds every plan that keeps their service.
pub(crate) fn allocate(
    whole: &Setting<'_>,
    (lone, lone_bound): (&Candidate, f64),
    budget: &mut Budget,
) -> Option<Rated> {
    let (blocks, joint) = split(whole.problem, &[]);
    let mut component = Component::new(whole, &blocks, &joint, lone)?;
    let alone = Score::of(whole.problem, &whole.levels, lone);
    let mut bound = lone_bound;
    component.dearest = component.dearest_fleet(&joint);
    if alone.money <= component.dearest {
        bound = bound.max(component.run(&component.money(whole.levels.len()), ROUNDS, budget));
    }
    if !component.serves(&alone) {
        bound = component.run_short(&alone, budget);
    }
    component.finish(bound)
}

impl<'a> Component<'a> {
    /// The component with the greedy plan as the first that fits; `None` should the verifier reject even that.
    fn new(
        whole: &'a Setting<'a>,
        blocks: &'a [Block],
        joint: &[usize],
        lone: &Candidate,
    ) -> Option<Self> {
        let members: Vec<Member<'a>> = blocks
            .iter()
            .map(|block| Member::new(whole, block, joint, lone))
            .collect();
        let start = greedy(whole);
        let mut columns = Vec::with_capacity(members.len());
        for member in &members {
            let mut own = vec![member.column(member.block.read(&start))?];
            own.extend(member.column(member.block.read(lone)));
            columns.push(own);
        }
        let at_most: Vec<f64> = joint
            .iter()
            .map(|&l| whole.problem.limits[l].at_most)
            .collect();
        let levels = per_block(&whole.levels, members.len());
        let rows = Rows {
            at_most: &at_most,
            levels: &levels,
        };
        let best = rows.total(&columns, vec![0; members.len()]);
        Some(Self {
            whole,
            members,
            at_most,
            levels,
            columns,
            best,
            dearest: f64::INFINITY,
        })
    }

    fn money(&self, keep: usize) -> Phase {
        Phase {
            objective: Weights {
                money: 1.0,
                levels: vec![0.0; self.whole.levels.len()],
                rows: vec![0.0; self.at_most.len()],
            },
            caps: self.at_most.clone(),
            capped: Vec::new(),
            keep,
        }
    }

    /// More money than any fleet within the joint limits can cost.
    fn dearest_fleet(&self, joint: &[usize]) -> f64 {
        let problem = self.whole.problem;
        let mut most: Vec<u32> = self.whole.occupancy.most.clone();
        for (&l, at_most) in joint.iter().zip(&self.at_most) {
            for &(v, c) in problem.limits[l].replicas.iter().filter(|(_, c)| *c > 0.0) {
                most[v] = most[v].min((at_most / c).floor().min(1e9) as u32);
            }
        }
        let apart = fleet_cost(problem, &most);
        let together = joint.iter().zip(&self.at_most).map(|(&l, at_most)| {
            let users = &problem.limits[l].replicas;
            let dear = users
                .iter()
                .filter(|(_, c)| *c > 0.0)
                .map(|&(v, c)| problem.variants[v].price / c);
            let others = (0..problem.variants.len())
                .filter(|v| !users.iter().any(|(u, c)| u == v && *c > 0.0))
                .map(|v| problem.variants[v].price * f64::from(most[v]));
            dear.fold(0.0, f64::max) * at_most + others.sum::<f64>()
        });
        let changes = problem.change_price
            * problem
                .variants
                .iter()
                .map(|v| f64::from(v.current))
                .sum::<f64>();
        together.fold(apart, f64::min) + changes
    }

    /// Runs one phase: prices, columns, choice, polish. Returns a lower bound on the phase's objective.
    fn run(&mut self, phase: &Phase, rounds: u32, budget: &mut Budget) -> f64 {
        let mut bound = 0.0_f64;
        let Some(mut prices) = self.sample_prices(phase, budget) else {
            return bound;
        };
        for _ in 0..rounds {
            let weights = phase.priced(&prices);
            let sum = self.price(phase, &weights, 1, budget);
            if let Some(sum) = sum {
                bound = bound.max(sum - phase.charge(&prices));
            }
            self.choose(phase, &weights);
            self.polish(phase, &weights, bound, budget);
            let value = phase.objective.of(&self.best.total, &self.best.uses);
            if sum.is_none() || value - bound <= 2.0 * budget.gap * value {
                break;
            }
            let cuts = self.cuts(phase, 1);
            let most = phase.ceiling(&prices, value);
            prices = duals::ascend(&cuts, &phase.caps, &prices, &most, value).0;
        }
        bound
    }

    /// Prices found on every n-th block, with n-th parts of the rows; `None` when the dual exceeds what any fleet can
    /// cost, so that the service to be kept cannot be.
    fn sample_prices(&mut self, phase: &Phase, budget: &mut Budget) -> Option<Vec<f64>> {
        let stride = self.members.len().div_ceil(SAMPLE).clamp(1, SAMPLE_PART);
        let part = self.part(phase, stride);
        let caps: Vec<f64> = phase.caps.iter().map(|cap| cap * part).collect();
        let worth = phase.objective.of(&self.best.total, &self.best.uses);
        let mut best = vec![0.0; caps.len()];
        let mut best_value = f64::NEG_INFINITY;
        for round in 0..SAMPLE_ROUNDS {
            let most = phase.ceiling(&best, worth);
            let (prices, model) =
                duals::ascend(&self.cuts(phase, stride), &caps, &best, &most, part * worth);
            if round > 0 && model - best_value <= SETTLED * best_value.abs() {
                break;
            }
            let weights = phase.priced(&prices);
            let Some(sum) = self.price(phase, &weights, stride, budget) else {
                break;
            };
            let value = sum - part * phase.charge(&prices);
            if value > best_value {
                best_value = value;
                best = prices;
            }
            if best_value > self.dearest * part * (1.0 + SETTLED) && phase.objective.money > 0.0 {
                return None;
            }
        }
        Some(best)
    }

    /// The part of the component that every n-th block is, by what each costs alone.
    fn part(&self, phase: &Phase, stride: usize) -> f64 {
        let weigh = |column: &Column| {
            let own = phase.objective.of(&column.score, &column.uses);
            own.max(column.score.money)
        };
        let lone = |b: usize| self.columns[b].get(1).map_or(0.0, weigh);
        let all: f64 = (0..self.members.len()).map(lone).sum();
        let sampled: f64 = (0..self.members.len()).step_by(stride).map(lone).sum();
        if all > 0.0 && sampled > 0.0 {
            sampled / all
        } else {
            1.0 / stride as f64
        }
    }

    /// What the columns of every n-th block say about the dual.
    fn cuts(&self, phase: &Phase, stride: usize) -> Vec<Vec<duals::Cut>> {
        (0..self.members.len())
            .step_by(stride)
            .map(|b| {
                self.usable(b, phase)
                    .map(|column| column.cut(&phase.objective, &phase.capped))
                    .collect()
            })
            .collect()
    }

    /// Solves every n-th block in whole replicas and keeps the columns; Σ of the proven bounds, or `None` when the
    /// budget ended.
    fn price(
        &mut self,
        phase: &Phase,
        weights: &Weights,
        stride: usize,
        budget: &mut Budget,
    ) -> Option<f64> {
        let mut sum = 0.0;
        for b in (0..self.members.len()).step_by(stride) {
            let member = &self.members[b];
            let (column, bound) = member.whole(weights, &member.caps(phase.keep), budget)?;
            sum += bound;
            let known = &mut self.columns[b];
            if !known.iter().any(|k| {
                k.candidate.replicas == column.candidate.replicas && k.score == column.score
            }) {
                known.push(column);
            }
        }
        Some(sum)
    }

    /// Chooses columns that fit, from where the weights point and from the best so far, and keeps the better.
    fn choose(&mut self, phase: &Phase, weights: &Weights) {
        let rows = Rows {
            at_most: &self.at_most,
            levels: &self.levels,
        };
        rows.improve(&self.columns, &mut self.best);
        let pointed: Vec<Vec<Column>> = (0..self.members.len())
            .map(|b| self.usable(b, phase).cloned().collect())
            .collect();
        if pointed.iter().any(Vec::is_empty) {
            return;
        }
        let choice = pointed.iter().map(|own| cheapest(own, weights)).collect();
        let start = rows.total(&pointed, choice);
        let Some(mut found) = rows.repair(&pointed, start, weights) else {
            return;
        };
        rows.improve(&pointed, &mut found);
        if found.total.beats(&self.best.total, &self.whole.levels) {
            for (b, k) in found.choice.iter_mut().enumerate() {
                let all = &self.columns[b];
                *k = (0..all.len())
                    .filter(|&c| self.is_usable(b, &all[c], phase))
                    .nth(*k)
                    .expect("the choice is among the usable columns");
            }
            self.best = found;
        }
    }

    /// Columns of block `b` that a phase may choose.
    fn usable<'s>(&'s self, b: usize, phase: &'s Phase) -> impl Iterator<Item = &'s Column> + 's {
        self.columns[b]
            .iter()
            .filter(move |column| self.is_usable(b, column, phase))
    }

    fn is_usable(&self, b: usize, column: &Column, phase: &Phase) -> bool {
        self.members[b].keeps_service(column, phase.keep)
    }

    /// Whether the best choice serves as much as `alone`.
    fn serves(&self, alone: &Score) -> bool {
        (0..self.whole.levels.len()).all(|level| !self.falls_short(alone, level))
    }

    fn falls_short(&self, alone: &Score, level: usize) -> bool {
        let slack = self.whole.levels.tolerance(level);
        self.best.total.shortfall[level] > alone.shortfall[level] + slack
    }

    /// The phases of a component that cannot serve everything: level by level, then money.
    fn run_short(&mut self, alone: &Score, budget: &mut Budget) -> f64 {
        let mut settled = self.money(0);
        for level in 0..self.whole.levels.len() {
            if settled.capped.is_empty() && self.falls_short(alone, level) {
                let phase = self.money(level + 1);
                self.run(&phase, LEVEL_ROUNDS, budget);
            }
            if self.falls_short(alone, level) {
                let mut phase = settled.clone();
                phase.objective.money = 0.0;
                phase.objective.levels[level] = 1.0;
                self.run(&phase, LEVEL_ROUNDS, budget);
            } else if settled.capped.is_empty() {
                settled.keep = level + 1;
                continue;
            }
            let slack = self.whole.levels.tolerance(level);
            settled.caps.push(self.best.total.shortfall[level] + slack);
            settled.capped.push(level);
        }
        self.run(&settled, ROUNDS, budget)
    }

    fn finish(self, bound: f64) -> Option<Rated> {
        let mut candidate = Candidate::minimal(self.whole.problem);
        for ((member, columns), &k) in self
            .members
            .iter()
            .zip(&self.columns)
            .zip(&self.best.choice)
        {
            member.block.write(&columns[k].candidate, &mut candidate);
        }
        let mut rated = rate(self.whole, candidate, Rung::Milp)?;
        rated.bound = bound.clamp(0.0, rated.score.money);
        Some(rated)
    }
}

/// The column of least weighted value.
fn cheapest(columns: &[Column], weights: &Weights) -> usize {
    let value = |k: usize| weights.of(&columns[k].score, &columns[k].uses);
    (0..columns.len())
        .min_by(|&a, &b| value(a).total_cmp(&value(b)))
        .unwrap_or(0)
}
