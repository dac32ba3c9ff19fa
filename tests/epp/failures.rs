//! Clients that leave, servers that die, pickers that are killed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use wva_emulator::{Config, Emulator, Handle, ServerSpec};
use wva_epp_core::config::DEFAULT;
use wva_testbed::{Envoy, eventually};

use crate::bed::{Picker, Place, RUNNING, envoy, puppets};
use crate::client::{Answer, client, completion, post};
use crate::puppet::Script;

const REQUESTS: &str = "llm_d_epp_request_total";

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
    let ask = || {
        let (url, body) = (url.clone(), body.clone());
        tokio::spawn(async move { post(&url, body, &[]).await })
    };
    let mut asked = ask();
    let busy = async || {
        // Nobody looked while it was served: this machine was away for so long.
        if asked.is_finished() {
            asked = ask();
        }
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

/// Requests of some clients, one after the other, until it is ended.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<Answer>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(url: &str, clients: usize) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            failed: Arc::default(),
            clients: Vec::new(),
        };
        for _ in 0..clients {
            let (url, stop) = (url.to_owned(), Arc::clone(&load.stop));
            let (answered, failed) = (Arc::clone(&load.answered), Arc::clone(&load.failed));
            load.clients.push(tokio::spawn(async move {
                while !stop.load(SeqCst) {
                    let body = completion("llama-3.1-8b", "one").to_string();
                    let answer = post(&url, body.into_bytes(), &[]).await;
                    if answer.status == 200 && answer.json()["usage"].is_object() {
                        answered.fetch_add(1, SeqCst);
                    } else {
                        failed.lock().unwrap().push(answer);
                        // Refusals come fast.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }));
        }
        load
    }

    /// Waits for so many more answers.
    async fn goes_on(&self, number: usize) {
        let before = self.answered.load(SeqCst);
        let enough = async || {
            let now = self.answered.load(SeqCst) - before;
            (now >= number).then_some(()).ok_or(now)
        };
        eventually("more answers", enough).await.unwrap();
    }

    fn failed(&self) -> Vec<Answer> {
        self.failed.lock().unwrap().clone()
    }

    async fn end(self) {
        self.stop.store(true, SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

/// Clients at once.
const CLIENTS: usize = 4;

/// Where a picker is replaced as a cluster does it, nobody notices; where one is killed, hardly anybody.
#[tokio::test]
async fn one_of_two_pickers_may_go() {
    let Some(envoy) = envoy().await else { return };
    let place = Place::Restarts;
    let _emulator = emulated(envoy, place, 100.0);
    let servers: Vec<_> = (0..3).map(|i| place.pod(envoy.host(), i)).collect();
    let mut pickers = Vec::new();
    for address in place.pickers(envoy.host()) {
        let drain = ["--drain-timeout=3s"];
        let picker = Picker::at(envoy, place, address, THREE, &servers, &drain);
        picker.daemon.start().await.unwrap();
        pickers.push(picker);
    }
    let [first, second] = &pickers[..] else {
        panic!("there are two");
    };
    let both_are_asked = async || {
        for picker in [first, second] {
            let before = picker.metric(REQUESTS).await;
            let more = async || {
                let now = picker.metric(REQUESTS).await;
                (now > before + 5.0).then_some(()).ok_or(now)
            };
            eventually("requests at both", more).await.unwrap();
        }
    };
    let url = first.url("/v1/completions");
    let load = Load::start(&url, CLIENTS);
    both_are_asked().await;
    first.daemon.terminate().unwrap();
    eventually("the end of the first", async || match first.daemon.runs() {
        true => Err("it runs"),
        false => Ok(()),
    })
    .await
    .unwrap();
    load.goes_on(20).await;
    first.daemon.start().await.unwrap();
    both_are_asked().await;
    assert_eq!(load.failed(), [], "a restart is noticed by nobody");

    second.daemon.stop();
    load.goes_on(60).await;
    // What has not been decided is asked again elsewhere. Lost is what was between the two at that moment.
    let lost = load.failed();
    assert!(lost.len() <= CLIENTS, "{lost:?}");
    load.goes_on(60).await;
    assert_eq!(load.failed(), lost, "nothing is lost later on");
    first.daemon.stop();
    // Without any picker, what has no body goes on.
    for _ in 0..5 {
        let models = client().get(first.url("/v1/models")).send().await.unwrap();
        assert_eq!(models.status(), 200, "fails open");
    }
    second.daemon.start().await.unwrap();
    load.goes_on(50).await;
    load.end().await;
    second.settles(RUNNING, 0.0).await;
}
