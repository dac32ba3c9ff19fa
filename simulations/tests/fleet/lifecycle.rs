//! Replicas and requests from beginning to end, in figures computed by hand.

use wva_simulations::fault::Fault;
use wva_simulations::hpa::HpaSpec;
use wva_simulations::policy::Actuation;

use super::*;

/// Prefill of 100 on the test law, s: 1 + 1 + 0.1 + 0.1 + 0.5 ms.
const PREFILL_100: f64 = 2.7e-3;

#[test]
fn one_request_on_one_replica() {
    let (catalogue, source) = (catalogue(None), source(vec![request(1.0, CHAT, 100, 3)]));
    let result = play(
        &setup(&catalogue, &source, [1, 0, 0, 0]),
        &mut Script::new(&[]),
    );
    let chat = &result.classes[0];
    let ttft = chat.ttft_ms.expect("a first token").mean;
    let itl = chat.itl_ms.expect("gaps").mean;
    // Decode reads 101 and 102: 1.211 and 1.212 ms.
    assert!(close(ttft, 5.0 + 2.7), "{ttft}");
    assert!(close(itl, 1.2115), "{itl}");
    assert!(close(chat.gap_ms.expect("gaps").mean, 1.2115));
    assert!(close(chat.e2e_ms.expect("an end").mean, 5.0 + 2.7 + 2.423));
    assert_eq!(
        (result.requests, result.missed, result.attainment),
        (1, 0, 1.0)
    );
    // 600 s of one replica of 2 devices at $1.8.
    assert!(close(result.cost_usd, 0.6) && close(result.gpu_hours, 1.0 / 3.0));
    assert_eq!(
        (
            result.mean_replicas,
            result.max_replicas,
            result.scaling_events
        ),
        (1.0, 1, 0)
    );
}

#[test]
fn requests_wait_for_a_replica_that_starts() {
    let (catalogue, source) = (catalogue(None), source(vec![request(1.0, CHAT, 100, 1)]));
    let script = [(5.0, "whole", 1), (100.0, "whole", 0)];
    let result = play(
        &setup(&catalogue, &source, [0; 4]),
        &mut Script::new(&script),
    );
    let ttft = result.classes[0].ttft_ms.expect("a first token").mean / 1e3;
    assert!(
        close(ttft, 14.0 + PREFILL_100 + 5e-3),
        "asked at 5, ready at 15: {ttft}"
    );
    assert_eq!((result.missed, result.failed), (1, 0), "later than 1 s");
    // Held from 5 to 100.
    assert!(
        close(result.cost_usd, 95.0 * 3.6 / 3600.0),
        "{}",
        result.cost_usd
    );
    assert_eq!(result.scaling_events, 2);
    assert!(close(result.mean_replicas, 95.0 / 600.0));
}

#[test]
fn requests_held_too_long_fail() {
    let (catalogue, source) = (
        catalogue(None),
        source(vec![request(1.0, CHAT, 9, 1), request(250.0, CHAT, 9, 1)]),
    );
    let script = [(400.0, "whole", 1)];
    let result = play(
        &setup(&catalogue, &source, [0; 4]),
        &mut Script::new(&script),
    );
    assert_eq!((result.failed, result.missed, result.unfinished), (1, 2, 0));
    // Asked for at 400, ready at 410; a prompt of 9 takes 1 + 0.09 + 0.009 + 0.1 + 0.5 ms.
    let ttft = result.classes[0].ttft_ms.expect("the second was served");
    assert!(close(ttft.mean, 160_000.0 + 5.0 + 1.699), "{ttft:?}");
}

#[test]
fn requests_that_fit_nowhere_fail_at_once_and_others_go_where_they_fit() {
    let asks = vec![
        request(1.0, CHAT, 100_000, 1),
        request(2.0, CHAT, 299, 2),
        request(3.0, CHAT, 299, 1),
    ];
    let (catalogue, source) = (catalogue(None), source(asks));
    let result = play(
        &setup(&catalogue, &source, [1, 0, 0, 1]),
        &mut Script::new(&[]),
    );
    assert_eq!((result.failed, result.missed), (1, 1));
    assert!(result.variants[WHOLE].finished >= 1);
    assert_eq!(
        result.variants[WHOLE].finished + result.variants[SMALL].finished,
        2
    );
}

