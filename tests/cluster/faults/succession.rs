//! Leaders that die or freeze in the middle of writing: who follows goes on where they were.
//!
//! Many variants come at once, each of which needs a status and a scale. The moment the first is written its writer is stopped.
//! What each of them did is told by the API server's own record, which keeps the words that were written.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use wva_testbed::control_plane::audit::Request;
use wva_testbed::process::Process;
use wva_testbed::{eventually, or_skip};

use super::leaders::{campaign, followed, held, is_write, renewed};
use crate::metronome::Metronome;
use crate::plot::{Ground, Plot};
use crate::site::CHEAP;

/// Variants that come at once.
const CROWD: usize = 60;
/// Those of them whose model is known, since somebody serves it: they are scaled at once.
const KNOWN: usize = 6;
/// A leader that has written everything before it is stopped is no case; so often it is tried again.
const TRIES: usize = 4;
/// Writes that a wave takes at least.
const LEAST: usize = CROWD + KNOWN;

fn name(wave: usize, i: usize) -> String {
    format!("model-{wave}-{i:02}")
}

/// A Deployment that no node suits, and its variant, which wants one replica more.
fn objects(plot: &Plot<'_>, wave: usize, i: usize) -> Vec<Value> {
    let mut deployment = crate::site::deployment(&plot.namespace, CHEAP, "none", 1);
    deployment["metadata"]["name"] = json!(name(wave, i));
    let labels = json!({"app": name(wave, i)});
    deployment["spec"]["selector"]["matchLabels"] = labels.clone();
    deployment["spec"]["template"]["metadata"]["labels"] = labels;
    deployment["spec"]["template"]["spec"]["nodeSelector"] = json!({"none": "none"});
    let mut variant = plot.variant(CHEAP);
    variant["metadata"]["name"] = json!(name(wave, i));
    variant["metadata"]["labels"] = json!({"inference.optimization/acceleratorName": "L40S"});
    variant["spec"]["scaleTargetRef"]["name"] = json!(name(wave, i));
    variant["spec"]["minReplicas"] = json!(2);
    if i >= KNOWN {
        variant["spec"]["modelID"] = json!(format!("acme/none-{i}-8b"));
    }
    vec![deployment, variant]
}

/// Makes the variants of a wave; nobody minds them before all are there.
async fn come(plot: &Plot<'_>, wave: usize) {
    mind(plot, false).await;
    let all = (0..CROWD).flat_map(|i| objects(plot, wave, i));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": all.collect::<Vec<_>>()});
    let create = ["create", "-f", "-"];
    let list = list.to_string();
    plot.admin().kubectl_reading(&list, &create).await.unwrap();
    mind(plot, true).await;
}

/// Whether the namespace is minded.
async fn mind(plot: &Plot<'_>, minded: bool) {
    let exclude = format!("wva.llmd.ai/exclude={}", !minded);
    let label = [
        "label",
        "namespace",
        &plot.namespace,
        &exclude,
        "--overwrite",
    ];
    plot.admin().kubectl(&label).await.unwrap();
    // So that all of them see that it is not, before there is something to see.
    tokio::time::sleep(Duration::from_secs(u64::from(!minded))).await;
}

/// Done when the first variant of a wave has a status.
fn first_written(plot: &Plot<'_>, wave: usize) -> JoinHandle<()> {
    let watched = watcher(plot.variants(), watcher::Config::default()).default_backoff();
    let prefix = format!("model-{wave}-");
    tokio::spawn(async move {
        let mut changes = std::pin::pin!(watched.applied_objects());
        while let Some(change) = changes.next().await {
            let Ok(variant) = change else { continue };
            let ours = variant
                .metadata
                .name
                .is_some_and(|n| n.starts_with(&prefix));
            if ours && variant.data["status"]["conditions"].is_array() {
                return;
            }
        }
    })
}

/// Writes about variants of a wave and their targets, oldest first, by the name of the writer.
fn written(plot: &Plot<'_>, wave: usize) -> Vec<(String, Request)> {
    let prefix = format!("system:serviceaccount:{}:", plot.system);
    let of = format!("model-{wave}-");
    let requests = plot.cluster.requests().unwrap().into_iter();
    let ours = requests.filter(|r| r.namespace == plot.namespace && r.name.starts_with(&of));
    let ours = ours.filter(|r| r.resource != "events" && r.verb != "get");
    ours.filter_map(|r| Some((r.user.strip_prefix(&prefix)?.to_owned(), r)))
        .collect()
}

/// What was written, without when.
fn content(request: &Request) -> String {
    let mut body: Value = serde_json::from_str(&request.body).unwrap();
    if let Some(conditions) = body["status"]["conditions"].as_array_mut() {
        conditions
            .iter_mut()
            .for_each(|c| c["lastTransitionTime"] = Value::Null);
    }
    body["status"]["desiredOptimizedAlloc"]["lastRunTime"] = Value::Null;
    body["metadata"] = Value::Null;
    body.to_string()
}

