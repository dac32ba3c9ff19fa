//! The verifier catches every way of tampering with a sound plan.

use wva_optimizer::plan::Plan;
use wva_optimizer::problem::Problem;
use wva_optimizer::solve::{SolveSettings, solve};
use wva_optimizer::verify::verify;

use crate::instances::{demand, limit, route, variant};

/// 4 requests/s on two variants that carry 1 each, 2 of the cheap one, filled to 0.9.
fn sound() -> (Problem, Plan) {
    let mut problem = Problem {
        variants: vec![variant("cheap", 2.0, 10), variant("dear", 5.0, 10)],
        demands: vec![demand(4.0, 0)],
        routes: vec![route(0, &[(0, 1.0)]), route(0, &[(1, 1.0)])],
        limits: vec![limit("stock:cheap", 2.0, &[(0, 1.0)])],
        change_price: 0.0,
    };
    problem.variants[1].fill = 0.9;
    let plan = solve(&problem, &SolveSettings::default()).expect("well formed");
    assert_eq!(verify(&problem, &plan), vec![]);
    (problem, plan)
}

fn codes(change: impl Fn(&mut Problem, &mut Plan)) -> Vec<&'static str> {
    let (mut problem, mut plan) = sound();
    change(&mut problem, &mut plan);
    verify(&problem, &plan).iter().map(|v| v.code()).collect()
}

#[test]
fn every_kind_of_tampering_is_named() {
    assert_eq!(codes(|_, plan| plan.shares.push(0.0)), ["plan-shape"]);
    assert_eq!(
        codes(|problem, _| problem.variants[0].max = 1),
        ["replica-bounds"]
    );
    assert!(codes(|_, plan| plan.shares[0] = f64::NAN).contains(&"share-range"));
    assert!(codes(|_, plan| plan.shares[0] = -0.1).contains(&"share-range"));
    assert_eq!(codes(|_, plan| plan.unmet[0] = 0.2), ["share-balance"]);
    assert_eq!(
        codes(|problem, _| problem.demands[0].rate = 4.5),
        ["overload", "overfill"]
    );
    assert_eq!(
        codes(|problem, _| problem.variants[1].fill = 0.5),
        ["overfill"]
    );
    assert!(codes(|_, plan| plan.replicas[1] = 0).contains(&"no-replica"));
    assert_eq!(
        codes(|problem, _| problem.limits[0].at_most = 1.0),
        ["limit-exceeded"]
    );
    assert_eq!(
        codes(|_, plan| plan.cost -= 1.0),
        ["cost-mismatch", "bound-above-cost"]
    );
    assert_eq!(codes(|_, plan| plan.bound = f64::NAN), ["bound-above-cost"]);
}

#[test]
fn violations_say_the_figures() {
    let (mut problem, plan) = sound();
    problem.limits[0].at_most = 1.0;
    let text = verify(&problem, &plan)[0].to_string();
    assert_eq!(text, "stock:cheap is 2, above 1");
}
