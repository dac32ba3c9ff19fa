//! The anytime chain on one program: today's plan repaired, greedy, rounded-up relaxation, mixed-integer optimum.
//!
//! The mixed-integer program is asked first, because on the usual block it answers exactly in well under a millisecond;
//! the cheaper rungs are climbed only when it stopped at a limit, and the best plan that the verifier accepts wins.

use crate::formulation::{Budget, Fleet, Objective, Outcome};
use crate::greedy::greedy;
use crate::levels::{Candidate, Score, fleet_cost};
use crate::lexicographic::Setting;
use crate::plan::{Plan, Rung};
use crate::repair;
use crate::round_up::round_up;
use crate::verify::verify;

/// A verified candidate with where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Rated {
    pub candidate: Candidate,
    pub score: Score,
    pub rung: Rung,
    /// Lower bound on the money of any candidate with as little unmet demand.
    pub bound: f64,
    /// Most unmet requests/s of every level under which the bound holds.
    pub caps: Vec<Option<f64>>,
}

/// The best of the chain within the budget.
pub(crate) fn climb(setting: &Setting<'_>, budget: &mut Budget) -> Rated {
    let before = std::mem::replace(&mut budget.cut_short, false);
    let objective = Objective::money(setting.problem, &setting.levels);
    let milp = setting
        .optimum(&objective, Fleet::Integer, budget)
        .and_then(|optimum| {
            let candidate = setting.candidate(&optimum.answer);
            let mut rated = rate(setting, candidate, Rung::Milp)?;
            rated.bound = optimum.answer.bound.min(rated.score.money);
            rated.caps = optimum.caps;
            Some(rated)
        });
    let finished = !budget.cut_short;
    budget.cut_short |= before;
    match milp {
        Some(rated) if finished => rated,
        other => climb_all(setting, other, budget),
    }
}

/// The best of every rung, given what the top one found.
fn climb_all(setting: &Setting<'_>, milp: Option<Rated>, budget: &mut Budget) -> Rated {
    let proven = milp.as_ref().map(|r| r.bound);
    let minimal = Candidate::minimal(setting.problem);
    let mut best = Rated {
        score: Score::of(setting.problem, &setting.levels, &minimal),
        candidate: minimal,
        rung: Rung::Current,
        bound: 0.0,
        caps: Vec::new(),
    };
    let mut offer = |rated: Option<Rated>| {
        if let Some(rated) = rated.filter(|r| r.score.beats(&best.score, &setting.levels)) {
            best = rated;
        }
    };
    offer(rate(setting, greedy(setting), Rung::Greedy));
    offer(rate(
        setting,
        repair::current(setting, budget),
        Rung::Current,
    ));
    if let Some((candidate, _)) = round_up(setting, budget) {
        offer(rate(setting, candidate, Rung::RoundUp));
    }
    let from_milp = milp.is_some();
    offer(milp);
    best.caps = setting.caps(&best.score.shortfall);
    best.bound = match proven.filter(|_| from_milp && best.rung == Rung::Milp) {
        Some(bound) => bound,
        None => relaxed_bound(setting, &best.caps, budget).unwrap_or(0.0),
    }
    .min(best.score.money);
    best
}

/// Lower bound on the money of any candidate under `caps`, from the relaxation.
fn relaxed_bound(setting: &Setting<'_>, caps: &[Option<f64>], budget: &mut Budget) -> Option<f64> {
    let objective = Objective::money(setting.problem, &setting.levels);
    match setting.under(&objective, caps, Fleet::Relaxed, budget) {
        Outcome::Answer(answer) => Some(answer.bound),
        Outcome::Infeasible | Outcome::Unfinished => None,
    }
}

/// The candidate with its score, if the verifier accepts it.
pub(crate) fn rate(setting: &Setting<'_>, candidate: Candidate, rung: Rung) -> Option<Rated> {
    let mut plan = Plan {
        cost: fleet_cost(setting.problem, &candidate.replicas),
        replicas: candidate.replicas,
        shares: candidate.shares,
        unmet: candidate.unmet,
        bound: 0.0,
        rung,
        cut_short: false,
    };
    place_idle(setting, &mut plan);
    if !verify(setting.problem, &plan).is_empty() {
        return None;
    }
    let candidate = Candidate {
        replicas: plan.replicas,
        shares: plan.shares,
        unmet: plan.unmet,
    };
    let score = Score::of(setting.problem, &setting.levels, &candidate);
    let caps = setting.caps(&score.shortfall);
    Some(Rated {
        candidate,
        score,
        rung,
        bound: 0.0,
        caps,
    })
}

/// Gives every demand that asks for nothing a route for its first request: one whose variants have replicas, or else
/// the first.
fn place_idle(setting: &Setting<'_>, plan: &mut Plan) {
    let problem = setting.problem;
    let mut placed: Vec<Option<(bool, usize)>> = vec![None; problem.demands.len()];
    for (r, route) in problem.routes.iter().enumerate() {
        if problem.demands[route.demand].rate > 0.0 {
            continue;
        }
        plan.shares[r] = 0.0;
        let ready = route.stages.iter().all(|s| plan.replicas[s.variant] > 0);
        let place = &mut placed[route.demand];
        if place.is_none_or(|(was_ready, _)| ready && !was_ready) {
            *place = Some((ready, r));
        }
    }
    for (d, place) in placed.into_iter().enumerate() {
        if let Some((_, r)) = place {
            plan.shares[r] = 1.0;
            plan.unmet[d] = 0.0;
        }
    }
}
