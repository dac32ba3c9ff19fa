//! Which reading of a pod is believed.

use rstest::rstest;
use wva_controllers::telemetry::engine::EngineReading;
use wva_controllers::telemetry::evidence::Evidence;
use wva_controllers::telemetry::gathered::{Gathered, Outcome, Sampled};
use wva_controllers::telemetry::memory::Memory;
use wva_controllers::telemetry::reason::{Missing, Note, Reason, Source};
use wva_controllers::telemetry::{Targets, diagnose};
use wva_optimizer::snapshot::ReplicaSample;

use crate::fleet::{candidate, finished, heard, judge, reading, targets};
use crate::pages::LOAD;

fn first(g: &Gathered) -> &Sampled<ReplicaSample> {
    match &g.pods[0].outcome {
        Outcome::Sample(sampled) => sampled,
        Outcome::Missing(missing) => panic!("{missing:?}"),
    }
}

fn why(g: &Gathered) -> &Missing {
    g.pods[0].outcome.missing().unwrap()
}

#[test]
fn the_freshest_source_wins_and_a_tie_goes_to_the_nearer_one() {
    let (mut m, t) = (Memory::default(), targets(&["a"]));
    let g = judge(
        &mut m,
        &t,
        heard(&[
            ("a", Source::Prometheus, 95.0, 10.0),
            ("a", Source::Pod, 90.0, 9.0),
        ]),
        100.0,
    );
    assert_eq!((first(&g).source, first(&g).age), (Source::Prometheus, 5.0));
    let tie = heard(&[
        ("a", Source::Prometheus, 108.2, 11.0),
        ("a", Source::Pod, 108.1, 11.0),
        ("a", Source::Push, 101.0, 10.0),
    ]);
    let g = judge(&mut m, &t, tie, 110.0);
    assert_eq!(first(&g).source, Source::Pod);
    assert_eq!(
        g.pods[0].engine.as_ref().unwrap().kv_tokens,
        Some(432_000.0)
    );
}

#[test]
fn one_failed_read_is_no_outage_but_silence_is() {
    let (mut m, t) = (Memory::default(), targets(&["a"]));
    judge(&mut m, &t, heard(&[("a", Source::Pod, 100.0, 10.0)]), 100.0);
    let failed = |m: &mut Memory, now: f64| {
        let mut e = Evidence::default();
        e.failure("uid-a", Source::Pod, Missing::new(Reason::Timeout, "slow"));
        judge(m, &t, e, now)
    };
    let g = failed(&mut m, 115.0);
    assert_eq!(first(&g).age, 15.0);
    let g = failed(&mut m, 200.0);
    assert_eq!(
        (why(&g).reason, why(&g).age),
        (Reason::Timeout, Some(100.0))
    );
    let g = judge(&mut m, &t, Evidence::default(), 210.0);
    assert_eq!(why(&g).reason, Reason::Stale);
    let g = judge(&mut Memory::default(), &t, Evidence::default(), 0.0);
    assert_eq!(why(&g).reason, Reason::NoSource);
}

#[test]
fn a_clock_ahead_is_clamped_and_cannot_keep_a_dead_source_fresh() {
    let (mut m, t) = (Memory::default(), targets(&["a"]));
    let ahead = || heard(&[("a", Source::Prometheus, 1_000.0, 10.0)]);
    let g = judge(&mut m, &t, ahead(), 100.0);
    assert_eq!((first(&g).age, first(&g).value.at), (0.0, 100.0));
    assert_eq!(first(&g).notes, [Note::ClockAhead]);
    assert_eq!(first(&judge(&mut m, &t, ahead(), 150.0)).age, 50.0);
    assert_eq!(
        why(&judge(&mut m, &t, ahead(), 200.0)).reason,
        Reason::Stale
    );
}

#[rstest]
#[case::nan(|r: &mut EngineReading| r.running = Some(f64::NAN), "running")]
#[case::negative(|r: &mut EngineReading| r.finished = Some(-1.0), "finished")]
#[case::infinite(|r: &mut EngineReading| r.generation_tokens = f64::INFINITY, "output tokens")]
#[case::percent(|r: &mut EngineReading| r.kv_usage = Some(37.0), "KV cache")]
#[case::huge(|r: &mut EngineReading| r.running = Some(2e6), "running")]
#[case::beyond(|r: &mut EngineReading| r.gap.count = 1e16, "gaps")]
fn lying_values_are_absurd(#[case] lie: fn(&mut EngineReading), #[case] name: &str) {
    let (mut m, t) = (Memory::default(), targets(&["a"]));
    let mut r = reading(LOAD);
    lie(&mut r);
    let mut e = Evidence::default();
    e.engine("uid-a", candidate(Source::Pod, 100.0, r.clone()));
    let g = judge(&mut m, &t, e, 100.0);
    assert_eq!(why(&g).reason, Reason::Absurd);
    assert!(why(&g).detail.contains(name), "{:?}", why(&g));
    // Another source that tells the truth is believed, though older.
    let mut e = heard(&[("a", Source::Prometheus, 80.0, 10.0)]);
    e.engine("uid-a", candidate(Source::Pod, 100.0, r));
    assert_eq!(
        first(&judge(&mut m, &t, e, 100.0)).source,
        Source::Prometheus
    );
}

