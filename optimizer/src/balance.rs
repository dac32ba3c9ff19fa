//! Shares of traffic for the fleet as it is: the busiest variant as little busy as can be.
//!
//! A plan's shares belong to the fleet that it wants. While replicas are on their way, or rounding up left some with
//! room, those shares overload one path beside another that idles. Routers that see load balance between replicas of one
//! path by themselves; between a pair of prefill and decode variants and an aggregated one they need a weight, and this
//! gives it: min u subject to Σ rate·share·load ≤ u·ready for every variant, a linear program with one variable a route.

use good_lp::solvers::microlp::microlp;
use good_lp::{Expression, Solution, SolverModel, Variable, constraint, variable, variables};

use crate::problem::Problem;

/// Shares by route for the interactive demands of `model`, given the replicas of each variant that serve: those of one
/// demand add up to 1. `None` where some demand has no route that serves, or nothing is asked for.
pub(crate) fn balanced(problem: &Problem, model: &str, ready: &[u32]) -> Option<Vec<(usize, f64)>> {
    let (_, shares) = spread(problem, model, ready, |d| !problem.demands[d].batch)?;
    Some(shares)
}

/// Whether so many replicas of each variant carry all that is asked for of `model`, batch work included.
pub(crate) fn suffices(problem: &Problem, model: &str, replicas: &[u32]) -> bool {
    spread(problem, model, replicas, |_| true).is_some_and(|(busiest, _)| busiest <= 1.0 + 1e-6)
}

/// The load of the busiest variant over what it carries, as little as can be, and the share of each route then.
fn spread(
    problem: &Problem,
    model: &str,
    ready: &[u32],
    counts: impl Fn(usize) -> bool,
) -> Option<(f64, Vec<(usize, f64)>)> {
    let asked = |d: usize| {
        let demand = &problem.demands[d];
        demand.model == model && demand.rate > 0.0 && counts(d)
    };
    let mut vars = variables!();
    let busiest = vars.add(variable().min(0.0));
    let mut used: Vec<(usize, Variable)> = Vec::new();
    for (r, route) in problem.routes.iter().enumerate() {
        let serves = |v: usize| ready.get(v).is_some_and(|&n| n > 0);
        if asked(route.demand) && route.stages.iter().all(|s| serves(s.variant)) {
            used.push((r, vars.add(variable().min(0.0).max(1.0))));
        }
    }
    let mut program = vars.minimise(busiest).using(microlp);
    for d in (0..problem.demands.len()).filter(|&d| asked(d)) {
        let of_demand = used.iter().filter(|(r, _)| problem.routes[*r].demand == d);
        let shares: Vec<Variable> = of_demand.map(|&(_, share)| share).collect();
        if shares.is_empty() {
            return None;
        }
        let total: Expression = shares.into_iter().sum();
        program = program.with(constraint!(total == 1.0));
    }
    for (v, &n) in ready.iter().enumerate().filter(|&(_, &n)| n > 0) {
        let (mut load, mut interactive) = (Expression::from(0.0), Expression::from(0.0));
        for &(r, share) in &used {
            let route = &problem.routes[r];
            let rate = problem.demands[route.demand].rate;
            for stage in route.stages.iter().filter(|s| s.variant == v) {
                load += rate * stage.load * share;
                if !problem.demands[route.demand].batch {
                    interactive += rate * stage.load * share;
                }
            }
        }
        let (all, fill) = (
            f64::from(n),
            problem.variants.get(v).map_or(1.0, |v| v.fill),
        );
        program = program.with(constraint!(load <= all * busiest));
        program = program.with(constraint!(interactive <= fill * all * busiest));
    }
    if used.is_empty() {
        return None;
    }
    let solution = program.solve().ok()?;
    let shares = used
        .iter()
        .map(|&(r, share)| (r, solution.value(share).clamp(0.0, 1.0)));
    Some((solution.value(busiest), shares.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Demand, Route, Stage};

    fn problem() -> Problem {
        let stage = |variant, load| Stage { variant, load };
        let route = |stages| Route { demand: 0, stages };
        Problem {
            demands: vec![Demand {
                model: "m".into(),
                class: "c".into(),
                bucket: 0,
                priority: 0,
                rate: 10.0,
                batch: false,
            }],
            routes: vec![
                route(vec![stage(0, 0.25), stage(1, 0.1)]),
                route(vec![stage(2, 0.5)]),
            ],
            ..Problem::default()
        }
    }

    #[test]
    fn the_bottleneck_gives_way_to_the_idle_path() {
        let shares = balanced(&problem(), "m", &[4, 1, 2]).unwrap();
        // Decode carries 10 rps a replica, the two aggregated ones 4: in proportion both are equally busy.
        assert!((shares[0].1 - 10.0 / 14.0).abs() < 1e-6, "{shares:?}");
        assert!((shares[1].1 - 4.0 / 14.0).abs() < 1e-6, "{shares:?}");
    }

    #[test]
    fn a_fleet_suffices_while_nothing_is_more_than_full() {
        // 4 rps a prefill replica, 10 a decode replica, 2 an aggregated one, for 10 rps.
        assert!(suffices(&problem(), "m", &[2, 1, 1]));
        assert!(!suffices(&problem(), "m", &[2, 1, 0]));
        assert!(suffices(&problem(), "m", &[0, 0, 5]));
        assert!(!suffices(&problem(), "m", &[9, 0, 4]));
        assert!(!suffices(&problem(), "m", &[0, 0, 0]));
    }

    #[test]
    fn batch_work_may_take_what_interactive_work_may_not() {
        let option = |fill| crate::problem::VariantOption {
            name: "v".into(),
            price: 1.0,
            min: 0,
            max: 9,
            current: 0,
            fill,
        };
        let mut problem = Problem {
            variants: vec![option(1.0), option(1.0), option(0.8)],
            ..problem()
        };
        assert!(!suffices(&problem, "m", &[0, 0, 5]));
        problem.demands[0].batch = true;
        assert!(suffices(&problem, "m", &[0, 0, 5]));
    }

    #[test]
    fn paths_without_replicas_get_nothing() {
        assert_eq!(balanced(&problem(), "m", &[4, 0, 2]), Some(vec![(1, 1.0)]));
        assert_eq!(balanced(&problem(), "m", &[4, 0, 0]), None);
        assert_eq!(balanced(&problem(), "other", &[4, 1, 2]), None);
    }
}
