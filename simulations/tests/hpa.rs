//! The HorizontalPodAutoscaler: tolerance, windows and rate limits as Kubernetes documents them.

use rstest::rstest;
use wva_simulations::hpa::{Hpa, HpaSpec, Metric};

fn average(total: f64) -> [Option<Metric<'static>>; 1] {
    [Some(Metric::AverageValue { total, target: 1.0 })]
}

#[test]
fn default_tolerance_swallows_one_more_replica_of_twenty() {
    let mut hpa = Hpa::new(HpaSpec::kubernetes_default(1, 100));
    assert_eq!(hpa.sync(0.0, 20, &average(21.0)), 20);
    assert_eq!(
        hpa.sync(15.0, 20, &average(22.0)),
        20,
        "exactly 10 % is tolerated"
    );
    assert_eq!(hpa.sync(30.0, 20, &average(23.0)), 23);
}

#[test]
fn zero_tolerance_obeys_one_more_replica_of_twenty() {
    let mut hpa = Hpa::new(HpaSpec::transparent());
    assert_eq!(hpa.sync(0.0, 20, &average(21.0)), 21);
    assert_eq!(hpa.sync(15.0, 21, &average(20.0)), 20, "no window either");
    assert_eq!(hpa.sync(30.0, 20, &average(0.0)), 0);
    assert_eq!(hpa.sync(45.0, 0, &average(2.0)), 2);
}

#[test]
fn scale_up_is_limited_to_doubling_or_four_pods_in_fifteen_seconds() {
    let mut hpa = Hpa::new(HpaSpec::kubernetes_default(1, 100));
    assert_eq!(hpa.sync(0.0, 1, &average(50.0)), 5);
    assert_eq!(
        hpa.sync(5.0, 5, &average(50.0)),
        5,
        "four pods were added in this period"
    );
    assert_eq!(hpa.sync(15.0, 5, &average(50.0)), 10);
    assert_eq!(hpa.sync(30.0, 10, &average(50.0)), 20);
    assert_eq!(hpa.sync(45.0, 20, &average(50.0)), 40);
    assert_eq!(hpa.sync(60.0, 40, &average(50.0)), 50);
    assert_eq!(hpa.sync(75.0, 50, &average(200.0)), 100, "bounded by max");
}

#[test]
fn scale_down_waits_for_the_window_and_takes_its_greatest_recommendation() {
    let mut hpa = Hpa::new(HpaSpec::kubernetes_default(1, 100));
    assert_eq!(hpa.sync(0.0, 10, &average(10.0)), 10);
    assert_eq!(hpa.sync(15.0, 10, &average(2.0)), 10);
    assert_eq!(hpa.sync(150.0, 10, &average(6.0)), 10);
    assert_eq!(
        hpa.sync(310.0, 10, &average(3.0)),
        6,
        "the 10 left the window, the 6 did not"
    );
    assert_eq!(hpa.sync(455.0, 6, &average(3.0)), 3);
}

#[test]
fn a_new_autoscaler_does_not_scale_down_at_once() {
    let mut hpa = Hpa::new(HpaSpec::kubernetes_default(1, 100));
    assert_eq!(hpa.sync(0.0, 10, &average(1.0)), 10);
    assert_eq!(hpa.sync(300.0, 10, &average(1.0)), 1);
}

#[test]
fn unreadable_metrics_veto_scaling_down_only() {
    let mut hpa = Hpa::new(HpaSpec::transparent());
    let low = Metric::AverageValue {
        total: 2.0,
        target: 1.0,
    };
    let high = Metric::AverageValue {
        total: 9.0,
        target: 1.0,
    };
    assert_eq!(hpa.sync(0.0, 5, &[None]), 5);
    assert_eq!(hpa.sync(15.0, 5, &[None, Some(low)]), 5);
    assert_eq!(hpa.sync(30.0, 5, &[None, Some(high)]), 9);
    assert_eq!(
        hpa.sync(45.0, 5, &[Some(low), Some(high)]),
        9,
        "the greatest proposal wins"
    );
}

#[rstest]
#[case::plain(&[10.0, 10.0], 0, 0, 2, 4)]
#[case::tolerated(&[5.2, 5.2], 0, 0, 2, 2)]
#[case::one_starting_counts_as_zero(&[10.0, 10.0], 1, 0, 3, 4)]
#[case::starting_pods_hold_back_what_they_will_solve(&[7.0, 7.0], 2, 0, 4, 4)]
#[case::missing_counts_as_target_on_the_way_down(&[1.0, 1.0], 0, 2, 4, 3)]
fn pods_metric_dampens(
    #[case] values: &[f64],
    #[case] unready: u32,
    #[case] missing: u32,
    #[case] current: u32,
    #[case] expected: u32,
) {
    let metric = Metric::Pods {
        values,
        unready,
        missing,
        target: 5.0,
    };
    let mut spec = HpaSpec::kubernetes_default(1, 100);
    spec.behavior.down.window_s = 0.0;
    assert_eq!(Hpa::new(spec).sync(0.0, current, &[Some(metric)]), expected);
}

#[test]
fn value_metric_scales_ready_replicas() {
    let mut hpa = Hpa::new(HpaSpec::kubernetes_default(1, 100));
    let metric = Metric::Value {
        value: 0.9,
        target: 0.6,
        ready: 4,
    };
    assert_eq!(hpa.sync(0.0, 4, &[Some(metric)]), 6);
}

#[test]
fn out_of_bounds_is_corrected_at_once_and_manual_zero_switches_off() {
    let mut hpa = Hpa::new(HpaSpec::kubernetes_default(2, 10));
    assert_eq!(hpa.sync(0.0, 1, &average(5.0)), 2);
    assert_eq!(hpa.sync(1.0, 12, &average(5.0)), 10);
    assert_eq!(hpa.sync(2.0, 0, &average(5.0)), 0);
}
