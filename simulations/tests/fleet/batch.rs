//! Batch work in the slack of interactive replicas.

use super::*;

fn chat() -> Vec<Request> {
    (0..600)
        .map(|i| request(1.0 + f64::from(i) * 0.5, CHAT, 500, 40))
        .collect()
}

fn nightly(count: u32, at: f64) -> Vec<Request> {
    (0..count)
        .map(|_| request(at, NIGHTLY, 1500, 100))
        .collect()
}

#[test]
fn batch_fills_slack_within_the_chunk_effect() {
    let catalogue = catalogue(None);
    let alone = source(chat());
    let alone = play(
        &setup(&catalogue, &alone, [1, 0, 0, 0]),
        &mut Script::new(&[]),
    );
    let mixed = source([chat(), nightly(200, 2.0)].concat());
    let mut policy = Script::new(&[]);
    policy.batch_limits.insert("whole".into(), 8);
    let mixed = play(&setup(&catalogue, &mixed, [1, 0, 0, 0]), &mut policy);
    assert_eq!(
        (mixed.classes[1].missed, mixed.classes[1].shed),
        (0, 0),
        "all batch work is done in time"
    );
    assert_eq!(mixed.classes[0].missed, 0);
    let p99 = |r: &RunResult, of: fn(&RunResult) -> f64| of(r);
    let itl = |r: &RunResult| r.classes[0].gap_ms.expect("gaps").p99;
    let ttft = |r: &RunResult| r.classes[0].ttft_ms.expect("first tokens").p99;
    // An iteration may grow by a batch chunk (512 tokens: 5.12 ms, its prefill overhead, and the KV it reads) and by
    // 8 more sequences with their contexts of up to 1600: 8 · (0.11 + 1.6) ms.
    let effect = 5.12 + 0.5 + 2.0 + 8.0 * 1.71;
    assert!(
        p99(&mixed, itl) <= p99(&alone, itl) + effect,
        "{} {}",
        itl(&mixed),
        itl(&alone)
    );
    assert!(
        p99(&mixed, ttft) <= p99(&alone, ttft) + 2.0 * effect,
        "{} {}",
        ttft(&mixed),
        ttft(&alone)
    );
}

#[test]
fn the_law_keeps_batch_work_out_where_there_is_no_slack_and_cuts_chunks_where_there_is_some() {
    let attained = |bound: &str| {
        let text = CATALOGUE.replace("itl_ms: {p99: 50}", &format!("itl_ms: {{p99: {bound}}}"));
        let catalogue = Catalogue::parse(&text, "test").expect("a valid catalogue");
        let asks = [vec![request(500.0, CHAT, 1, 1)], nightly(5, 2.0)].concat();
        let source = source(asks);
        let setup = setup(&catalogue, &source, [1, 0, 0, 0]);
        let result = play(&setup, &mut Script::new(&[]));
        5 - result.classes[1].missed
    };
    // Reading the weights alone takes over 2 ms by the catalogue's roofline; a chunk of 512 takes about 13 ms.
    assert_eq!((attained("2"), attained("10"), attained("50")), (0, 5, 5));
}

#[test]
fn the_most_urgent_goes_first_and_the_late_are_shed() {
    let catalogue = catalogue(None);
    let source = source(nightly(3, 2.0));
    let script = [(590.0, "whole", 1)];
    // Ready at 600, due at 602: the prompts take 3 · ~20 ms and are then decoded in time.
    let mut policy = Script::new(&script);
    policy.batch_limits.insert("whole".into(), 8);
    let mut setup = setup(&catalogue, &source, [0; 4]);
    setup.duration_s = 900.0;
    let result = play(&setup, &mut policy);
    assert_eq!((result.classes[1].missed, result.classes[1].shed), (0, 0));
    let mut policy = Script::new(&[(595.0, "whole", 1)]);
    policy.batch_limits.insert("whole".into(), 8);
    let result = play(&setup, &mut policy);
    assert_eq!((result.classes[1].missed, result.classes[1].shed), (3, 3));
}

#[test]
fn batch_work_also_runs_on_pairs() {
    let catalogue = catalogue(None);
    let source = source(nightly(20, 2.0));
    let mut policy = Script::new(&[]);
    policy.batch_limits.insert("p".into(), 4);
    policy.batch_limits.insert("d".into(), 8);
    let result = play(&setup(&catalogue, &source, [0, 1, 1, 0]), &mut policy);
    assert_eq!((result.missed, result.variants[D].finished), (0, 20));
}

#[test]
fn the_backlog_shows_when_it_is_due() {
    let catalogue = catalogue(None);
    let source = source(nightly(7, 2.0));
    let mut policy = Script::new(&[]);
    play(&setup(&catalogue, &source, [0; 4]), &mut policy);
    let seen = policy.seen.iter().find(|s| s.at == 20.0).expect("a cycle");
    let stream = &seen.streams[1];
    assert_eq!((stream.held, stream.backlog.len()), (7.0, 1));
    assert_eq!(
        (stream.backlog[0].requests, stream.backlog[0].due),
        (7.0, 660.0),
        "602 s, by the end of its minute"
    );
}
