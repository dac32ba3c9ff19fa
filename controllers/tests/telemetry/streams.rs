//! Offered traffic: who counts it, and that it never falls.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use wva_controllers::telemetry::evidence::{Candidate, Evidence, RouterEvidence};
use wva_controllers::telemetry::exposition::Syntax;
use wva_controllers::telemetry::gathered::{CountedBy, Gathered, StreamTelemetry};
use wva_controllers::telemetry::memory::Memory;
use wva_controllers::telemetry::pushed::{Push, VERSION};
use wva_controllers::telemetry::reason::{Note, Reason, Source};
use wva_controllers::telemetry::router::RouterReader;
use wva_controllers::telemetry::targets::Part;
use wva_optimizer::snapshot::{Histogram, StreamSample};

use crate::fleet::{candidate, finished, heard, judge, pod, reading, targets, variant};
use crate::pages::{LOAD, Load};

fn picker(evidence: &mut Evidence, at: f64, page: &str) {
    let reading = RouterReader::of_page(page.as_bytes(), Syntax::Text)
        .0
        .unwrap();
    evidence.routers.insert(
        "uid-epp".into(),
        RouterEvidence {
            namespace: Some("ml".into()),
            candidates: vec![Candidate {
                source: Source::Pod,
                at,
                reading: Arc::new(reading),
                notes: Vec::new(),
            }],
        },
    );
}

fn requests(standard: f64, premium: f64) -> String {
    format!(
        "llm_d_epp_request_total{{model_name=\"chat\",target_model_name=\"meta/llama\",priority=\"0\"}} {standard}\n\
         llm_d_epp_request_total{{model_name=\"chat\",target_model_name=\"meta/llama\",priority=\"10\"}} {premium}\n\
         llm_d_epp_flow_control_queue_size{{model_name=\"chat\",target_model_name=\"meta/llama\",priority=\"10\"}} 4\n"
    )
}

fn arrivals(s: &StreamTelemetry) -> f64 {
    s.outcome
        .sample()
        .unwrap_or_else(|| panic!("{s:?}"))
        .arrivals
}

fn notes(s: &StreamTelemetry) -> &[Note] {
    match &s.outcome {
        wva_controllers::telemetry::Outcome::Sample(s) => &s.notes,
        wva_controllers::telemetry::Outcome::Missing(m) => panic!("{m:?}"),
    }
}

#[test]
fn engines_count_for_the_default_class_and_say_that_it_is_a_lower_bound() {
    let (mut m, t) = (Memory::default(), targets(&["a", "b"]));
    judge(
        &mut m,
        &t,
        heard(&[
            ("a", Source::Pod, 0.0, 1000.0),
            ("b", Source::Pod, 0.0, 50.0),
        ]),
        0.0,
    );
    let mut e = heard(&[("a", Source::Pod, 10.0, 1020.0)]);
    let busy = Load {
        running: 6.0,
        waiting: 2.0,
        ..finished(50.0)
    };
    e.engine("uid-b", candidate(Source::Pod, 12.0, reading(busy)));
    let g = judge(&mut m, &t, e, 15.0);
    let s = &g.streams[0];
    assert_eq!(
        (arrivals(s), s.counted_by, notes(s)),
        (28.0, Some(CountedBy::Engines), &[Note::LowerBound][..])
    );
    let sample = s.outcome.sample().unwrap();
    assert_eq!((sample.running, sample.at), (8.0, 11.0));
    // 20 of the requests finished, all with their first token after 0.2 s where 0.1 s is promised.
    assert_eq!((sample.met, sample.missed), (0.0, 20.0));
    assert_eq!(
        (sample.input_tokens.count, sample.input_tokens.sum),
        (20.0, 24_000.0)
    );
    assert_eq!(sample.prefix_hit, Some(0.25));
    assert_eq!(
        g.streams[1].outcome.missing().unwrap().reason,
        Reason::NoClassLabel
    );
}

#[test]
fn a_picker_counts_offered_load_by_class_and_lends_engines_shapes() {
    let (mut m, t) = (Memory::default(), targets(&["a"]));
    let cycle = |m: &mut Memory, now: f64, standard: f64, premium: f64| -> Gathered {
        let mut e = heard(&[("a", Source::Pod, now, standard)]);
        picker(&mut e, now, &requests(standard, premium));
        judge(m, &t, e, now)
    };
    cycle(&mut m, 0.0, 100.0, 10.0);
    let g = cycle(&mut m, 15.0, 160.0, 17.0);
    assert_eq!(
        (arrivals(&g.streams[0]), arrivals(&g.streams[1])),
        (60.0, 7.0)
    );
    let premium = g.streams[1].outcome.sample().unwrap();
    assert_eq!((premium.held, premium.class.as_str()), (4.0, "premium"));
    assert_eq!(
        premium.input_tokens.count, 60.0,
        "the engines know the shape"
    );
    assert!(
        g.streams
            .iter()
            .all(|s| s.counted_by == Some(CountedBy::Router))
    );
    assert!(g.unclaimed.is_empty());
}

