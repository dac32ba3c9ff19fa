//! Clients that leave, servers that die, pickers that are killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use wva_emulator::{Config, Emulator, Handle, ServerSpec};
use wva_epp_core::config::DEFAULT;
use wva_testbed::{Envoy, eventually};

use crate::bed::{Picker, Place, envoy, puppets};
use crate::client::{Answer, client, completion, post};
use crate::puppet::Script;

const RUNNING: &str = "llm_d_epp_request_running";

#[tokio::test]
async fn a_client_that_leaves_is_not_counted_any_more() {
    let Some(envoy) = envoy().await else { return };
    let servers = puppets(envoy, Place::Disconnects, 1).await;
    servers[0].plays(Script::Hang);
    let picker = Picker::of(envoy, Place::Disconnects, DEFAULT, &servers).await;
    let body = completion("m", "one").to_string();
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let request = client()
            .post(picker.url("/v1/completions"))
            .body(body.clone());
        let mut response = request.send().await.unwrap();
        assert!(response.chunk().await.unwrap().is_some());
        waiting.push(response);
    }
    picker.settles(RUNNING, 5.0).await;
    waiting.truncate(2);
    picker.settles(RUNNING, 2.0).await;
    drop(waiting);
    picker.settles(RUNNING, 0.0).await;
    picker
        .settles("llm_d_epp_extproc_streams_inflight", 0.0)
        .await;
}

/// Emulated servers at the first three addresses of a place.
fn emulated(envoy: &Envoy, place: Place, speed: f64) -> Handle {
    let emulator = Emulator::start(Config { speed }).unwrap();
    for index in 0..3 {
        let address = place.pod(envoy.host(), index);
        let spec = ServerSpec::of("llama-3.1-8b", "h100", address).unwrap();
        emulator.spawn_server(spec).unwrap();
    }
    emulator
}

/// Three servers in the order of preference instead of one.
const THREE: &str = "\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: queue-scorer}, {type: max-score-picker, parameters: {maxNumOfEndpoints: 3}}]
schedulingProfiles: [{name: default, plugins: [{pluginRef: queue-scorer}, {pluginRef: max-score-picker}]}]
";

async fn picker_of_three(envoy: &Envoy, place: Place) -> Picker {
    let servers: Vec<_> = (0..3).map(|i| place.pod(envoy.host(), i)).collect();
    let picker = Picker::new(envoy, place, THREE, &servers, &[]);
    picker.daemon.start().await.unwrap();
    picker
}

#[tokio::test]
async fn a_server_that_dies_is_replaced_by_the_next_best() {
    let Some(envoy) = envoy().await else { return };
    // A hundred tokens take about a second, so that there is time to kill.
    let emulator = emulated(envoy, Place::Fallbacks, 1.0);
    let picker = picker_of_three(envoy, Place::Fallbacks).await;
    let url = picker.url("/v1/completions");
    let body = serde_json::json!({
        "model": "llama-3.1-8b", "prompt": "one", "max_tokens": 100, "ignore_eos": true,
    });
    let body = body.to_string().into_bytes();
    let asked = tokio::spawn(async move { post(&url, body, &[]).await });
    let busy = async || {
        let servers = emulator.servers();
        servers
            .into_iter()
            .find(|s| s.in_flight() > 0)
            .ok_or("none is busy")
    };
    let busy = eventually("a busy server", busy).await.unwrap();
    busy.stop().await;
    let answer = asked.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["usage"]["completion_tokens"], 100);
    picker.settles(RUNNING, 0.0).await;
}

#[tokio::test]
async fn a_picker_that_is_killed_fails_no_request_that_comes_then() {
    let Some(envoy) = envoy().await else { return };
    let _emulator = emulated(envoy, Place::Restarts, 100.0);
    let picker = picker_of_three(envoy, Place::Restarts).await;
    let url = Arc::new(picker.url("/v1/completions"));
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (url, stop, done) = (Arc::clone(&url), Arc::clone(&stop), Arc::clone(&done));
        clients.push(tokio::spawn(async move {
            let mut failed: Vec<Answer> = Vec::new();
            while !stop.load(SeqCst) {
                let body = completion("llama-3.1-8b", "one").to_string();
                let answer = post(&url, body.into_bytes(), &[]).await;
                if answer.status == 200 && answer.json()["usage"].is_object() {
                    done.fetch_add(1, SeqCst);
                } else {
                    failed.push(answer);
                }
            }
            failed
        }));
    }
    let more = async |number: usize| {
        let before = done.load(SeqCst);
        let enough = async || {
            let now = done.load(SeqCst) - before;
            (now >= number).then_some(()).ok_or(now)
        };
        eventually("more answers", enough).await.unwrap();
    };
    more(50).await;
    picker.daemon.stop();
    more(50).await;
    picker.daemon.start().await.unwrap();
    let taken = picker.metric("llm_d_epp_request_total").await;
    let again = async || {
        let now = picker.metric("llm_d_epp_request_total").await;
        (now > taken + 20.0).then_some(()).ok_or(now)
    };
    eventually("the new picker to be asked", again)
        .await
        .unwrap();
    more(50).await;
    stop.store(true, SeqCst);
    let mut failed = Vec::new();
    for client in clients {
        failed.extend(client.await.unwrap());
    }
    tokio::time::sleep(Duration::ZERO).await;
    // Each client had at most one request inside the picker when it was killed.
    assert!(failed.len() <= 4, "{failed:?}");
    println!(
        "{} answers, {} lost with the picker",
        done.load(SeqCst),
        failed.len()
    );
}