#[test]
fn a_leap_is_held_back_until_it_proves_to_be_a_new_beginning() {
    let (mut m, t) = (Memory::default(), targets(&["a"]));
    let g = judge(&mut m, &t, heard(&[("a", Source::Pod, 0.0, 10.0)]), 0.0);
    let id = first(&g).value.id;
    // 10¹⁰ requests in ten seconds are more than a thousand times what a replica can do.
    let leap =
        |m: &mut Memory, now: f64| judge(m, &t, heard(&[("a", Source::Pod, now, 1e10 + now)]), now);
    for now in [10.0, 20.0] {
        let g = leap(&mut m, now);
        assert_eq!(
            first(&g).value.finished,
            10.0,
            "the sample from before stays"
        );
    }
    let g = leap(&mut m, 30.0);
    assert_ne!(first(&g).value.id, id, "another replica to the optimizer");
    assert!(first(&g).notes.contains(&Note::Restarted));
    assert_eq!(
        g.streams[0].outcome.sample().unwrap().arrivals,
        0.0,
        "no arrivals come of it"
    );
}

#[test]
fn restarts_are_followed_with_counters_as_they_are() {
    let (mut m, t) = (Memory::default(), targets(&["a"]));
    judge(&mut m, &t, heard(&[("a", Source::Pod, 0.0, 1000.0)]), 0.0);
    let g = judge(&mut m, &t, heard(&[("a", Source::Pod, 10.0, 5.0)]), 10.0);
    assert_eq!(
        (first(&g).value.finished, first(&g).notes.as_slice()),
        (5.0, &[Note::Restarted][..])
    );
    assert_eq!(first(&g).value.prompt_tokens, 5.0 * 1200.0 * 0.75);
}

#[test]
fn computed_prompt_tokens_leave_out_what_the_cache_had() {
    let (mut m, t) = (Memory::default(), targets(&["a"]));
    let at = |m: &mut Memory, now: f64, change: fn(&mut EngineReading)| {
        let mut r = reading(finished(100.0 + now));
        change(&mut r);
        let mut e = Evidence::default();
        e.engine("uid-a", candidate(Source::Pod, now, r));
        first(&judge(m, &t, e, now)).value.prompt_tokens
    };
    assert_eq!(at(&mut m, 0.0, |_| {}), 100.0 * 900.0);
    // All of the ten new prompts were in the cache, and looked up ten times each while they waited.
    let hits: fn(&mut EngineReading) = |r| {
        (r.prefix_hits, r.prefix_queries) =
            (Some(30_000.0 + 120_000.0), Some(120_000.0 + 120_000.0));
    };
    assert_eq!(at(&mut m, 10.0, hits), 90_000.0);
    assert_eq!(
        at(&mut Memory::default(), 0.0, |r| r.computed_tokens =
            Some(7.0)),
        7.0
    );
    assert_eq!(
        at(&mut Memory::default(), 0.0, |r| r.cached_tokens =
            Some(20_000.0)),
        100_000.0
    );
}

#[test]
fn doctor_names_what_is_wrong_and_what_to_do() {
    let t: Targets = targets(&["a", "b"]);
    let mut e = heard(&[("a", Source::Pod, 100.0, 10.0)]);
    e.failure(
        "uid-b",
        Source::Pod,
        Missing::new(Reason::Unreachable, "connection refused"),
    );
    let g = judge(&mut Memory::default(), &t, e, 100.0);
    let facts = diagnose(&t, &g);
    let of = |input: &str, subject: &str| {
        facts
            .iter()
            .find(|f| f.input == input && f.subject == subject)
            .unwrap()
    };
    let engine = of("engine-metrics", "v");
    assert_eq!(
        (engine.present, engine.code.as_deref()),
        (true, Some("unreachable"))
    );
    assert_eq!(engine.detail, "1 of 2 pods; ml/b: connection refused");
    assert!(engine.fix.as_ref().unwrap().contains("prometheus.io/port"));
    assert_eq!(
        of("arrivals", "llama/standard").code.as_deref(),
        Some("partial-fleet")
    );
    let premium = of("arrivals", "llama/premium");
    assert_eq!(
        (premium.labelled, premium.code.as_deref()),
        (false, Some("no-class-label"))
    );
    assert_eq!(of("source", "all").code.as_deref(), Some("no-source"));
    let json = serde_json::to_string(&g).unwrap();
    assert_eq!(serde_json::from_str::<Gathered>(&json).unwrap(), g);
}
