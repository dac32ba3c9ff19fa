//! Waiting, waking and being refused.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use wva_epp::clock::Clock;
use wva_epp::objectives::Objectives;
use wva_epp::server::shared::{Handling, Shared};
use wva_epp::server::wire::{Part, ProcessingResponse};
use wva_epp::store::Store;
use wva_epp_core::config::Config;
use wva_epp_core::flow::FlowSettings;
use wva_epp_core::picker::Picker;
use wva_epp_core::saturation::Detector;

use super::common::*;

/// A picker with one place on each endpoint.
fn narrow() -> Picker {
    Picker {
        detector: Detector::Concurrency {
            requests: 1.0,
            tokens: f64::INFINITY,
            headroom: 0.0,
        },
        ..Config::standard().picker
    }
}

fn queueing(endpoints: u8, settings: FlowSettings) -> (Arc<Store>, Arc<Shared>) {
    let store = store_of(narrow(), endpoints);
    let handling = Handling {
        flow: Some(settings),
        start_up_s: 0.0,
        ..Handling::default()
    };
    store.set_objectives(Objectives {
        priorities: [("urgent".to_owned(), 10), ("batch".to_owned(), -1)].into(),
        ..Objectives::default()
    });
    let shared = Shared::new(Arc::clone(&store), Clock::start(), &handling);
    tokio::spawn(Arc::clone(&shared.admission).run());
    (store, shared)
}

fn ask_as(talk: &mut Talk, objective: &str) -> Vec<ProcessingResponse> {
    let pairs = [(":path", CHAT), ("x-llm-d-inference-objective", objective)];
    talk.say(message(Part::RequestHeaders(headers(&pairs, false))));
    talk.say(body(BODY, true))
}

/// Waits for a place, and returns what is said then.
async fn waited(talk: &mut Talk) -> Vec<ProcessingResponse> {
    let waiting = talk.0.waiting().expect("it waits");
    let outcome = tokio::time::timeout(Duration::from_secs(20), Pin::new(waiting));
    let outcome = outcome.await.expect("it does not wait for ever");
    talk.0.admitted(outcome);
    std::iter::from_fn(|| talk.0.to_send()).collect()
}

#[tokio::test]
async fn a_full_pool_makes_wait_and_the_most_important_goes_first() {
    let (store, shared) = queueing(1, FlowSettings::default());
    let mut first = Talk::new(&shared);
    assert!(!first.ask(CHAT, BODY).is_empty());
    let (mut usual, mut urgent) = (Talk::new(&shared), Talk::new(&shared));
    assert!(usual.ask(CHAT, BODY).is_empty());
    assert!(ask_as(&mut urgent, "urgent").is_empty());
    assert_eq!(shared.admission.waiting(), 2);
    let page = shared.metrics.text();
    assert!(
        page.contains("wva_epp_held_requests{inference_pool=\"\"} 2.0"),
        "{page}"
    );
    first.say(answer_headers("application/json", true));
    destination(&waited(&mut urgent).await[0]);
    assert_eq!(shared.admission.waiting(), 1);
    assert!(usual.0.waiting().is_some());
    drop(urgent);
    destination(&waited(&mut usual).await[0]);
    drop(usual);
    assert_eq!(
        (
            shared.admission.waiting(),
            store.state().inflight.requests()
        ),
        (0, 0)
    );
    let page = shared.metrics.text();
    let mut queued = page
        .lines()
        .filter(|l| l.starts_with("llm_d_epp_flow_control_queue_"));
    assert!(queued.all(|l| l.ends_with(" 0")), "{page}");
}

#[tokio::test]
async fn requests_wait_for_the_first_endpoint_of_an_empty_pool() {
    let (store, shared) = queueing(0, FlowSettings::default());
    let mut talk = Talk::new(&shared);
    assert!(talk.ask(CHAT, BODY).is_empty());
    let page = shared.metrics.text();
    assert!(
        page.contains("wva_epp_held_without_endpoints{inference_pool=\"\"} 1.0"),
        "{page}"
    );
    assert!(
        page.contains("llm_d_epp_flow_control_queue_size{model_name=\"m\""),
        "{page}"
    );
    add(&store, 1..=1);
    assert_eq!(destination(&waited(&mut talk).await[0]), "10.0.0.1:8000");
}

