//! The published value against a copy of the HPA's rule.

use proptest::prelude::*;
use rstest::rstest;
use wva_controllers::published::tolerance::{Milli, value_for_hpa};

/// What the HPA makes of one External metric with `AverageValue: "1"`: the rule of `GetExternalPerPodMetricReplicas` in
/// Kubernetes 1.34, restated with the same floating-point operations.
fn hpa(status_replicas: u32, total_milli: u64, up: f64, down: f64) -> u64 {
    let target_milli = 1000.0_f64;
    let ratio = total_milli as f64 / (target_milli * f64::from(status_replicas));
    let within = (1.0 - down) <= ratio && ratio <= (1.0 + up);
    if within {
        u64::from(status_replicas)
    } else {
        (total_milli as f64 / target_milli).ceil() as u64
    }
}

/// Every result that some value reaches, by trying all values up to well past both ends.
fn reachable(current: u32, tolerance: f64) -> Vec<u64> {
    let mut all: Vec<u64> = (0..=u64::from(current) * 3_000 + 5_000)
        .map(|v| hpa(current, v, tolerance, tolerance))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[rstest]
#[case::from_twenty_up_one_overshoots_least(20, 21, 0.1, 23)]
#[case::exact_beyond_the_tolerance(20, 23, 0.1, 23)]
#[case::far_up(20, 24, 0.1, 24)]
#[case::small_fleets_are_exact(9, 10, 0.1, 10)]
#[case::on_the_edge(10, 11, 0.1, 12)]
#[case::down_one_cannot_be_had(20, 19, 0.1, 20)]
#[case::down_two_is_exact(20, 18, 0.1, 18)]
#[case::after_an_overshoot(23, 21, 0.1, 21)]
#[case::small_fleets_down(10, 9, 0.1, 9)]
#[case::without_tolerance(20, 21, 0.0, 21)]
#[case::without_tolerance_down(20, 19, 0.0, 19)]
#[case::to_zero(3, 0, 0.1, 0)]
#[case::from_zero(0, 3, 0.1, 3)]
#[case::stays(7, 7, 0.1, 7)]
#[case::stays_at_zero(0, 0, 0.1, 0)]
fn lands(
    #[case] current: u32,
    #[case] desired: u32,
    #[case] tolerance: f64,
    #[case] expected: u64,
) {
    let value = value_for_hpa(current, desired, tolerance);
    assert_eq!(
        hpa(current, value.0, tolerance, tolerance),
        expected,
        "told {value}"
    );
}

#[test]
fn values_print_as_kubernetes_quantities() {
    assert_eq!(Milli::whole(21).to_string(), "21");
    assert_eq!(Milli(20_699).to_string(), "20699m");
    assert_eq!(Milli(0).to_string(), "0");
}

#[test]
fn no_value_does_better() {
    for tolerance in [0.0, 0.01, 0.05, 0.1, 0.2, 0.35] {
        for current in 1..=24 {
            let reachable = reachable(current, tolerance);
            for desired in 0..=current * 2 + 3 {
                let value = value_for_hpa(current, desired, tolerance);
                let landed = hpa(current, value.0, tolerance, tolerance);
                let best = reachable.iter().copied().find(|&r| r >= u64::from(desired));
                assert_eq!(Some(landed), best, "{current} to {desired} at {tolerance}");
            }
        }
    }
}

proptest! {
    #[test]
    fn never_below_what_is_desired_and_exact_where_possible(
        current in 0_u32..5_000, desired in 0_u32..5_000, tolerance in 0.0_f64..0.99,
    ) {
        let value = value_for_hpa(current, desired, tolerance);
        let landed = hpa(current, value.0, tolerance, tolerance);
        prop_assert!(landed >= u64::from(desired));
        if f64::from(desired) > f64::from(current) * (1.0 + tolerance) + 1e-6
            || desired == current
            || (f64::from(desired) - 0.999 < f64::from(current) * (1.0 - tolerance) - 0.002 && desired < current)
        {
            prop_assert_eq!(landed, u64::from(desired));
        }
        // Overshoot is bounded by the tolerance; a move is never away from the goal.
        prop_assert!(landed <= u64::from(desired.max(current)).max((f64::from(current) * (1.0 + tolerance)) as u64 + 1));
        if desired <= current { prop_assert!(landed <= u64::from(current)); }
    }

    #[test]
    fn a_second_sync_with_the_same_value_changes_nothing(
        current in 0_u32..5_000, desired in 0_u32..5_000, tolerance in 0.0_f64..0.99,
    ) {
        let value = value_for_hpa(current, desired, tolerance);
        let landed = hpa(current, value.0, tolerance, tolerance);
        let again = hpa(u32::try_from(landed).unwrap(), value.0, tolerance, tolerance);
        prop_assert_eq!(again, landed);
    }

    #[test]
    fn following_the_value_settles(
        start in 0_u32..2_000, desired in 1_u32..2_000, tolerance in 0.0_f64..0.3,
    ) {
        let mut current = start;
        for _ in 0..3 {
            let value = value_for_hpa(current, desired, tolerance);
            current = u32::try_from(hpa(current, value.0, tolerance, tolerance)).unwrap();
        }
        let value = value_for_hpa(current, desired, tolerance);
        prop_assert_eq!(hpa(current, value.0, tolerance, tolerance), u64::from(current));
        prop_assert!(f64::from(current) - f64::from(desired) <= f64::from(current) * tolerance + 1.0);
    }

    #[test]
    fn a_smaller_tolerance_than_feared_still_moves_the_right_way(
        current in 1_u32..2_000, desired in 0_u32..2_000, feared in 0.0_f64..0.5, share in 0.0_f64..1.0,
    ) {
        let real = feared * share;
        let value = value_for_hpa(current, desired, feared);
        let landed = hpa(current, value.0, real, real);
        prop_assert!(landed >= u64::from(desired));
    }

    #[test]
    fn absurd_tolerances_are_survived(current: u32, desired: u32, tolerance: f64) {
        let value = value_for_hpa(current, desired, tolerance);
        let rounded = value.0.div_ceil(1000);
        prop_assert!(rounded >= u64::from(desired));
    }
}
