//! Flow control: order, fairness, bounds, patience.

use proptest::prelude::*;
use wva_epp_core::flow::{
    Arrival, BandSettings, Fairness, FlowControl, FlowSettings, Gate, Ordering, StartUp,
};
use wva_epp_core::picker::RefusalKind;

fn settings(fairness: Fairness, ordering: Ordering) -> FlowSettings {
    let band = BandSettings {
        fairness,
        ordering,
        ..BandSettings::default()
    };
    FlowSettings {
        default_band: band,
        negative_band: band,
        ..FlowSettings::default()
    }
}

fn control(settings: FlowSettings) -> FlowControl {
    FlowControl::new(settings, StartUp::new(100.0))
}

fn arrival(id: u64, priority: i32, flow: u64) -> Arrival {
    Arrival {
        id,
        priority,
        flow,
        bytes: 10,
        deadline: None,
    }
}

fn order(control: &mut FlowControl) -> Vec<u64> {
    std::iter::from_fn(|| control.next(0.0, |_| Some(())).map(|(id, ())| id)).collect()
}

#[test]
fn the_most_important_go_first_and_flows_take_turns() {
    let mut control = control(settings(Fairness::RoundRobin, Ordering::FirstCome));
    for (id, priority, flow) in [
        (1, 0, 7),
        (2, 0, 7),
        (3, 0, 7),
        (4, 0, 8),
        (5, 9, 7),
        (6, -1, 1),
    ] {
        control
            .offer(arrival(id, priority, flow), 0.0, &mut Vec::new())
            .unwrap();
    }
    assert_eq!(
        control.by_priority().map(|b| b.0).collect::<Vec<_>>(),
        [9, 0, -1]
    );
    let order = order(&mut control);
    assert_eq!((order[0], order[5]), (5, 6));
    assert!(order[1..3] == [1, 4] || order[1..3] == [4, 1], "{order:?}");
    assert!(control.is_empty() && control.bytes() == 0);
}

#[test]
fn strict_order_is_of_arrival_or_of_deadline() {
    let offer = |ordering| {
        let mut control = control(settings(Fairness::GlobalStrict, ordering));
        for (id, deadline) in [(1, None), (2, Some(9.0)), (3, Some(4.0))] {
            let arrival = Arrival {
                deadline,
                ..arrival(id, 0, id)
            };
            control.offer(arrival, 0.0, &mut Vec::new()).unwrap();
        }
        order(&mut control)
    };
    assert_eq!(offer(Ordering::FirstCome), [1, 2, 3]);
    assert_eq!(offer(Ordering::EarliestDeadline), [3, 2, 1]);
}

#[test]
fn equal_flows_get_equal_shares_whoever_shouts() {
    let mut control = control(settings(Fairness::RoundRobin, Ordering::FirstCome));
    let mut served = [0_f64; 10];
    let mut id = 0;
    for step in 0..2000 {
        // Flow 0 offers ten times as much as each of the others.
        for flow in (0..10).chain(std::iter::repeat_n(0, 9)) {
            id += 1;
            let _ = control.offer(
                arrival(id * 16 + flow, 0, flow),
                f64::from(step),
                &mut Vec::new(),
            );
        }
        for _ in 0..5 {
            if let Some((id, ())) = control.next(f64::from(step), |_| Some(())) {
                served[(id % 16) as usize] += 1.0;
            }
        }
        control.expire(f64::from(step), &mut Vec::new());
    }
    let (sum, squares) = served
        .iter()
        .fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
    let jain = sum * sum / (10.0 * squares);
    assert!(jain >= 0.95, "{jain}: {served:?}");
}

