//! The independent verifier: recomputes everything a plan claims from the problem alone, and names every violation with
//! its figures. It shares no code with the formulation or the heuristics, so that a mistake there cannot hide here.

use std::fmt;

use crate::plan::Plan;
use crate::problem::Problem;

/// Slack on loads (replicas) and limits, relative to the larger of 1 and the amount.
const TOLERANCE: f64 = 1e-6;

/// One way in which a plan breaks its problem.
#[derive(Debug, Clone, PartialEq)]
pub enum Violation {
    /// A vector has the wrong length, so nothing else was checked.
    Shape {
        /// Which vector.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length it should have.
        expected: usize,
    },
    /// A variant has fewer or more replicas than its bounds allow.
    Bounds {
        /// Variant name.
        variant: String,
        /// Planned replicas.
        replicas: u32,
        /// Fewest.
        min: u32,
        /// Most.
        max: u32,
    },
    /// A share or an unmet share is not a number from 0 to 1.
    Share {
        /// `route` or `demand`.
        what: &'static str,
        /// Its ordinal.
        ordinal: usize,
        /// The number.
        share: f64,
    },
    /// The shares of a demand and its unmet share do not sum to 1.
    Balance {
        /// Ordinal of the demand.
        demand: usize,
        /// Σ shares + unmet.
        sum: f64,
    },
    /// More load than replicas.
    Overload {
        /// Variant name.
        variant: String,
        /// Replicas that the load occupies.
        load: f64,
        /// Planned replicas.
        replicas: u32,
    },
    /// More interactive load than the share of replicas that interactive work may fill.
    Overfill {
        /// Variant name.
        variant: String,
        /// Replicas that interactive load occupies.
        load: f64,
        /// fill · replicas.
        allowed: f64,
    },
    /// A route with traffic passes through a variant without replicas.
    NoReplica {
        /// Ordinal of the route.
        route: usize,
        /// Variant name.
        variant: String,
    },
    /// A limit is exceeded.
    Limit {
        /// Name of the limit.
        limit: String,
        /// What the plan uses.
        used: f64,
        /// What there is.
        at_most: f64,
    },
    /// The stated cost is not Σ price · replicas.
    Cost {
        /// Stated, $/h.
        stated: f64,
        /// Recomputed, $/h.
        recomputed: f64,
    },
    /// The stated bound is above the cost or not a number.
    Bound {
        /// Stated bound, $/h.
        bound: f64,
        /// Cost, $/h.
        cost: f64,
    },
}

impl Violation {
    /// Stable kebab-case code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Shape { .. } => "plan-shape",
            Self::Bounds { .. } => "replica-bounds",
            Self::Share { .. } => "share-range",
            Self::Balance { .. } => "share-balance",
            Self::Overload { .. } => "overload",
            Self::Overfill { .. } => "overfill",
            Self::NoReplica { .. } => "no-replica",
            Self::Limit { .. } => "limit-exceeded",
            Self::Cost { .. } => "cost-mismatch",
            Self::Bound { .. } => "bound-above-cost",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape {
                what,
                found,
                expected,
            } => write!(f, "{what} has {found} entries, not {expected}"),
            Self::Bounds {
                variant,
                replicas,
                min,
                max,
            } => write!(
                f,
                "{variant} has {replicas} replicas, outside {min}..={max}"
            ),
            Self::Share {
                what,
                ordinal,
                share,
            } => write!(f, "share of {what} {ordinal} is {share}"),
            Self::Balance { demand, sum } => {
                write!(
                    f,
                    "shares of demand {demand} and its unmet share sum to {sum}"
                )
            }
            Self::Overload {
                variant,
                load,
                replicas,
            } => write!(f, "{variant} carries {load} replicas' load on {replicas}"),
            Self::Overfill {
                variant,
                load,
                allowed,
            } => write!(
                f,
                "{variant} carries {load} replicas' interactive load, above {allowed}"
            ),
            Self::NoReplica { route, variant } => {
                write!(f, "route {route} has traffic but {variant} has no replica")
            }
            Self::Limit {
                limit,
                used,
                at_most,
            } => write!(f, "{limit} is {used}, above {at_most}"),
            Self::Cost { stated, recomputed } => {
                write!(f, "cost is stated as {stated} $/h but is {recomputed} $/h")
            }
            Self::Bound { bound, cost } => {
                write!(f, "bound of {bound} $/h is above the cost of {cost} $/h")
            }
        }
    }
}

/// Every violation of `problem` by `plan`; empty when the plan is sound. Linear in the size of both.
///
/// Domain: a problem that [`Problem::validate`] accepts.
#[must_use]
pub fn verify(problem: &Problem, plan: &Plan) -> Vec<Violation> {
    let mut found = shape(problem, plan);
    if !found.is_empty() {
        return found;
    }
    check_replicas(problem, plan, &mut found);
    check_shares(problem, plan, &mut found);
    check_loads(problem, plan, &mut found);
    check_limits(problem, plan, &mut found);
    check_money(problem, plan, &mut found);
    found
}

