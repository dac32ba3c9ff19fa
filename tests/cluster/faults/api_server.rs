//! API servers that restart, forget the past, or hold what they would refuse today. These tests break a cluster of their own,
//! and take turns at it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use wva_testbed::{ControlPlane, Error, eventually, or_skip};

use crate::plot::{Busy, Ground, IDLE, Plot, condition};
use crate::site::{CHEAP, LARGE};

/// The cluster, and the right to break it.
async fn turn() -> Option<(&'static Ground, MutexGuard<'static, ()>)> {
    static SHARED: OnceCell<Result<Ground, Error>> = OnceCell::const_new();
    static TURN: Mutex<()> = Mutex::const_new(());
    let ground = or_skip(SHARED.get_or_init(Ground::start).await.as_ref())?;
    Some((ground, TURN.lock().await))
}

fn pods() -> Value {
    json!({"pods": {"interval_seconds": 1, "timeout_seconds": 2}})
}

/// All that was asked for since was enough.
fn never_below(busy: &Busy<'_>, from: usize, least: i32) {
    let asked = busy.asked.values()[from.saturating_sub(1)..].to_vec();
    assert!(asked.iter().all(|n| *n >= least), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_restarts() {
    let Some((ground, _turn)) = turn().await else {
        return;
    };
    let plot = Plot::new(&ground.cluster, "restart").await;
    let mut busy = plot.busy(&pods()).await;
    let from = busy.asked.values().len();
    ground.cluster.apiserver().stop();
    // Requests go on, and so does the telemetry; decisions cannot be written.
    tokio::time::sleep(Duration::from_secs(6)).await;
    busy.controller.must_run().unwrap();
    ground.cluster.apiserver().start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    never_below(&busy, from, 2);
    busy.load.again(&[(0.0, IDLE), (600.0, IDLE)]);
    busy.goes_down().await;
}

/// Has etcd forget all but the present.
async fn forget_the_past(cluster: &ControlPlane) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let client = client.build().unwrap();
    let ask = async |path: &str, question: Value| {
        let url = format!("http://{}:2379/v3/{path}", cluster.host());
        let answer = client.post(url).json(&question).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    let range = ask("kv/range", json!({"key": "Lw=="})).await;
    let revision = range["header"]["revision"].clone();
    let compacted = ask(
        "kv/compaction",
        json!({"revision": revision, "physical": true}),
    );
    let compacted = compacted.await;
    assert!(compacted["header"].is_object(), "{compacted}");
}

/// 410 Gone: whoever slept for too long cannot be told what happened, and has to look at everything anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_expires() {
    let Some((ground, _turn)) = turn().await else {
        return;
    };
    let plot = Plot::new(&ground.cluster, "expired").await;
    plot.deploy(LARGE, 1).await;
    plot.apply(&plot.variant(LARGE)).await;
    let busy = plot.busy(&pods()).await;
    let from = busy.asked.values().len();
    busy.controller.signal("STOP").unwrap();
    // What it misses: one variant goes, the other is to have more replicas.
    plot.admin()
        .kubectl(&["delete", "va", LARGE.name, "-n", &plot.namespace])
        .await
        .unwrap();
    let mut variant = plot.variant(CHEAP);
    variant["spec"]["minReplicas"] = json!(6);
    plot.apply(&variant).await;
    ground.cluster.apiserver().stop();
    forget_the_past(&ground.cluster).await;
    ground.cluster.apiserver().start().await.unwrap();
    busy.controller.signal("CONT").unwrap();
    plot.replicas(CHEAP, "six replicas or more", |n| n >= 6)
        .await;
    never_below(&busy, from, 2);
    let log = busy.controller.log();
    assert!(
        log.contains("410") || log.contains("Expired") || log.contains("too old"),
        "no watch expired:\n{log}"
    );
    busy.controller.must_run().unwrap();
}

/// Stored before the schema was what it is. It is named, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_makes_no_sense() {
    let Some((ground, _turn)) = turn().await else {
        return;
    };
    let plot = Plot::new(&ground.cluster, "nonsense").await;
    let _busy = plot.busy(&pods()).await;
    let definition = ["get", "crd", "variantautoscalings.llmd.ai", "-o", "json"];
    let strict = plot.admin().kubectl(&definition).await.unwrap();
    let mut lax: Value = serde_json::from_str(&strict).unwrap();
    for version in lax["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"] =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    let replace = ["replace", "-f", "-"];
    plot.admin()
        .kubectl_reading(&lax.to_string(), &replace)
        .await
        .unwrap();
    let mut nonsense = plot.variant(LARGE);
    nonsense["spec"]["minReplicas"] = json!("many");
    nonsense["spec"]["scaleTargetRef"] = json!(["a", "list"]);
    let taken = eventually("the object to be taken", async || {
        let apply = ["create", "-f", "-"];
        let admin = plot.admin();
        admin.kubectl_reading(&nonsense.to_string(), &apply).await
    });
    taken.await.unwrap();
    let mut again: Value = serde_json::from_str(&strict).unwrap();
    let metadata = again["metadata"].as_object_mut().unwrap();
    metadata.remove("resourceVersion");
    let replace = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    metadata.remove("managedFields");
    plot.admin()
        .kubectl_reading(&again.to_string(), &replace)
        .await
        .unwrap();
    let words = ["get", "events", "-n", &plot.namespace, "-o", "json"];
    eventually("an event about the object", async || {
        let events = plot
            .admin()
            .kubectl(&words)
            .await
            .map_err(|e| e.to_string())?;
        let events: Value = serde_json::from_str(&events).map_err(|e| e.to_string())?;
        let mut all = events["items"].as_array().into_iter().flatten();
        let told = |e: &Value| {
            e["involvedObject"]["name"] == LARGE.name
                && e["reason"] == "InvalidConfiguration"
                && e["message"].as_str().is_some_and(|m| m.contains("many"))
        };
        match all.any(told) {
            true => Ok(()),
            false => Err(format!(
                "{} events",
                events["items"].as_array().map_or(0, Vec::len)
            )),
        }
    })
    .await
    .unwrap();
    // The other variant is decided about all the while.
    let mut variant = plot.variant(CHEAP);
    variant["spec"]["minReplicas"] = json!(5);
    plot.apply(&variant).await;
    plot.replicas(CHEAP, "five replicas or more", |n| n >= 5)
        .await;
    let status = plot.status(CHEAP.name, "a status", |s| !s.is_null()).await;
    assert_eq!(condition(&status, "OptimizationReady").0, "True");
}
