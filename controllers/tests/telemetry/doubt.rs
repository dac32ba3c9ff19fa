//! Counts that cannot be: routers that claim what no engine got, and engines that claim what no device can do.

use std::sync::Arc;

use wva_controllers::telemetry::evidence::{Candidate, Evidence, RouterEvidence};
use wva_controllers::telemetry::exposition::Syntax;
use wva_controllers::telemetry::gathered::{CountedBy, Outcome, StreamTelemetry};
use wva_controllers::telemetry::memory::Memory;
use wva_controllers::telemetry::reason::{Note, Reason, Source};
use wva_controllers::telemetry::router::RouterReader;
use wva_controllers::telemetry::targets::{Bounds, Targets};

use crate::fleet::{candidate, finished, judge, reading, targets};

/// A picker and an engine that have each been at work for long, read each ten seconds.
struct World {
    memory: Memory,
    targets: Targets,
    now: f64,
    sent: f64,
    got: f64,
}

impl World {
    fn new() -> Self {
        let mut targets = targets(&["a"]);
        // An L40S with a model of 8 billion parameters.
        targets.variants[0].bounds = Some(Bounds {
            sequences: 256.0,
            tokens_per_second: 10_000.0,
        });
        Self {
            memory: Memory::default(),
            targets,
            now: 0.0,
            sent: 5000.0,
            got: 5000.0,
        }
    }

    /// Ten seconds later: what the picker has sent on since and the engine got, as they say, each if it is heard.
    fn later(&mut self, sent: Option<f64>, got: Option<f64>) -> StreamTelemetry {
        self.now += 10.0;
        self.sent += sent.unwrap_or(0.0);
        self.got += got.unwrap_or(0.0);
        let mut evidence = Evidence::default();
        if sent.is_some() {
            let labels = "model_name=\"chat\",target_model_name=\"meta/llama\"";
            let page = format!("llm_d_epp_request_total{{{labels}}} {}\n", self.sent);
            let reading = RouterReader::of_page(page.as_bytes(), Syntax::Text).0;
            let picker = Candidate {
                source: Source::Pod,
                at: self.now,
                reading: Arc::new(reading.unwrap()),
                notes: Vec::new(),
            };
            let routers = RouterEvidence {
                namespace: Some("ml".into()),
                candidates: vec![picker],
            };
            evidence.routers.insert("uid-epp".into(), routers);
        }
        if got.is_some() {
            let reading = reading(finished(self.got));
            evidence.engine("uid-a", candidate(Source::Pod, self.now, reading));
        }
        let gathered = judge(&mut self.memory, &self.targets, evidence, self.now);
        gathered.streams[0].clone()
    }
}

fn arrivals(stream: &StreamTelemetry) -> Option<f64> {
    stream.outcome.sample().map(|s| s.arrivals)
}

fn contradicted(stream: &StreamTelemetry) -> bool {
    match &stream.outcome {
        Outcome::Sample(sampled) => sampled.notes.contains(&Note::Contradicted),
        Outcome::Missing(missing) => missing.reason == Reason::Contradicted,
    }
}

#[test]
fn a_router_that_claims_a_thousand_times_too_much_counts_for_nothing() {
    let mut world = World::new();
    for _ in 0..5 {
        world.later(Some(20.0), Some(20.0));
    }
    let before = arrivals(&world.later(Some(20.0), Some(20.0))).unwrap();
    let first = world.later(Some(20_000.0), Some(20.0));
    assert_eq!(arrivals(&first), None, "held until the engines have spoken");
    let during: Vec<StreamTelemetry> = (0..30)
        .map(|_| world.later(Some(20_000.0), Some(20.0)))
        .collect();
    assert!(during.iter().all(contradicted), "{during:?}");
    let last = during.last().unwrap();
    assert_eq!(last.counted_by, Some(CountedBy::Engines));
    let counted = arrivals(last).unwrap() - before;
    assert!((500.0..=700.0).contains(&counted), "{counted} of 620");
    // It comes to its senses.
    let after: Vec<StreamTelemetry> = (0..12)
        .map(|_| world.later(Some(20.0), Some(20.0)))
        .collect();
    let last = after.last().unwrap();
    assert_eq!(
        (last.counted_by, contradicted(last)),
        (Some(CountedBy::Router), false)
    );
    let counted = arrivals(last).unwrap() - before;
    assert!((740.0..=940.0).contains(&counted), "{counted} of 860");
}

#[test]
fn a_burst_is_counted_in_full_a_moment_later() {
    let mut world = World::new();
    // A device that could take it.
    world.targets.variants[0].bounds = Some(Bounds::default());
    for _ in 0..5 {
        world.later(Some(20.0), Some(20.0));
    }
    let before = arrivals(&world.later(Some(20.0), Some(20.0))).unwrap();
    // The engine was read just before it.
    assert_eq!(arrivals(&world.later(Some(2000.0), Some(20.0))), None);
    let after = world.later(Some(20.0), Some(2000.0));
    assert_eq!(arrivals(&after), Some(before + 2020.0));
    assert_eq!(after.counted_by, Some(CountedBy::Router));
}

#[test]
fn where_no_engine_is_heard_the_devices_set_the_bound() {
    let mut world = World::new();
    for _ in 0..5 {
        world.later(Some(20.0), Some(20.0));
    }
    // 10,000 tokens/s and prompts of 1200 tokens: 8 requests/s, and ten times that might be.
    for _ in 0..12 {
        let stream = world.later(Some(200.0), None);
        assert_eq!(stream.counted_by, Some(CountedBy::Router), "{stream:?}");
    }
    let lies: Vec<StreamTelemetry> = (0..12).map(|_| world.later(Some(20_000.0), None)).collect();
    assert!(
        lies.iter()
            .all(|s| arrivals(s).is_none() && contradicted(s)),
        "{lies:?}"
    );
}

#[test]
fn an_engine_that_claims_more_than_its_device_can_do_is_absurd_for_as_long_as_it_does() {
    let mut world = World::new();
    for _ in 0..5 {
        world.later(None, Some(5.0));
    }
    let before = arrivals(&world.later(None, Some(5.0))).unwrap();
    // Half a request a second, a thousand times; a tenth of what used to be let through.
    let lies: Vec<StreamTelemetry> = (0..40).map(|_| world.later(None, Some(5000.0))).collect();
    let missing = lies[39].outcome.missing().expect("nothing is known");
    assert_eq!(missing.reason, Reason::PartialFleet, "{missing:?}");
    for _ in 0..6 {
        world.later(None, Some(5.0));
    }
    let counted = arrivals(&world.later(None, Some(5.0))).unwrap() - before;
    assert!(counted <= 40.0, "{counted}");
}