fn shape(problem: &Problem, plan: &Plan) -> Vec<Violation> {
    [
        ("replicas", plan.replicas.len(), problem.variants.len()),
        ("shares", plan.shares.len(), problem.routes.len()),
        ("unmet", plan.unmet.len(), problem.demands.len()),
    ]
    .into_iter()
    .filter(|&(_, found, expected)| found != expected)
    .map(|(what, found, expected)| Violation::Shape {
        what,
        found,
        expected,
    })
    .collect()
}

fn exceeds(used: f64, available: f64) -> bool {
    used.is_nan() || used > available + TOLERANCE * available.abs().max(1.0)
}

fn differs(a: f64, b: f64, by: f64) -> bool {
    (a - b).is_nan() || (a - b).abs() > by
}

fn check_replicas(problem: &Problem, plan: &Plan, found: &mut Vec<Violation>) {
    for (option, &replicas) in problem.variants.iter().zip(&plan.replicas) {
        if replicas < option.min || replicas > option.max {
            found.push(Violation::Bounds {
                variant: option.name.clone(),
                replicas,
                min: option.min,
                max: option.max,
            });
        }
    }
}

fn check_shares(problem: &Problem, plan: &Plan, found: &mut Vec<Violation>) {
    let mut sums = plan.unmet.clone();
    for (kind, shares) in [("route", &plan.shares), ("demand", &plan.unmet)] {
        for (ordinal, &share) in shares.iter().enumerate() {
            if !(0.0..=1.0 + TOLERANCE).contains(&share) {
                found.push(Violation::Share {
                    what: kind,
                    ordinal,
                    share,
                });
            }
        }
    }
    let mut has_route = vec![false; problem.demands.len()];
    for (route, share) in problem.routes.iter().zip(&plan.shares) {
        sums[route.demand] += share;
        has_route[route.demand] = true;
    }
    for (demand, sum) in sums.into_iter().enumerate() {
        // Who asks for nothing and has no way to be served has nothing to balance.
        let idle = problem.demands[demand].rate == 0.0 && !has_route[demand];
        if !idle && differs(sum, 1.0, TOLERANCE) {
            found.push(Violation::Balance { demand, sum });
        }
    }
}

fn check_loads(problem: &Problem, plan: &Plan, found: &mut Vec<Violation>) {
    let mut load = vec![(0.0, 0.0); problem.variants.len()];
    for (ordinal, (route, &share)) in problem.routes.iter().zip(&plan.shares).enumerate() {
        let demand = &problem.demands[route.demand];
        for stage in &route.stages {
            let replicas = demand.rate * share * stage.load;
            load[stage.variant].0 += replicas;
            if !demand.batch {
                load[stage.variant].1 += replicas;
            }
            if demand.rate > 0.0 && share > 0.0 && plan.replicas[stage.variant] == 0 {
                found.push(Violation::NoReplica {
                    route: ordinal,
                    variant: problem.variants[stage.variant].name.clone(),
                });
            }
        }
    }
    for ((option, &replicas), (all, interactive)) in
        problem.variants.iter().zip(&plan.replicas).zip(load)
    {
        if exceeds(all, f64::from(replicas)) {
            found.push(Violation::Overload {
                variant: option.name.clone(),
                load: all,
                replicas,
            });
        }
        let allowed = option.fill * f64::from(replicas);
        if exceeds(interactive, allowed) {
            found.push(Violation::Overfill {
                variant: option.name.clone(),
                load: interactive,
                allowed,
            });
        }
    }
}

fn check_limits(problem: &Problem, plan: &Plan, found: &mut Vec<Violation>) {
    for limit in &problem.limits {
        let by_replicas: f64 = limit
            .replicas
            .iter()
            .map(|&(v, each)| each * f64::from(plan.replicas[v]))
            .sum();
        let by_flows: f64 = limit
            .flows
            .iter()
            .map(|&(r, each)| {
                each * problem.demands[problem.routes[r].demand].rate * plan.shares[r]
            })
            .sum();
        if exceeds(by_replicas + by_flows, limit.at_most) {
            found.push(Violation::Limit {
                limit: limit.name.clone(),
                used: by_replicas + by_flows,
                at_most: limit.at_most,
            });
        }
    }
}

fn check_money(problem: &Problem, plan: &Plan, found: &mut Vec<Violation>) {
    let recomputed: f64 = problem
        .variants
        .iter()
        .zip(&plan.replicas)
        .map(|(option, &replicas)| option.price * f64::from(replicas))
        .sum();
    if differs(plan.cost, recomputed, TOLERANCE * recomputed.max(1.0)) {
        found.push(Violation::Cost {
            stated: plan.cost,
            recomputed,
        });
    }
    if exceeds(plan.bound, plan.cost) {
        found.push(Violation::Bound {
            bound: plan.bound,
            cost: plan.cost,
        });
    }
}