#[tokio::test]
async fn too_long_a_wait_is_refused() {
    let short = FlowSettings {
        ttl_s: Some(0.05),
        ttl_empty_s: Some(0.05),
        ..FlowSettings::default()
    };
    let (_, shared) = queueing(1, short.clone());
    let mut first = Talk::new(&shared);
    first.ask(CHAT, BODY);
    let mut late = Talk::new(&shared);
    late.ask(CHAT, BODY);
    let out = waited(&mut late).await;
    assert_eq!(status(&out), (429, Some("evicted-ttl".into())));
    let (_, shared) = queueing(0, short);
    let mut none = Talk::new(&shared);
    none.ask(CHAT, BODY);
    let out = waited(&mut none).await;
    assert_eq!(status(&out), (503, Some("evicted-no-endpoints".into())));
}

#[tokio::test]
async fn a_full_queue_refuses_and_makes_room_for_the_more_important() {
    let settings = FlowSettings {
        max_requests: 1,
        ..FlowSettings::default()
    };
    let (_, shared) = queueing(1, settings);
    let mut first = Talk::new(&shared);
    first.ask(CHAT, BODY);
    let mut batch = Talk::new(&shared);
    assert!(ask_as(&mut batch, "batch").is_empty());
    assert_eq!(
        status(&ask_as(&mut Talk::new(&shared), "batch")).1,
        Some("rejected-capacity".into())
    );
    let mut urgent = Talk::new(&shared);
    assert!(ask_as(&mut urgent, "urgent").is_empty());
    let out = waited(&mut batch).await;
    assert_eq!(status(&out), (429, Some("evicted-priority".into())));
    drop(first);
    destination(&waited(&mut urgent).await[0]);
}

#[tokio::test]
async fn whoever_stops_waiting_leaves_no_trace() {
    let (store, shared) = queueing(1, FlowSettings::default());
    let mut first = Talk::new(&shared);
    first.ask(CHAT, BODY);
    let mut gone = Talk::new(&shared);
    gone.ask(CHAT, BODY);
    let mut stays = Talk::new(&shared);
    stays.ask(CHAT, BODY);
    drop(gone);
    assert_eq!(shared.admission.waiting(), 1);
    drop(first);
    destination(&waited(&mut stays).await[0]);
    // The answer of the proxy itself comes before the place.
    let mut answered = Talk::new(&shared);
    answered.ask(CHAT, BODY);
    answered.say(answer_headers("text/plain", true));
    assert_eq!(shared.admission.waiting(), 0);
    drop(stays);
    assert_eq!(store.state().inflight.requests(), 0);
}

#[tokio::test]
async fn the_waiting_are_told_when_the_process_ends() {
    let (_, shared) = queueing(0, FlowSettings::default());
    let mut talk = Talk::new(&shared);
    talk.ask(CHAT, BODY);
    shared.admission.close();
    let out = waited(&mut talk).await;
    assert_eq!(status(&out), (503, Some("rejected-shutting-down".into())));
    assert_eq!(shared.admission.waiting(), 0);
}

#[tokio::test]
async fn many_at_once_never_exceed_the_places() {
    let (store, shared) = queueing(3, FlowSettings::default());
    let tasks = (0..60).map(|i| {
        let (shared, store) = (Arc::clone(&shared), Arc::clone(&store));
        tokio::spawn(async move {
            let mut talk = Talk::new(&shared);
            let mut out = talk.ask(CHAT, BODY);
            if out.is_empty() {
                out = waited(&mut talk).await;
            }
            destination(&out[0]);
            let inside = store.state().inflight.requests();
            tokio::task::yield_now().await;
            if i % 3 > 0 {
                talk.say(answer_headers("application/json", true));
            }
            inside
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert!(task.await.unwrap() <= 3);
    }
    assert_eq!(
        (
            shared.admission.waiting(),
            store.state().inflight.requests()
        ),
        (0, 0)
    );
}

#[test]
fn without_flow_control_a_full_pool_sheds_what_is_below_zero() {
    let store = store_of(narrow(), 1);
    store.set_objectives(Objectives {
        priorities: [("batch".to_owned(), -1)].into(),
        ..Objectives::default()
    });
    let shared = shared(&store);
    let mut first = Talk::new(&shared);
    assert_eq!(ask_as(&mut first, "batch").len(), 2);
    let out = ask_as(&mut Talk::new(&shared), "batch");
    assert_eq!(status(&out), (429, Some("rejected-saturated".into())));
    assert_eq!(Talk::new(&shared).ask(CHAT, BODY).len(), 2, "others go on");
}