#[test]
fn changing_who_counts_neither_repeats_nor_loses() {
    let (mut m, t) = (Memory::default(), targets(&["a"]));
    let mut total = Vec::new();
    for i in 0..6 {
        let (now, n) = (15.0 * f64::from(i), 100.0 * f64::from(i));
        let mut e = heard(&[("a", Source::Pod, now, 5e6 + n)]);
        if i < 3 {
            picker(&mut e, now, &requests(n, 0.0));
        } else if i == 3 {
            // The picker has gone for good; its last page is five minutes old.
            picker(&mut e, now - 300.0, &requests(n, 0.0));
        }
        total.push(arrivals(&judge(&mut m, &t, e, now).streams[0]));
    }
    assert_eq!(total, [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
}

#[test]
fn what_came_while_nobody_could_be_believed_is_not_lost() {
    let (mut m, t) = (Memory::default(), targets(&["a"]));
    let cycle = |m: &mut Memory, now: f64, n: f64, read: f64, shown: f64| {
        let mut e = heard(&[("a", Source::Pod, now, 5e6 + n)]);
        picker(&mut e, read, &requests(shown, 0.0));
        judge(m, &t, e, now)
    };
    cycle(&mut m, 0.0, 0.0, 0.0, 0.0);
    // The picker's page stands still. It is believed for a minute and a half; then the engines, who saw it all, take over.
    let mut last = 0.0;
    for i in 1..=8 {
        let now = 15.0 * f64::from(i);
        last = arrivals(&cycle(&mut m, now, now, 0.0, 0.0).streams[0]);
        assert_eq!(last, if now <= 90.0 { 0.0 } else { now });
    }
    assert_eq!(last, 120.0);
}

#[test]
fn too_much_of_the_fleet_missing_holds_the_stream_and_a_little_is_filled_in() {
    let (mut m, t) = (Memory::default(), targets(&["a", "b", "c", "d"]));
    let all = |now: f64, n: f64, pods: &[&str]| {
        let heard_of: Vec<_> = pods.iter().map(|p| (*p, Source::Pod, now, n)).collect();
        heard(&heard_of)
    };
    judge(&mut m, &t, all(0.0, 100.0, &["a", "b", "c", "d"]), 0.0);
    // d falls silent; its sample is believed until it is 90 s old.
    let g = judge(&mut m, &t, all(100.0, 130.0, &["a", "b", "c"]), 100.0);
    assert_eq!(
        (arrivals(&g.streams[0]), g.streams[0].absent.as_slice()),
        (120.0, &["ml/d".to_owned()][..])
    );
    assert!(notes(&g.streams[0]).contains(&Note::PartialFleet));
    let g = judge(&mut m, &t, all(200.0, 160.0, &["a"]), 200.0);
    let missing = g.streams[0].outcome.missing().unwrap();
    assert_eq!(
        (missing.reason, missing.detail.as_str()),
        (Reason::PartialFleet, "ml/b, ml/c, ml/d")
    );
}

#[test]
fn prefill_pods_do_not_count_requests_twice() {
    let mut t = targets(&["d"]);
    t.variants = vec![variant("v", Part::Decode), variant("p", Part::Prefill)];
    t.pods.push(pod("p", "p"));
    let mut m = Memory::default();
    judge(
        &mut m,
        &t,
        heard(&[("d", Source::Pod, 0.0, 0.0), ("p", Source::Pod, 0.0, 0.0)]),
        0.0,
    );
    let g = judge(
        &mut m,
        &t,
        heard(&[
            ("d", Source::Pod, 10.0, 30.0),
            ("p", Source::Pod, 10.0, 30.0),
        ]),
        10.0,
    );
    assert_eq!(arrivals(&g.streams[0]), 30.0);
    assert_eq!(g.replicas("p").count(), 1);
}

#[test]
fn a_relabelled_pod_moves_without_its_history() {
    let mut t = targets(&["a", "b"]);
    t.pods[1].variant = "other".into();
    let mut m = Memory::default();
    judge(
        &mut m,
        &t,
        heard(&[("a", Source::Pod, 0.0, 10.0), ("b", Source::Pod, 0.0, 9e5)]),
        0.0,
    );
    t.pods[1].variant = "v".into();
    let g = judge(
        &mut m,
        &t,
        heard(&[
            ("a", Source::Pod, 10.0, 12.0),
            ("b", Source::Pod, 10.0, 9e5 + 1.0),
        ]),
        10.0,
    );
    assert_eq!(arrivals(&g.streams[0]), 2.0);
}

#[test]
fn names_that_nobody_claims_are_told() {
    let mut t = targets(&["a"]);
    t.models[0].served_as.clear();
    let mut e = heard(&[("a", Source::Pod, 0.0, 10.0)]);
    picker(
        &mut e,
        0.0,
        "llm_d_epp_request_total{model_name=\"mystery\"} 5\n",
    );
    let g = judge(&mut Memory::default(), &t, e, 0.0);
    let names: Vec<&String> = g.unclaimed.keys().collect();
    assert_eq!(names, ["meta/llama", "mystery"]);
    assert!(
        matches!(&g.pods[0].outcome, wva_controllers::telemetry::Outcome::Sample(s) if s.notes == [Note::NameMismatch])
    );
}

#[test]
fn pushes_come_first_and_repeating_them_changes_nothing() {
    let t = targets(&["a"]);
    let mut m = Memory::default();
    let push = |sequence: u64, n: f64| Push {
        version: VERSION,
        pusher: "uid-epp".into(),
        incarnation: 7,
        sequence,
        at: 10.0 * sequence as f64,
        streams: vec![StreamSample {
            model: "llama".into(),
            class: "premium".into(),
            arrivals: n,
            met: n - 1.0,
            missed: 1.0,
            held: 2.0,
            ..StreamSample::default()
        }],
        engines: BTreeMap::from([("uid-a".to_owned(), (10.0 * sequence as f64, reading(LOAD)))]),
        fits_at: None,
    };
    let mut last = None;
    for (sequence, n) in [(1, 100.0), (2, 150.0), (2, 150.0)] {
        let mut e = Evidence::default();
        let now = 10.0 * sequence as f64 + 1.0;
        e.pushed.take(push(sequence, n), now);
        last = Some(judge(&mut m, &t, e, now));
    }
    let g = last.unwrap();
    let s = g.streams[1].outcome.sample().unwrap();
    assert_eq!(
        (s.arrivals, s.met, s.missed, s.held),
        (50.0, 50.0, 0.0, 2.0)
    );
    assert!(
        matches!(&g.pods[0].outcome, wva_controllers::telemetry::Outcome::Sample(s) if s.source == Source::Push)
    );
}

#[derive(Debug, Clone)]
struct Shown {
    pods: [Option<(f64, f64)>; 3],
    picker: Option<(f64, f64)>,
}

fn any_shown() -> impl Strategy<Value = Shown> {
    let number = prop_oneof![
        0.0..1e4_f64,
        Just(f64::NAN),
        Just(-1.0),
        Just(1e15),
        0.0..10.0_f64
    ];
    let late = prop_oneof![0.0..30.0_f64, Just(-50.0), Just(500.0)];
    let pod = proptest::option::of((late, number));
    (prop::array::uniform3(pod.clone()), pod).prop_map(|(pods, picker)| Shown { pods, picker })
}

fn grows(before: &Histogram, after: &Histogram) -> bool {
    before.count <= after.count && before.sum <= after.sum && after.counts.iter().all(|c| *c >= 0.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes and goes, restarts or lies: counters of streams only grow, ages are not negative, times not ahead.
    #[test]
    fn streams_only_grow(cycles in proptest::collection::vec(any_shown(), 1..12)) {
        let t = targets(&["0", "1", "2"]);
        let mut m = Memory::default();
        let mut last: Vec<Option<StreamSample>> = vec![None, None];
        for (i, shown) in cycles.iter().enumerate() {
            let now = 1000.0 + 15.0 * i as f64;
            let mut e = Evidence::default();
            for (p, seen) in shown.pods.iter().enumerate() {
                if let Some((late, n)) = seen {
                    e.engine(&format!("uid-{p}"), candidate(Source::Pod, now - late, reading(finished(*n))));
                }
            }
            if let Some((late, n)) = shown.picker {
                picker(&mut e, now - late, &requests(n, n / 2.0));
            }
            let g = judge(&mut m, &t, e, now);
            for (s, last) in g.streams.iter().zip(&mut last) {
                let Some(sample) = s.outcome.sample() else { continue };
                prop_assert!(sample.at <= now && sample.arrivals.is_finite());
                if let Some(before) = last {
                    prop_assert!(before.arrivals <= sample.arrivals && before.at <= sample.at);
                    prop_assert!(before.met <= sample.met && before.missed <= sample.missed);
                    prop_assert!(grows(&before.ttft, &sample.ttft));
                }
                *last = Some(sample.clone());
            }
        }
    }
}
