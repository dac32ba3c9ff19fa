//! The two-accelerator example of Mélange (Griggs et al. 2024, arXiv 2404.14527), with the throughputs (2, 1, 5, 2) at
//! 1.01 $/h and (20, 20, 40, 20) at 3.67 $/h, at rates 6, 3, 15 and 6 requests/s.

use wva_optimizer::problem::Problem;
use wva_optimizer::solve::{SolveSettings, solve};

use crate::instances::{demand, route, variant};
use crate::oracle::exact;

const RATES: [f64; 4] = [6.0, 3.0, 15.0, 6.0];
const SMALL: [f64; 4] = [2.0, 1.0, 5.0, 2.0];
const LARGE: [f64; 4] = [20.0, 20.0, 40.0, 20.0];

fn toy(scale: f64) -> Problem {
    let mut problem = Problem {
        variants: vec![
            variant("a10g", 1.01, 100_000),
            variant("a100", 3.67, 100_000),
        ],
        ..Problem::default()
    };
    for (d, rate) in RATES.iter().enumerate() {
        problem.demands.push(demand(rate * scale, 0));
        problem.routes.push(route(d, &[(0, 1.0 / SMALL[d])]));
        problem.routes.push(route(d, &[(1, 1.0 / LARGE[d])]));
    }
    problem
}

/// Cheapest plan when each bucket comes in `slices` indivisible pieces, by enumeration.
fn sliced(slices: u32) -> f64 {
    let pieces = 4 * slices;
    let cost = |mask: u32| {
        let (mut small, mut large) = (0.0, 0.0);
        for piece in 0..pieces {
            let bucket = (piece / slices) as usize;
            let rate = RATES[bucket] / f64::from(slices);
            if mask >> piece & 1 == 1 {
                small += rate / SMALL[bucket];
            } else {
                large += rate / LARGE[bucket];
            }
        }
        let up = |x: f64| (x - 1e-9).ceil();
        1.01 * up(small) + 3.67 * up(large)
    };
    (0..1u32 << pieces).map(cost).fold(f64::INFINITY, f64::min)
}

#[test]
fn splitting_traffic_beats_slicing_it() {
    assert!((sliced(1) - 6.70).abs() < 1e-9);
    assert!((sliced(2) - 5.69).abs() < 1e-9);
    let plan = solve(&toy(1.0), &exact()).expect("well formed");
    assert!((plan.cost - 4.68).abs() < 1e-9, "{plan:?}");
    assert_eq!(plan.replicas, [1, 1]);
}

#[test]
fn relaxation_costs_what_the_paper_instance_implies() {
    // Scaled up, whole replicas stop mattering: cost per unit of demand tends to the bound of the relaxation.
    let plan = solve(&toy(1000.0), &SolveSettings::default()).expect("well formed");
    assert!(
        (plan.cost / 1000.0 - 4.12875).abs() < 4.12875 * 0.005,
        "{plan:?}"
    );
    assert!((plan.bound / 1000.0 - 4.12875).abs() < 0.01, "{plan:?}");
}
