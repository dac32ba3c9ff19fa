//! What a policy gets to see.

use wva_simulations::fault::Fault;

use super::*;

#[test]
fn a_snapshot_counts_what_happened() {
    let asks = (0..100)
        .map(|i| request(1.0 + f64::from(i), CHAT, 100, 10))
        .collect();
    let (catalogue, source) = (catalogue(None), source(asks));
    let mut policy = Script::new(&[]);
    play(&setup(&catalogue, &source, [2, 0, 0, 0]), &mut policy);
    let first = &policy.seen[0];
    assert_eq!((first.at, first.streams[0].arrivals), (0.0, 0.0));
    let last = policy.seen.last().expect("cycles");
    let s = &last.streams[0];
    assert_eq!(
        (s.arrivals, s.met, s.missed, s.held, s.running),
        (100.0, 100.0, 0.0, 0.0, 0.0)
    );
    assert_eq!(
        (
            s.ttft.count,
            s.tpot.count,
            s.input_tokens.sum,
            s.output_tokens.sum
        ),
        (100.0, 100.0, 10_000.0, 1000.0)
    );
    assert_eq!(s.prefix_hit, Some(0.0));
    let v = &last.variants[WHOLE];
    let sum = |of: fn(&wva_optimizer::snapshot::ReplicaSample) -> f64| {
        v.replicas.iter().map(of).sum::<f64>()
    };
    assert_eq!((v.ready, v.replicas.len()), (2, 2));
    assert_eq!(
        (
            sum(|r| r.finished),
            sum(|r| r.prompt_tokens),
            sum(|r| r.generation_tokens)
        ),
        (100.0, 10_000.0, 1000.0)
    );
    assert_eq!(
        (
            sum(|r| r.gap.count),
            sum(|r| r.ttft.count),
            sum(|r| r.iterations)
        ),
        (900.0, 100.0, 1000.0)
    );
}

#[test]
fn gauges_and_counters_move_while_a_jump_is_in_progress() {
    let (catalogue, source) = (
        catalogue(None),
        source(vec![request(1.0, CHAT, 100, 20_000)]),
    );
    let mut policy = Script::new(&[]);
    play(&setup(&catalogue, &source, [1, 0, 0, 0]), &mut policy);
    let samples: Vec<_> = policy
        .seen
        .iter()
        .filter_map(|s| s.variants[WHOLE].replicas.first())
        .collect();
    let during = samples
        .iter()
        .filter(|r| r.running == 1.0)
        .collect::<Vec<_>>();
    assert!(during.len() > 3);
    for pair in during.windows(2).filter(|p| p[0].at < p[1].at) {
        assert!(
            pair[0].generation_tokens < pair[1].generation_tokens
                && pair[0].kv_usage < pair[1].kv_usage
        );
        let (tokens, seconds) = (
            pair[1].gap.count - pair[0].gap.count,
            pair[1].gap.sum - pair[0].gap.sum,
        );
        assert!(
            (seconds - 15.0).abs() < 0.1,
            "one sequence spends all its time between tokens: {seconds} over {tokens}"
        );
    }
}

#[test]
fn an_outage_leaves_old_samples_and_fresh_states() {
    let asks = (0..500)
        .map(|i| request(1.0 + f64::from(i), CHAT, 100, 10))
        .collect();
    let (catalogue, source) = (catalogue(None), source(asks));
    let mut setup = setup(&catalogue, &source, [1, 0, 0, 0]);
    setup.faults = vec![
        Fault::ScrapeOutage {
            from: 100.0,
            until: 200.0,
            variant: None,
        },
        Fault::ScrapeOutage {
            from: 300.0,
            until: 400.0,
            variant: Some(WHOLE),
        },
    ];
    let mut policy = Script::new(&[(150.0, "whole", 2)]);
    play(&setup, &mut policy);
    let at = |t: f64| policy.seen.iter().find(|s| s.at == t).expect("a cycle");
    assert_eq!(
        (
            at(195.0).streams[0].at,
            at(195.0).variants[WHOLE].replicas[0].at
        ),
        (90.0, 90.0)
    );
    assert_eq!(at(195.0).variants[WHOLE].ready, 2);
    assert_eq!(
        (
            at(395.0).streams[0].at,
            at(395.0).variants[WHOLE].replicas[0].at
        ),
        (390.0, 285.0)
    );
    assert_eq!(at(405.0).variants[WHOLE].replicas[0].at, 405.0);
}

#[test]
fn a_policy_is_told_the_catalogue_and_not_the_truth() {
    let (catalogue, source) = (catalogue(None), source(Vec::new()));
    let mut policy = Script::new(&[]);
    let setup = setup(&catalogue, &source, [1, 0, 0, 0]);
    play(&setup, &mut policy);
    let priors: Vec<_> = catalogue
        .variants
        .iter()
        .map(|v| catalogue.replica_model(v))
        .collect();
    assert_eq!(policy.priors, priors);
    assert_ne!(policy.priors, setup.truth);
}

#[test]
fn the_timeline_adds_up() {
    let asks = (0..500)
        .map(|i| request(1.0 + f64::from(i), CHAT, 100, 10))
        .collect();
    let (catalogue, source) = (catalogue(None), source(asks));
    let mut policy = Script::new(&[(100.0, "whole", 3)]);
    let result = play(&setup(&catalogue, &source, [1, 0, 0, 0]), &mut policy);
    let points = &result.timeline;
    assert!(points.len() > 100 && points.len() <= 1500);
    let arrivals: f64 = points
        .iter()
        .map(|p| p.classes[0].demand_rps * result.timeline_step_s)
        .sum();
    assert!(close(arrivals, 500.0));
    assert_eq!(
        points.iter().map(|p| p.classes[0].attained).sum::<u64>(),
        500
    );
    assert!(points.iter().all(|p| close(
        p.cost_per_hour_usd,
        3.6 * f64::from(p.variants[WHOLE].ready + p.variants[WHOLE].starting)
    )));
}