#[test]
fn a_scaled_down_replica_finishes_what_it_has_and_costs_until_then() {
    // 2000 tokens: about 2000 · (1.21 + ~1.0) ms.
    let (catalogue, source) = (catalogue(None), source(vec![request(1.0, CHAT, 100, 2000)]));
    let script = [(2.0, "whole", 0)];
    let mut policy = Script::new(&script);
    policy.period = 1.0;
    let result = play(&setup(&catalogue, &source, [1, 0, 0, 0]), &mut policy);
    assert_eq!((result.missed, result.unfinished), (0, 0));
    let end = 1.0 + result.classes[0].e2e_ms.expect("an end").mean / 1e3 - 5e-3;
    assert!(end > 4.0);
    assert!(
        close(result.cost_usd, end * 3.6 / 3600.0),
        "{} {end}",
        result.cost_usd
    );
    assert!(policy.seen.iter().any(|s| s.variants[WHOLE].draining == 1));
    assert_eq!(
        policy.seen.last().expect("cycles").variants[WHOLE].draining,
        0
    );
}

#[test]
fn replicas_beyond_the_stock_wait_for_devices() {
    let (catalogue, source) = (catalogue(Some(4)), source(Vec::new()));
    let script = [(0.0, "whole", 3), (100.0, "whole", 3), (200.0, "whole", 1)];
    let mut policy = Script::new(&script);
    policy.scale.push((0.0, "small", 0));
    let result = play(&setup(&catalogue, &source, [0; 4]), &mut policy);
    assert_eq!(result.max_replicas, 2);
    let at = |t: f64| {
        &policy
            .seen
            .iter()
            .find(|s| s.at == t)
            .expect("a cycle")
            .variants[WHOLE]
    };
    assert_eq!(
        (at(5.0).starting.clone(), at(5.0).pending.clone()),
        (vec![5.0, 5.0], vec![5.0])
    );
    assert_eq!(
        (at(150.0).ready, at(150.0).pending.len(), at(150.0).desired),
        (2, 1, 3)
    );
    assert_eq!(
        (at(205.0).ready, at(205.0).pending.len()),
        (1, 0),
        "the pending one went first"
    );
}

#[test]
fn a_stock_out_delays_new_replicas_and_spares_old_ones() {
    let (catalogue, source) = (catalogue(None), source(Vec::new()));
    let mut setup = setup(&catalogue, &source, [2, 0, 0, 0]);
    setup.faults = vec![Fault::StockOut {
        from: 50.0,
        until: 300.0,
        accelerator: "X1".into(),
        devices: 2,
    }];
    let mut policy = Script::new(&[(100.0, "whole", 3)]);
    play(&setup, &mut policy);
    let at = |t: f64| {
        &policy
            .seen
            .iter()
            .find(|s| s.at == t)
            .expect("a cycle")
            .variants[WHOLE]
    };
    assert_eq!((at(200.0).ready, at(200.0).pending.len()), (2, 1));
    assert_eq!((at(305.0).starting.len(), at(315.0).ready), (1, 3));
    assert_eq!(at(310.0).start_ups, [210.0], "asked at 100, ready at 310");
}

#[test]
fn the_autoscaler_between_policy_and_target_keeps_its_tolerance() {
    let (catalogue, source) = (catalogue(None), source(Vec::new()));
    let setup = setup(&catalogue, &source, [20, 0, 0, 0]);
    let desired = |spec| {
        let mut policy = Script::new(&[(100.0, "whole", 21)]);
        policy.actuation = Some(Actuation::Hpa(spec));
        let result = play(&setup, &mut policy);
        (
            result.scaling_events,
            policy.seen.last().expect("cycles").variants[WHOLE].desired,
        )
    };
    assert_eq!(desired(HpaSpec::kubernetes_default(1, 100)), (0, 20));
    assert_eq!(desired(HpaSpec::transparent()), (1, 21));
}

#[test]
fn late_requests_finish_in_a_tail_that_costs_nothing() {
    let (catalogue, source) = (
        catalogue(None),
        source(vec![
            request(599.9, CHAT, 100, 2000),
            request(600.5, CHAT, 1, 1),
        ]),
    );
    let mut setup = setup(&catalogue, &source, [1, 0, 0, 0]);
    let result = play(&setup, &mut Script::new(&[]));
    assert_eq!(
        (result.requests, result.missed, result.unfinished),
        (1, 0, 0),
        "what comes after the end is not taken"
    );
    assert!(close(result.cost_usd, 0.6));
    setup.options.tail_s = 1.0;
    let result = play(&setup, &mut Script::new(&[]));
    assert_eq!((result.missed, result.unfinished), (1, 1));
}