/// Waits until every variant of a wave has its status, and those that are known their two replicas.
async fn finished(plot: &Plot<'_>, wave: usize) {
    let (variants, deployments) = (plot.variants(), plot.deployments());
    let of = format!("model-{wave}-");
    eventually("everything to be written", async || {
        let all = ListParams::default();
        let found = variants.list(&all).await.map_err(|e| e.to_string())?;
        let ours = found.iter().filter(|v| v.name_any().starts_with(&of));
        let told = ours
            .filter(|v| v.data["status"]["conditions"].is_array())
            .count();
        let found = deployments.list(&all).await.map_err(|e| e.to_string())?;
        let ours = found.iter().filter(|d| d.name_any().starts_with(&of));
        let scaled = ours.filter(|d| d.spec.as_ref().and_then(|s| s.replicas) == Some(2));
        match (told, scaled.count()) {
            (CROWD, KNOWN) => Ok(()),
            some => Err(format!("{some:?} of {CROWD}, {KNOWN}")),
        }
    })
    .await
    .unwrap();
}

/// One candidate and its name.
type Candidate = (String, Process);

async fn candidate(plot: &Plot<'_>, count: &mut usize) -> Candidate {
    let name = format!("candidate-{count}");
    *count += 1;
    let process = campaign(plot, &name).await;
    (name, process)
}

/// Has a wave come and stops the leader at the first write; the heir finishes. Returns how much the leader had written by then.
async fn interrupted(
    plot: &Plot<'_>,
    wave: usize,
    (leader, process): &Candidate,
    heir: &str,
    signal: &str,
) -> usize {
    let first = first_written(plot, wave);
    come(plot, wave).await;
    let first = tokio::time::timeout(Duration::from_secs(240), first).await;
    let (watched, begin) = (Metronome::start(), Instant::now());
    process.signal(signal).unwrap();
    first.expect("somebody writes").unwrap();
    let last = renewed(plot).await;
    let taken = held(plot, heir).await.acquire_time.unwrap().0;
    let after = followed(last, taken, (&watched, begin));
    finished(plot, wave).await;
    if signal == "STOP" {
        // It goes on in the middle of whatever it wrote.
        process.signal("CONT").unwrap();
        eventually("it to notice", async || {
            let log = process.log();
            log.contains("leadership lost")
                .then_some(())
                .ok_or(process.log_tail())
        })
        .await
        .unwrap();
    }
    let done = written(plot, wave);
    let done = done
        .iter()
        .filter(|(who, r)| who == leader && is_write(r))
        .count();
    println!(
        "{leader}: {signal} after {done} of at least {LEAST} writes; followed after {after:#}"
    );
    done
}

/// The API server's record of a wave: nobody wrote after another had taken the Lease, nothing was written over with the same
/// words, and each target was scaled once.
fn no_double_write(plot: &Plot<'_>, wave: usize, leader: &str, heir: &str) {
    let requests = plot.cluster.requests().unwrap();
    let user = format!("system:serviceaccount:{}:{heir}", plot.system);
    let taken = requests
        .iter()
        .find(|r| r.user == user && r.resource == "leases" && is_write(r))
        .expect("the heir leads");
    let mut before: BTreeMap<String, String> = BTreeMap::new();
    let (mut scales, mut refused) = (BTreeMap::new(), 0);
    for (who, request) in written(plot, wave) {
        let late = who == leader && request.at > taken.at;
        if (400..500).contains(&request.code) {
            refused += usize::from(late);
            continue;
        }
        let object = format!("{}/{}", request.resource, request.name);
        let answered = is_write(&request);
        // What a frozen writer had begun to send times out at the API server, whenever that is.
        assert!(!late || !answered, "after {}: {request:?}", taken.at);
        if request.resource.ends_with("/scale") {
            *scales.entry(request.name.clone()).or_insert(0) += usize::from(answered);
        }
        if !answered {
            // An API server that takes too long may have written it or not: what comes next is compared with neither.
            before.remove(&object);
            continue;
        }
        let words = content(&request);
        let earlier = before.insert(object, words.clone());
        assert_ne!(earlier.as_ref(), Some(&words), "{request:?}");
    }
    assert_eq!(scales.len(), KNOWN);
    assert!(scales.values().all(|n| *n <= 1), "{scales:?}");
    println!(
        "wave {wave}: {} objects, each scaled once; {refused} late writes refused",
        before.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_a_leader_that_is_stopped_in_the_middle_of_writing_goes_on_where_it_was() {
    // A cluster of its own: pods that no node suits keep the shared one's scheduler from everybody else's.
    let Some(ground) = or_skip(Ground::start().await) else {
        return;
    };
    let plot = Plot::new(&ground.cluster, "succession").await;
    plot.deploy(CHEAP, 1).await;
    plot.replicas(CHEAP, "a replica", |n| n == 1).await;
    plot.apply(&plot.variant(CHEAP)).await;
    let _load = plot.load(&[(0.0, 1.0), (600.0, 1.0)]);
    let (mut count, mut wave) = (0, 0);
    let mut leader = candidate(&plot, &mut count).await;
    held(&plot, &leader.0).await;
    for signal in ["KILL", "STOP"] {
        let mut cases = 0;
        for _ in 0..TRIES {
            let heir = candidate(&plot, &mut count).await;
            // It has seen everything before it is needed.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let done = interrupted(&plot, wave, &leader, &heir.0, signal).await;
            no_double_write(&plot, wave, &leader.0, &heir.0);
            wave += 1;
            leader = heir;
            if (1..LEAST).contains(&done) {
                cases += 1;
                break;
            }
        }
        assert_eq!(cases, 1, "{signal} never came in the middle of writing");
    }
}
