//! What limits a plan, and what a little more of each limit would be worth.
//!
//! A limit's price is found by solving again with as much more of it as its smallest user takes: "one more H100 saves
//! 2.10 $/h", "5 $/h more budget serves 1.2 requests/s more". The dual values of the relaxation would come for free, but
//! they price fractions of replicas, which nobody can buy: in the small fleets that need explaining most, they are off
//! by a multiple.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::problem::{Limit, Problem, ProblemError};
use crate::solve::{SolveSettings, limit_use, solve};

/// A constraint without room for one more replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Binding {
    /// A limit.
    Limit {
        /// Ordinal of the limit.
        limit: usize,
        /// What the plan uses of it.
        used: f64,
        /// What there is.
        at_most: f64,
    },
    /// A variant with traffic at its greatest number of replicas.
    Most {
        /// Ordinal of the variant.
        variant: usize,
        /// That number.
        replicas: u32,
    },
    /// A variant held up by its least number of replicas.
    Least {
        /// Ordinal of the variant.
        variant: usize,
        /// That number.
        replicas: u32,
        /// Replicas that its load occupies.
        load: f64,
    },
}

/// What a little more of a limit is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitPrice {
    /// Ordinal of the limit.
    pub limit: usize,
    /// How much more: what the smallest replica under the limit takes of it.
    pub more: f64,
    /// Cost now less cost then, $/h; negative where the room is spent on serving more.
    pub saves: f64,
    /// Requests/s that are unmet now and served then.
    pub serves: f64,
}

/// The constraints that bind in a plan of a well-formed problem: limits first, then bounds, each in its order.
#[must_use]
pub fn binding(problem: &Problem, plan: &Plan) -> Vec<Binding> {
    let candidate = plan.candidate();
    let mut found = Vec::new();
    for (l, limit) in problem.limits.iter().enumerate() {
        let used = limit_use(problem, l, &candidate);
        let room = limit.at_most - used;
        if step(limit).is_some_and(|step| room < step * (1.0 - 1e-9)) {
            found.push(Binding::Limit {
                limit: l,
                used,
                at_most: limit.at_most,
            });
        }
    }
    let load = loads(problem, plan);
    for (v, (option, &replicas)) in problem.variants.iter().zip(&plan.replicas).enumerate() {
        if replicas == option.max && load[v] > 0.0 {
            found.push(Binding::Most {
                variant: v,
                replicas,
            });
        } else if replicas == option.min && f64::from(replicas) - load[v] >= 1.0 {
            found.push(Binding::Least {
                variant: v,
                replicas,
                load: load[v],
            });
        }
    }
    found
}

/// The worth of a little more of every binding limit, the most valuable first: what it serves, then what it saves. One
/// solve a limit.
///
/// # Errors
/// [`ProblemError`] when the problem is not well formed.
pub fn limit_prices(
    problem: &Problem,
    plan: &Plan,
    settings: &SolveSettings,
) -> Result<Vec<LimitPrice>, ProblemError> {
    let mut found = Vec::new();
    for bound in binding(problem, plan) {
        let Binding::Limit { limit, .. } = bound else {
            continue;
        };
        let Some(more) = step(&problem.limits[limit]) else {
            continue;
        };
        let mut looser = problem.clone();
        looser.limits[limit].at_most += more;
        let then = solve(&looser, settings)?;
        found.push(LimitPrice {
            limit,
            more,
            saves: plan.cost - then.cost,
            serves: unmet_rate(problem, plan) - unmet_rate(problem, &then),
        });
    }
    found.sort_by(|a, b| (b.serves.total_cmp(&a.serves)).then(b.saves.total_cmp(&a.saves)));
    Ok(found)
}

/// What the smallest user of a limit takes: one replica, or for limits on flows one request/s.
fn step(limit: &Limit) -> Option<f64> {
    let replicas = limit.replicas.iter().map(|&(_, c)| c);
    let flows = limit.flows.iter().map(|&(_, c)| c);
    let least = |all: &mut dyn Iterator<Item = f64>| all.filter(|c| *c > 0.0).reduce(f64::min);
    least(&mut replicas.into_iter()).or_else(|| least(&mut flows.into_iter()))
}

/// Replicas that the traffic on every variant occupies, interactive work counted with the room it must leave.
fn loads(problem: &Problem, plan: &Plan) -> Vec<f64> {
    let mut all = vec![0.0; problem.variants.len()];
    let mut interactive = all.clone();
    for (route, share) in problem.routes.iter().zip(&plan.shares) {
        let demand = &problem.demands[route.demand];
        for stage in &route.stages {
            let load = demand.rate * share * stage.load;
            all[stage.variant] += load;
            if !demand.batch {
                interactive[stage.variant] += load / problem.variants[stage.variant].fill;
            }
        }
    }
    all.iter()
        .zip(&interactive)
        .map(|(a, i)| a.max(*i))
        .collect()
}

/// Requests/s that a plan leaves unmet.
#[must_use]
pub fn unmet_rate(problem: &Problem, plan: &Plan) -> f64 {
    let demands = problem.demands.iter().zip(&plan.unmet);
    demands.map(|(d, u)| d.rate * u).sum()
}
