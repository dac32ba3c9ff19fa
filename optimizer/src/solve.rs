//! From a problem to a verified plan.
//!
//! ```text
//! split into blocks ─▶ solve each alone ─▶ do they fit the joint limits together? ─▶ yes: that is the optimum
//!                                             │ no
//!                                             ▼
//!                      the blocks that a limit joins: one program where they are few, priced limits where many
//! ```
//! Why not one program for everything: branch and bound on a hundred models at once has a gap of several per cent after
//! twenty seconds, while a hundred blocks take a fraction of a second and are each solved to the gap.

use serde::{Deserialize, Serialize};
use wva_models::units::Seconds;

use crate::block::{Block, split};
use crate::formulation::Budget;
use crate::greedy::greedy;
use crate::joint;
use crate::levels::{Candidate, change_cost, fleet_cost};
use crate::lexicographic::Setting;
use crate::plan::{Plan, Rung};
use crate::problem::{Problem, ProblemError};
use crate::rungs::{Rated, climb, rate};
use crate::verify::verify;

/// Largest program (variants + routes) in which joined blocks are solved as a whole.
const WHOLE_PROGRAM: usize = 320;

/// How long and how well to search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SolveSettings {
    /// Time for all solver calls together. A plan that it cuts short depends on the speed of the machine; leave it
    /// generous and let `nodes` bound the work where replays must agree.
    pub time_limit: Seconds,
    /// Relative gap at which a plan is good enough, 0 for a proof of optimality. Single programs are solved to half of
    /// it, so that joint limits may cost the other half.
    pub gap: f64,
    /// Most branch-and-bound nodes of one program.
    pub nodes: u64,
}

impl Default for SolveSettings {
    /// 10 s, 1 %, 2,000 nodes a program.
    fn default() -> Self {
        Self {
            time_limit: Seconds::new(10.0).expect("a positive constant"),
            gap: 0.01,
            nodes: 2_000,
        }
    }
}

impl SolveSettings {
    fn budget(&self) -> Budget {
        Budget {
            seconds: self.time_limit.get(),
            nodes: self.nodes.max(1),
            gap: if self.gap.is_finite() {
                self.gap.max(0.0) / 2.0
            } else {
                0.0
            },
            cut_short: false,
        }
    }
}

/// The best plan found: least unmet demand priority by priority, then cheapest; verified, with its gap.
///
/// Whatever cannot be served (no route, no stock) is in [`Plan::unmet`]. The cost of a decision is the price of its
/// replicas plus the price of changing today's, and [`Plan::bound`] is stated so that cost − bound is the most that any
/// other plan with as little unmet demand could save, changes included.
///
/// # Errors
/// [`ProblemError`] when the problem is not well formed.
pub fn solve(problem: &Problem, settings: &SolveSettings) -> Result<Plan, ProblemError> {
    problem.validate()?;
    let mut budget = settings.budget();
    let (blocks, joint) = split(problem, &[]);
    let lone: Vec<Rated> = blocks
        .iter()
        .map(|block| climb(&Setting::new(&block.problem), &mut budget))
        .collect();
    let mut answer = Assembled::new(problem);
    for (block, rated) in blocks.iter().zip(&lone) {
        answer.put(block, rated);
    }
    if joint
        .iter()
        .any(|&l| exceeded(problem, l, &answer.candidate))
    {
        answer = join(problem, (&blocks, &lone), &answer, &joint, &mut budget);
    }
    Ok(answer.plan(problem, budget.cut_short))
}

/// Keeps the components whose lone optima fit their joint limits and solves the others again: as one program where they
/// are small, by pricing the limits where they are large.
fn join(
    problem: &Problem,
    (blocks, lone): (&[Block], &[Rated]),
    apart: &Assembled,
    joint: &[usize],
    budget: &mut Budget,
) -> Assembled {
    let (components, _) = split(problem, joint);
    let members = members(problem, &components, blocks);
    let mut answer = Assembled::new(problem);
    for (component, members) in components.iter().zip(members) {
        let fits = component
            .limits
            .iter()
            .all(|&l| !exceeded(problem, l, &apart.candidate));
        if fits {
            for b in members {
                answer.put(&blocks[b], &lone[b]);
            }
            continue;
        }
        let setting = Setting::new(&component.problem);
        let own = component.read(&apart.candidate);
        let bound = members.into_iter().map(|b| lone[b].bound).sum();
        let rated = together(&setting, (&own, bound), budget);
        answer.put(component, &rated);
    }
    answer
}

