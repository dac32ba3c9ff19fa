//! Targets follow plans: up at once, down late, within limits, never before the replacement serves, never to and fro.

use proptest::prelude::*;
use wva_models::variant::Role;
use wva_optimizer::stabilise::{
    History, RateLimit, Situation, StabiliseSettings, Turnover, decide, keep_until_replaced,
};

/// Follows a sequence of plans in 15 s cycles, everything ready at once; the targets.
fn follow(settings: &StabiliseSettings, start: u32, plans: &[u32]) -> Vec<u32> {
    follow_each(settings, start, plans, false)
}

/// The same; with `swap`, today's fleet would always do.
fn follow_each(settings: &StabiliseSettings, start: u32, plans: &[u32], swap: bool) -> Vec<u32> {
    let (mut history, mut current) = (History::default(), start);
    let mut targets = Vec::new();
    for (i, &planned) in plans.iter().enumerate() {
        let situation = Situation {
            now: 15.0 * i as f64,
            current,
            ready: current,
            planned,
            swap,
        };
        current = decide(&situation, &mut history, settings).0;
        targets.push(current);
    }
    targets
}

fn window(seconds: f64) -> StabiliseSettings {
    StabiliseSettings {
        down_window_seconds: seconds,
        down_agreement: 1.0,
        ..StabiliseSettings::default()
    }
}

#[test]
fn goes_straight_up() {
    assert_eq!(follow(&window(60.0), 2, &[9]), [9]);
}

#[test]
fn goes_down_when_the_window_has_passed_and_to_the_most_that_stood() {
    let targets = follow(&window(60.0), 5, &[5, 3, 2, 2, 2, 2, 2, 2]);
    assert_eq!(targets, [5, 5, 5, 5, 5, 3, 2, 2]);
}

#[test]
fn goes_down_to_what_sufficed_for_most_of_the_window() {
    let settings = StabiliseSettings {
        down_agreement: 0.75,
        ..window(60.0)
    };
    // 5 and 4 alternate: 4 is not enough for three quarters of the time, until it is.
    let targets = follow(&settings, 5, &[5, 4, 5, 4, 5, 4, 4, 4, 4, 4]);
    assert_eq!(targets, [5, 5, 5, 5, 5, 5, 5, 4, 4, 4]);
    // A short peak in a low plateau does not restart the wait; the target never lies below what is wanted now.
    let targets = follow(&settings, 6, &[6, 2, 2, 5, 2, 2, 2]);
    assert_eq!(targets, [6, 6, 6, 6, 5, 2, 2]);
}

#[test]
fn a_swap_waits_as_long_as_a_saving() {
    let targets = follow_each(&window(60.0), 2, &[4, 4, 4, 4, 4, 4], true);
    assert_eq!(targets, [2, 2, 2, 2, 4, 4]);
    // For most of the window 3 were wanted at least, 4 only half of it.
    let settings = StabiliseSettings {
        down_agreement: 0.75,
        ..window(60.0)
    };
    let targets = follow_each(&settings, 2, &[4, 3, 4, 3, 4, 3, 4], true);
    assert_eq!(targets[4..], [3, 3, 3]);
}

#[test]
fn mixes_that_take_turns_are_not_both_held() {
    let plans: Vec<u32> = (0..40).map(|i| if i % 2 == 0 { 4 } else { 0 }).collect();
    let settings = StabiliseSettings::default();
    assert!(
        follow_each(&settings, 0, &plans, true)
            .iter()
            .all(|&t| t == 0)
    );
    assert_eq!(follow(&settings, 0, &plans).last(), Some(&4));
}

#[test]
fn a_short_dip_changes_nothing() {
    let targets = follow(&window(60.0), 5, &[5, 2, 2, 5, 5, 5]);
    assert_eq!(targets, [5; 6]);
}

#[test]
fn an_unknown_past_never_lowers_anything() {
    assert_eq!(follow(&window(60.0), 8, &[1, 1, 1, 1]), [8; 4]);
    assert_eq!(follow(&window(60.0), 8, &[1, 1, 1, 1, 1]), [8, 8, 8, 8, 1]);
    // A gap in the data: what stood before it is taken to have stood until after it.
    let (mut history, settings) = (History::default(), window(60.0));
    let mut at = |now: f64, planned: u32| {
        let situation = Situation {
            now,
            current: 8,
            ready: 8,
            planned,
            swap: false,
        };
        decide(&situation, &mut history, &settings).0
    };
    for now in [0.0, 15.0, 30.0, 45.0, 60.0] {
        assert_eq!(at(now, 8), 8);
    }
    for now in [3600.0, 3615.0, 3630.0, 3645.0] {
        assert_eq!(at(now, 2), 8);
    }
    assert_eq!(at(3660.0, 2), 2);
}