#[test]
fn a_queue_full_of_one_flow_is_not_closed_to_others() {
    let mut settings = settings(Fairness::RoundRobin, Ordering::FirstCome);
    settings.default_band.max_requests = 4;
    let mut control = control(settings);
    let mut shed = Vec::new();
    let mut offer = |id, flow| {
        let offered = control.offer(arrival(id, 0, flow), 0.0, &mut shed);
        let shed: Vec<u64> = shed.drain(..).map(|(id, _)| id).collect();
        (offered.is_ok(), shed)
    };
    for id in 1..=4 {
        assert_eq!(offer(id, 7), (true, vec![]));
    }
    assert_eq!(offer(5, 7), (false, vec![]));
    assert_eq!(offer(6, 8), (true, vec![4]));
    assert_eq!(offer(7, 8), (true, vec![3]));
    // Two of each: nobody has more than the other would have.
    assert_eq!(offer(8, 8), (false, vec![]));
    assert_eq!(offer(9, 9), (true, vec![7]));
    assert_eq!(control.len(), 4);
}

#[test]
fn the_least_important_make_room() {
    let limits = FlowSettings {
        max_requests: 3,
        ..settings(Fairness::RoundRobin, Ordering::FirstCome)
    };
    let mut control = control(limits);
    let mut shed = Vec::new();
    for id in 1..=2 {
        control.offer(arrival(id, -1, 4), 0.0, &mut shed).unwrap();
    }
    control.offer(arrival(3, 0, 4), 0.0, &mut shed).unwrap();
    assert_eq!(
        control
            .offer(arrival(4, -1, 4), 0.0, &mut shed)
            .unwrap_err()
            .kind,
        RefusalKind::QueueFull
    );
    assert!(shed.is_empty());
    control.offer(arrival(5, 2, 4), 0.0, &mut shed).unwrap();
    assert_eq!(
        (shed.len(), shed[0].0, shed[0].1.kind),
        (1, 2, RefusalKind::Shed)
    );
    control.offer(arrival(6, 2, 4), 0.0, &mut shed).unwrap();
    control.offer(arrival(7, 2, 4), 0.0, &mut shed).unwrap();
    assert_eq!(shed.iter().map(|s| s.0).collect::<Vec<_>>(), [2, 1, 3]);
    assert!(
        control.offer(arrival(8, 2, 4), 0.0, &mut shed).is_err(),
        "all are as important"
    );
    let huge = Arrival {
        bytes: u64::MAX,
        ..arrival(9, 9, 4)
    };
    assert!(control.offer(huge, 0.0, &mut shed).is_err() && shed.len() == 3);
}

#[test]
fn patience_ends_and_says_when_to_come_back() {
    let mut control = control(FlowSettings::default());
    let mut out = Vec::new();
    control.offer(arrival(1, 0, 0), 100.0, &mut out).unwrap();
    control.offer(arrival(2, 0, 0), 130.0, &mut out).unwrap();
    assert_eq!(control.expires_at(), Some(160.0));
    control.expire(159.9, &mut out);
    assert!(out.is_empty());
    control.expire(160.0, &mut out);
    assert_eq!(
        (out.len(), out[0].0, out[0].1.kind),
        (1, 1, RefusalKind::Expired)
    );
    assert_eq!(out[0].1.kind.status(), 429);
    assert!(control.cancel(2) && !control.cancel(2) && control.is_empty());
}

#[test]
fn what_cannot_start_in_time_is_refused_honestly() {
    let mut control = control(FlowSettings {
        refuse_late: true,
        ..FlowSettings::default()
    });
    control.drain.expected = Some(2.0);
    let offer = |control: &mut FlowControl, id, deadline| {
        let arrival = Arrival {
            deadline: Some(deadline),
            ..arrival(id, 0, 0)
        };
        control.offer(arrival, 0.0, &mut Vec::new())
    };
    for id in 0..9 {
        offer(&mut control, id, 60.0).unwrap();
    }
    let refusal = offer(&mut control, 99, 4.0).unwrap_err();
    assert_eq!(
        (refusal.kind, refusal.retry_after_header()),
        (RefusalKind::Infeasible, Some(5))
    );
    offer(&mut control, 100, 5.0).unwrap();
}