/// A component whose blocks do not fit their limits together: one program where it is small, priced limits where it is
/// large or the one program stopped at a limit. `apart` holds the blocks' lone optima and the sum of their bounds.
fn together(setting: &Setting<'_>, apart: (&Candidate, f64), budget: &mut Budget) -> Rated {
    let size = setting.problem.variants.len() + setting.problem.routes.len();
    let cut_short = budget.cut_short;
    let whole = (size <= WHOLE_PROGRAM).then(|| {
        budget.cut_short = false;
        climb(setting, budget)
    });
    let finished = whole.is_some() && !budget.cut_short;
    budget.cut_short |= cut_short;
    if let Some(whole) = whole.as_ref().filter(|_| finished) {
        return whole.clone();
    }
    match (whole, joint::allocate(setting, apart, budget)) {
        (Some(whole), Some(priced)) if priced.score.beats(&whole.score, &setting.levels) => priced,
        (None, Some(priced)) => priced,
        (Some(whole), _) => whole,
        (None, None) => climb(setting, budget),
    }
}

/// Blocks of every component.
fn members(problem: &Problem, components: &[Block], blocks: &[Block]) -> Vec<Vec<usize>> {
    let mut of_variant = vec![0; problem.variants.len()];
    let mut of_demand = vec![0; problem.demands.len()];
    for (c, component) in components.iter().enumerate() {
        for &v in &component.variants {
            of_variant[v] = c;
        }
        for &d in &component.demands {
            of_demand[d] = c;
        }
    }
    let mut members = vec![Vec::new(); components.len()];
    for (b, block) in blocks.iter().enumerate() {
        let by_variant = block.variants.first().map(|&v| of_variant[v]);
        let by_demand = block.demands.first().map(|&d| of_demand[d]);
        if let Some(c) = by_variant.or(by_demand) {
            members[c].push(b);
        }
    }
    members
}

fn exceeded(problem: &Problem, l: usize, candidate: &Candidate) -> bool {
    let limit = &problem.limits[l];
    limit_use(problem, l, candidate) > limit.at_most + 1e-7 * limit.at_most.max(1.0)
}

/// What a candidate uses of a limit.
pub(crate) fn limit_use(problem: &Problem, l: usize, candidate: &Candidate) -> f64 {
    let limit = &problem.limits[l];
    let replicas = limit
        .replicas
        .iter()
        .map(|&(v, c)| c * f64::from(candidate.replicas[v]));
    let flows = limit
        .flows
        .iter()
        .map(|&(r, c)| c * problem.demands[problem.routes[r].demand].rate * candidate.shares[r]);
    replicas.sum::<f64>() + flows.sum::<f64>()
}

/// A plan of the whole put together from parts.
struct Assembled {
    candidate: Candidate,
    bound: f64,
    rung: Rung,
}

impl Assembled {
    fn new(problem: &Problem) -> Self {
        Self {
            candidate: Candidate::minimal(problem),
            bound: 0.0,
            rung: Rung::Milp,
        }
    }

    /// Adds a part; the whole counts as coming from the lowest rung of its parts.
    fn put(&mut self, block: &Block, rated: &Rated) {
        block.write(&rated.candidate, &mut self.candidate);
        self.bound += rated.bound;
        self.rung = self.rung.min(rated.rung);
    }

    /// The verified plan; the minimum fleet should the verifier reject it, which no known problem makes it do.
    fn plan(self, problem: &Problem, cut_short: bool) -> Plan {
        let (candidate, bound, rung) = (self.candidate, self.bound, self.rung);
        let plan = plan_of(problem, candidate, bound, rung, cut_short);
        if verify(problem, &plan).is_empty() {
            return plan;
        }
        let setting = Setting::new(problem);
        let fallback = rate(&setting, greedy(&setting), Rung::Greedy)
            .map_or_else(|| Candidate::minimal(problem), |rated| rated.candidate);
        plan_of(problem, fallback, 0.0, Rung::Greedy, true)
    }
}

fn plan_of(
    problem: &Problem,
    candidate: Candidate,
    bound: f64,
    rung: Rung,
    cut_short: bool,
) -> Plan {
    let cost = fleet_cost(problem, &candidate.replicas);
    let change = change_cost(problem, &candidate.replicas);
    Plan {
        cost,
        bound: (bound - change).min(cost),
        replicas: candidate.replicas,
        shares: candidate.shares,
        unmet: candidate.unmet,
        rung,
        cut_short,
    }
}
