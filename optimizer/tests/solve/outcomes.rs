//! What cannot be done is an outcome or a named error, never a panic.

use wva_optimizer::plan::Plan;
use wva_optimizer::problem::{Problem, ProblemError};
use wva_optimizer::solve::{SolveSettings, solve};
use wva_optimizer::verify::verify;

use crate::instances::{demand, limit, route, variant};

fn sound(problem: &Problem) -> Plan {
    let plan = solve(problem, &SolveSettings::default()).expect("well formed");
    assert_eq!(verify(problem, &plan), vec![]);
    plan
}

/// One variant at 2 $/h that carries 1 request/s a replica, and one demand.
fn single(rate: f64, max: u32) -> Problem {
    Problem {
        variants: vec![variant("a", 2.0, max)],
        demands: vec![demand(rate, 0)],
        routes: vec![route(0, &[(0, 1.0)])],
        ..Problem::default()
    }
}

#[test]
fn an_empty_problem_has_an_empty_plan() {
    let plan = sound(&Problem::default());
    assert_eq!((plan.cost, plan.gap(), plan.serves_all()), (0.0, 0.0, true));
}

#[test]
fn whole_replicas_cover_the_demand() {
    let plan = sound(&single(2.5, 10));
    assert_eq!((plan.replicas[0], plan.cost), (3, 6.0));
    assert_eq!(sound(&single(3.0, 10)).replicas, [3]);
}

#[test]
fn no_demand_needs_no_replica_but_has_a_route_for_its_first_request() {
    let plan = sound(&single(0.0, 10));
    assert_eq!(
        (plan.replicas[0], plan.shares[0], plan.unmet[0]),
        (0, 1.0, 0.0)
    );
}

#[test]
fn a_trickle_of_demand_still_gets_a_replica() {
    let plan = sound(&single(1e-9, 10));
    assert_eq!((plan.replicas[0], plan.serves_all()), (1, true));
}

#[test]
fn a_demand_without_a_route_is_unmet() {
    let mut problem = single(1.0, 10);
    problem.demands.push(demand(1.0, 9));
    let plan = sound(&problem);
    assert_eq!(plan.unmet, [0.0, 1.0]);
    assert_eq!(plan.replicas, [1]);
}

#[test]
fn stock_out_leaves_the_less_important_demand_unmet() {
    let mut problem = single(2.0, 10);
    problem.demands.push(demand(2.0, 5));
    problem.routes.push(route(1, &[(0, 1.0)]));
    problem.limits.push(limit("stock:H100", 3.0, &[(0, 1.0)]));
    let plan = sound(&problem);
    assert_eq!(plan.replicas, [3]);
    assert!(
        (plan.unmet[0] - 0.5).abs() < 1e-4 && plan.unmet[1] < 1e-5,
        "{plan:?}"
    );
}

#[test]
fn stock_out_spills_to_the_dearer_variant() {
    let mut problem = single(4.0, 10);
    problem.variants.push(variant("b", 5.0, 10));
    problem.routes.push(route(0, &[(1, 1.0)]));
    problem.limits.push(limit("stock:A", 3.0, &[(0, 1.0)]));
    let plan = sound(&problem);
    assert_eq!(
        (plan.replicas.as_slice(), plan.cost),
        ([3, 1].as_slice(), 11.0)
    );
}

#[test]
fn batch_fills_what_interactive_work_may_not() {
    let mut problem = single(1.6, 10);
    problem.variants[0].fill = 0.8;
    problem.demands.push(demand(0.4, 0));
    problem.demands[1].batch = true;
    problem.routes.push(route(1, &[(0, 1.0)]));
    assert_eq!(sound(&problem).replicas, [2]);
    problem.demands[1].batch = false;
    assert_eq!(sound(&problem).replicas, [3]);
}

#[test]
fn prefill_and_decode_are_bought_in_step() {
    let problem = Problem {
        variants: vec![variant("prefill", 3.0, 10), variant("decode", 1.0, 10)],
        demands: vec![demand(10.0, 0)],
        routes: vec![route(0, &[(0, 0.25), (1, 0.5)])],
        ..Problem::default()
    };
    assert_eq!(sound(&problem).replicas, [3, 5]);
    let mut short = problem;
    short.variants[0].max = 1;
    let plan = sound(&short);
    assert_eq!(plan.replicas, [1, 2]);
    assert!((plan.unmet[0] - 0.6).abs() < 1e-5);
}

#[test]
fn a_change_must_pay_for_itself() {
    let mut problem = single(2.0, 10);
    problem.variants[0].current = 2;
    problem.variants.push(variant("b", 1.5, 10));
    problem.routes.push(route(0, &[(1, 1.0)]));
    problem.change_price = 0.3;
    assert_eq!(sound(&problem).replicas, [2, 0]);
    problem.change_price = 0.2;
    assert_eq!(sound(&problem).replicas, [0, 2]);
}

#[test]
fn huge_numbers_are_outcomes() {
    let plan = sound(&single(1e12, 1_000_000));
    assert!(plan.unmet[0] > 0.99, "{plan:?}");
    let plan = sound(&single(1e9, u32::MAX));
    assert!(plan.cost.is_finite());
    let mut wide = single(1e6, u32::MAX);
    wide.variants[0].price = 1e12;
    wide.limits.push(limit("budget", 1e12, &[(0, 1e12)]));
    assert_eq!(sound(&wide).replicas, [1]);
}

#[test]
fn no_time_still_yields_a_plan() {
    let settings = SolveSettings {
        time_limit: wva_models::units::Seconds::ZERO,
        ..SolveSettings::default()
    };
    let plan = solve(&single(2.5, 10), &settings).expect("well formed");
    assert_eq!((plan.replicas[0], plan.cut_short), (3, true));
}

#[test]
fn malformed_problems_are_named() {
    let mut problem = single(f64::NAN, 10);
    assert!(matches!(
        problem.validate(),
        Err(ProblemError::Number {
            quantity: "rate",
            ..
        })
    ));
    problem = single(1.0, 10);
    problem.routes[0].stages[0].variant = 7;
    assert!(matches!(
        problem.validate(),
        Err(ProblemError::Ordinal {
            what: "variant",
            ordinal: 7,
            ..
        })
    ));
    problem = single(1.0, 10);
    problem.variants[0].min = 11;
    assert!(matches!(
        problem.validate(),
        Err(ProblemError::Bounds { .. })
    ));
    problem = single(1.0, 10);
    problem.routes[0].stages.clear();
    assert!(matches!(
        problem.validate(),
        Err(ProblemError::EmptyRoute { route: 0 })
    ));
}

#[test]
fn minimums_above_stock_are_lowered_by_name() {
    let mut problem = single(1.0, 10);
    problem.variants[0].min = 4;
    problem.variants.push(variant("b", 1.0, 10));
    problem.variants[1].min = 4;
    problem
        .limits
        .push(limit("stock:A", 5.0, &[(0, 1.0), (1, 1.0)]));
    assert!(matches!(
        solve(&problem, &SolveSettings::default()),
        Err(ProblemError::MinimumsExceedLimit { .. })
    ));
    let (fixed, lowered) = problem.reconcile();
    assert_eq!(lowered.len(), 2);
    assert!(
        lowered
            .iter()
            .all(|c| c.with == "stock:A" && c.asked == 4 && c.kept >= 2)
    );
    assert_eq!(sound(&fixed).replicas.iter().sum::<u32>(), 5);
}