#[test]
fn an_empty_pool_holds_and_wakes() {
    let mut control = control(FlowSettings::default());
    let mut out = Vec::new();
    control.set_endpoints(false, 10.0);
    assert!(!control.wants_wake());
    control.offer(arrival(1, 0, 0), 20.0, &mut out).unwrap();
    assert!(control.wants_wake());
    assert!(control.next(20.0, |_| Some(())).is_none(), "nowhere to go");
    assert_eq!(
        control.wait(0, 50.0),
        Some(70.0),
        "100 s of start-up less 30"
    );
    control.expire(169.0, &mut out);
    assert!(out.is_empty(), "one and a half start-ups");
    control.set_endpoints(true, 80.0);
    assert_eq!(control.start_up.expected(), 60.0, "learned");
    assert_eq!(control.expires_at(), Some(140.0), "a fresh time to live");
    assert!(control.next(81.0, |_| Some(())).is_some());
    control.set_endpoints(false, 200.0);
    control.offer(arrival(2, 0, 0), 200.0, &mut out).unwrap();
    control.expire(290.0, &mut out);
    assert_eq!(
        (out[0].1.kind, out[0].1.kind.status()),
        (RefusalKind::ExpiredWithoutEndpoints, 503)
    );
}

#[derive(Debug, Clone)]
enum Step {
    Offer(i32, u64, u64, Option<f64>),
    Next,
    Leave,
    Cancel(u64),
    Expire,
    Endpoints(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (-2..3_i32, 0..5_u64, 0..400_u64, proptest::option::of(0.0..100.0))
            .prop_map(|(p, f, b, d)| Step::Offer(p, f, b, d)),
        3 => Just(Step::Next),
        2 => Just(Step::Leave),
        1 => (0..100_u64).prop_map(Step::Cancel),
        1 => Just(Step::Expire),
        1 => any::<bool>().prop_map(Step::Endpoints),
    ]
}

proptest! {
    #[test]
    fn nothing_is_lost_and_no_bound_is_broken(
        steps in proptest::collection::vec(step(), 1..200),
        fair in any::<bool>(),
        edf in any::<bool>(),
    ) {
        let fairness = if fair { Fairness::RoundRobin } else { Fairness::GlobalStrict };
        let ordering = if edf { Ordering::EarliestDeadline } else { Ordering::FirstCome };
        let limits = FlowSettings { max_requests: 12, max_bytes: 2000, ttl_s: Some(20.0), ..settings(fairness, ordering) };
        let (mut control, gate) = (control(limits), Gate::new(4));
        let (mut inside, mut waiting) = (Vec::new(), std::collections::BTreeMap::new());
        for (id, step) in steps.into_iter().enumerate() {
            let (id, now) = (id as u64, id as f64);
            let mut gone = Vec::new();
            match step {
                Step::Offer(priority, flow, bytes, deadline) => {
                    let arrival = Arrival { id, priority, flow, bytes, deadline };
                    if control.offer(arrival, now, &mut gone).is_ok() {
                        waiting.insert(id, arrival);
                    }
                    for (id, _) in &gone {
                        let other = &waiting[id];
                        let fair = fair && other.priority == priority && other.flow != flow;
                        prop_assert!(other.priority < priority || fair);
                    }
                }
                Step::Next => {
                    if let Some((id, permit)) = control.next(now, |_| gate.enter(1.0)) {
                        let most = waiting.values().map(|a| a.priority).max();
                        prop_assert_eq!(waiting.remove(&id).map(|a| a.priority), most);
                        inside.push(permit);
                    }
                }
                Step::Leave => drop(inside.pop()),
                Step::Cancel(id) => prop_assert_eq!(control.cancel(id), waiting.remove(&id).is_some()),
                Step::Expire => control.expire(now, &mut gone),
                Step::Endpoints(any) => control.set_endpoints(any, now),
            }
            for (id, _) in gone {
                prop_assert!(waiting.remove(&id).is_some());
            }
            prop_assert!(gate.inside() as usize == inside.len() && inside.len() <= 4);
            prop_assert!(control.len() == waiting.len() && control.len() <= 12);
            prop_assert_eq!(control.bytes(), waiting.values().map(|a| a.bytes).sum::<u64>());
            prop_assert!(control.bytes() <= 2000);
        }
    }
}
