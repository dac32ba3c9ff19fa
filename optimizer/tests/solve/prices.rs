//! What limits a plan and what more of it is worth, on problems whose answers can be reasoned out.

use wva_optimizer::prices::{Binding, binding, limit_prices};
use wva_optimizer::problem::Problem;
use wva_optimizer::solve::{SolveSettings, solve};

use crate::instances::{demand, limit, route, variant};

/// 4 requests/s; one replica of either variant carries 1; the cheap one's stock ends at 2.
fn spilling() -> Problem {
    Problem {
        variants: vec![variant("cheap", 2.0, 10), variant("dear", 5.0, 10)],
        demands: vec![demand(4.0, 0)],
        routes: vec![route(0, &[(0, 1.0)]), route(0, &[(1, 1.0)])],
        limits: vec![
            limit("stock:cheap", 2.0, &[(0, 1.0)]),
            limit("stock:dear", 9.0, &[(1, 1.0)]),
        ],
        change_price: 0.0,
    }
}

#[test]
fn one_more_device_saves_the_difference_of_prices() {
    let problem = spilling();
    let plan = solve(&problem, &SolveSettings::default()).expect("well formed");
    let found = limit_prices(&problem, &plan, &SolveSettings::default()).expect("well formed");
    assert_eq!(found.len(), 1, "{found:?}");
    let price = &found[0];
    assert_eq!((price.limit, price.more), (0, 1.0));
    assert!(
        (price.saves - 3.0).abs() < 1e-9 && price.serves.abs() < 1e-9,
        "{price:?}"
    );
}

#[test]
fn a_budget_is_worth_what_it_serves() {
    let mut problem = spilling();
    problem.limits = vec![limit("budget", 6.0, &[(0, 2.0), (1, 5.0)])];
    let plan = solve(&problem, &SolveSettings::default()).expect("well formed");
    let found = limit_prices(&problem, &plan, &SolveSettings::default()).expect("well formed");
    assert_eq!(found[0].more, 2.0);
    assert!(
        (found[0].serves - 1.0).abs() < 1e-5 && (found[0].saves + 2.0).abs() < 1e-9,
        "{found:?}"
    );
}

#[test]
fn bounds_bind_by_name() {
    let mut problem = spilling();
    problem.variants[0].max = 2;
    problem.variants[1].min = 5;
    problem.limits.clear();
    let plan = solve(&problem, &SolveSettings::default()).expect("well formed");
    assert_eq!(plan.replicas, [0, 5]);
    assert!(matches!(
        binding(&problem, &plan)[..],
        [Binding::Least { variant: 1, replicas: 5, load }] if (load - 4.0).abs() < 1e-6
    ));
    problem.variants[1].min = 0;
    let plan = solve(&problem, &SolveSettings::default()).expect("well formed");
    assert_eq!(
        binding(&problem, &plan),
        [Binding::Most {
            variant: 0,
            replicas: 2
        }]
    );
}
