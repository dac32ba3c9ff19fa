//! Laws of cost and service on random problems.

use proptest::prelude::*;
use wva_models::units::Seconds;
use wva_optimizer::plan::Rung;
use wva_optimizer::problem::Problem;
use wva_optimizer::solve::{SolveSettings, solve};
use wva_optimizer::verify::verify;

use crate::instances::{Draws, demand, fleet, route, small, variant};
use crate::oracle::exact;

/// A random problem of one to three models without price of change, in which everything can be served.
fn servable(seed: u64) -> Problem {
    let mut draws = Draws(seed ^ 0xA5A5);
    let (models, demands) = (draws.whole(1, 3), draws.whole(1, 3));
    fleet(seed, models, demands, 3, None)
}

fn cost(problem: &Problem) -> f64 {
    solve(problem, &exact()).expect("well formed").cost
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_plan_passes_the_verifier(seed: u64, models in 1usize..5, stock in 0.0f64..12.0) {
        for problem in [small(seed), fleet(seed, models, 3, 3, Some(stock.floor()))] {
            let plan = solve(&problem, &SolveSettings::default()).expect("well formed");
            prop_assert_eq!(verify(&problem, &plan), vec![]);
            prop_assert!(plan.bound <= plan.cost + 1e-9);
        }
    }

    #[test]
    fn solving_is_deterministic(seed: u64) {
        let problem = small(seed);
        let settings = SolveSettings::default();
        prop_assert_eq!(solve(&problem, &settings), solve(&problem, &settings));
    }

    #[test]
    fn the_program_beats_the_heuristics(seed: u64) {
        let problem = servable(seed);
        let no_time = SolveSettings { time_limit: Seconds::ZERO, ..exact() };
        let greedy = solve(&problem, &no_time).expect("well formed");
        let best = solve(&problem, &exact()).expect("well formed");
        prop_assert!(greedy.serves_all() && greedy.rung != Rung::Milp);
        prop_assert!(best.bound <= best.cost + 1e-6 && best.cost <= greedy.cost + 1e-6);
        prop_assert!(greedy.cost <= 2.0 * best.cost + 20.0, "{} {}", greedy.cost, best.cost);
    }

    #[test]
    fn another_variant_never_costs_more(seed: u64, price in 0.5f64..5.0, load in 0.05f64..0.6) {
        let mut problem = servable(seed);
        let before = cost(&problem);
        problem.variants.push(variant("new", price, 100));
        let v = problem.variants.len() - 1;
        problem.routes.push(route(0, &[(v, load)]));
        prop_assert!(cost(&problem) <= before + 1e-6);
    }

    #[test]
    fn more_demand_never_costs_less(seed: u64, which: prop::sample::Index, by in 1.0f64..3.0) {
        let mut problem = servable(seed);
        let before = cost(&problem);
        let d = which.index(problem.demands.len());
        problem.demands[d].rate *= by;
        prop_assert!(cost(&problem) >= before - 1e-6);
    }

    #[test]
    fn heavier_requests_never_cost_less(seed: u64, which: prop::sample::Index, by in 1.0f64..3.0) {
        let mut problem = servable(seed);
        let before = cost(&problem);
        let r = which.index(problem.routes.len());
        problem.routes[r].stages[0].load *= by;
        prop_assert!(cost(&problem) >= before - 1e-6);
    }

    #[test]
    fn scaling_prices_scales_the_cost(seed: u64, by in 0.01f64..100.0) {
        let mut problem = servable(seed);
        let before = cost(&problem);
        for v in &mut problem.variants {
            v.price *= by;
        }
        prop_assert!((cost(&problem) - by * before).abs() <= 1e-6 * by * before.max(1.0));
    }
}

/// Forty models whose joint limits are too many columns for one program: the limits are priced.
#[test]
fn priced_limits_stay_near_the_bound() {
    for (seed, stock) in [(1, 90.0), (2, 70.0), (3, 60.0)] {
        let problem = fleet(seed, 40, 3, 3, Some(stock));
        let slack = solve(&fleet(seed, 40, 3, 3, None), &SolveSettings::default());
        let plan = solve(&problem, &SolveSettings::default()).expect("well formed");
        assert_eq!(verify(&problem, &plan), vec![]);
        assert!(
            plan.cost > slack.expect("well formed").cost,
            "the stock binds"
        );
        assert!(!plan.serves_all() || plan.gap() < 0.02, "{}", plan.gap());
    }
}

/// When stock is short the more important level is never worse off than when it is alone.
#[test]
fn short_stock_goes_to_the_important_level() {
    let problem = fleet(5, 40, 4, 3, Some(25.0));
    let plan = solve(&problem, &SolveSettings::default()).expect("well formed");
    let mut alone = problem.clone();
    for demand in alone.demands.iter_mut().filter(|d| d.priority == 0) {
        demand.rate = 0.0;
    }
    let only = solve(&alone, &SolveSettings::default()).expect("well formed");
    let unmet = |plan: &wva_optimizer::plan::Plan| -> f64 {
        let pairs = problem.demands.iter().zip(&plan.unmet);
        pairs
            .filter(|(d, _)| d.priority == 1)
            .map(|(d, u)| d.rate * u)
            .sum()
    };
    assert!(!plan.serves_all());
    assert!(
        unmet(&plan) <= unmet(&only) + 0.01 * 120.0,
        "{} {}",
        unmet(&plan),
        unmet(&only)
    );
}

/// A demand that nothing can serve is no excuse to drop another of its level.
#[test]
fn hopeless_demand_does_not_loosen_the_rest() {
    let mut problem = fleet(1, 40, 3, 3, Some(90.0));
    let served = problem.demands.len();
    for _ in 0..3 {
        problem.demands.push(demand(50.0, 1));
        problem.demands.push(demand(50.0, 0));
    }
    // Inside a block, too: a route through a variant that may have no replica.
    let closed = problem.variants.len();
    problem.variants.push(variant("closed", 1.0, 0));
    problem.demands.push(demand(9.0, 0));
    problem
        .routes
        .push(route(served + 6, &[(0, 0.1), (closed, 0.1)]));
    let plan = solve(&problem, &SolveSettings::default()).expect("well formed");
    assert_eq!(verify(&problem, &plan), vec![]);
    assert!(
        plan.unmet[..served].iter().all(|&u| u < 1e-5),
        "{:?}",
        plan.unmet
    );
    assert!(plan.unmet[served..].iter().all(|&u| u == 1.0));
    assert!(plan.gap() < 0.02, "{}", plan.gap());
}