#[test]
fn an_up_window_waits_for_the_least_that_stood() {
    let settings = StabiliseSettings {
        up_window_seconds: 30.0,
        ..StabiliseSettings::default()
    };
    assert_eq!(
        follow(&settings, 2, &[2, 2, 2, 6, 5, 5, 5]),
        [2, 2, 2, 2, 2, 5, 5]
    );
}

#[test]
fn rate_limits_hold_over_their_period() {
    let limit = Some(RateLimit {
        replicas: 2,
        period_seconds: 60.0,
    });
    let settings = StabiliseSettings {
        down_window_seconds: 0.0,
        up_limit: limit,
        down_limit: limit,
        ..StabiliseSettings::default()
    };
    let targets = follow(&settings, 0, &[9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
    assert_eq!(targets, [2, 2, 2, 2, 4, 4, 4, 4, 6, 6]);
    let targets = follow(&settings, 9, &[0, 0, 0, 0, 0, 0]);
    assert_eq!(targets, [7, 7, 7, 7, 5, 5]);
}

#[test]
fn a_held_target_says_why() {
    let mut history = History::default();
    let situation = Situation {
        now: 0.0,
        current: 4,
        ready: 4,
        planned: 1,
        swap: false,
    };
    let (target, reasons) = decide(&situation, &mut history, &window(60.0));
    assert_eq!((target, reasons[0].code.as_str()), (4, "stabilising-down"));
}

fn turnover(role: Role, capacity: f64, current: u32, ready: u32, planned: u32) -> Turnover {
    Turnover {
        role,
        capacity,
        current,
        ready,
        planned,
        target: planned,
    }
}

#[test]
fn the_old_variant_stays_until_the_new_one_serves() {
    let targets = |ready: u32| {
        let mut variants = [
            turnover(Role::Both, 1.0, 10, 10, 0),
            turnover(Role::Both, 2.0, 5, ready, 5),
        ];
        let reasons = keep_until_replaced(&mut variants);
        (variants[0].target, variants[1].target, reasons[0].is_some())
    };
    assert_eq!(targets(0), (10, 5, true));
    assert_eq!(targets(3), (4, 5, true));
    assert_eq!(targets(5), (0, 5, false));
}

#[test]
fn a_pair_replaces_an_aggregated_variant_only_when_both_stages_serve() {
    let mut variants = [
        turnover(Role::Both, 1.0, 6, 6, 0),
        turnover(Role::Prefill, 3.0, 2, 2, 2),
        turnover(Role::Decode, 2.0, 3, 1, 3),
    ];
    keep_until_replaced(&mut variants);
    assert_eq!(variants[0].target, 4);
}

#[test]
fn prefill_that_grows_does_not_hold_decode_that_shrinks() {
    let mut variants = [
        turnover(Role::Prefill, 1.0, 3, 2, 3),
        turnover(Role::Decode, 1.0, 5, 5, 4),
    ];
    keep_until_replaced(&mut variants);
    assert_eq!(variants[1].target, 4);
}

proptest! {
    #[test]
    fn a_fixed_point_is_kept(current in 0u32..50, cycles in 1usize..60) {
        let targets = follow(&StabiliseSettings::default(), current, &vec![current; cycles]);
        prop_assert!(targets.iter().all(|&t| t == current));
    }

    #[test]
    fn targets_settle_and_stay(start in 0u32..50, plans in prop::collection::vec(0u32..50, 0..20), last in 0u32..50) {
        let mut all = plans;
        let window = StabiliseSettings::default().down_window_seconds / 15.0;
        let settled = all.len() + window as usize + 2;
        all.extend([last; 30]);
        let targets = follow(&StabiliseSettings::default(), start, &all);
        prop_assert!(targets[settled..].iter().all(|&t| t == last), "{:?}", targets);
    }

    #[test]
    fn deciding_twice_at_the_same_time_decides_the_same(start in 0u32..50, plans in prop::collection::vec(0u32..50, 1..20), swap in any::<bool>()) {
        let (mut history, settings) = (History::default(), StabiliseSettings::default());
        let mut current = start;
        for (i, &planned) in plans.iter().enumerate() {
            let situation = Situation { now: 15.0 * i as f64, current, ready: current, planned, swap };
            let first = decide(&situation, &mut history, &settings);
            let second = decide(&situation, &mut history, &settings);
            prop_assert_eq!(&first, &second);
            current = first.0;
        }
    }

    #[test]
    fn the_target_lies_between_today_and_what_plans_wanted(start in 0u32..50, plans in prop::collection::vec((0u32..50, any::<bool>()), 1..40)) {
        let (mut history, settings) = (History::default(), StabiliseSettings::default());
        let mut current = start;
        for (i, &(planned, swap)) in plans.iter().enumerate() {
            let situation = Situation { now: 15.0 * i as f64, current, ready: current, planned, swap };
            let target = decide(&situation, &mut history, &settings).0;
            prop_assert!(target >= planned.min(current) && target <= planned.max(current));
            prop_assert!(planned < current || swap || target == planned, "up is at once");
            current = target;
        }
    }
}
