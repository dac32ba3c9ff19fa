//! Five thousand variants on one API server.
//!
//! A few get their first status from the controller. The others are then put beside them as they will be by then: thousands of
//! first writes take the API server longer than all that is tested.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use kube::Api;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use wva_controllers::index::Kind;
use wva_testbed::control_plane::audit::Request;
use wva_testbed::process::Process;
use wva_testbed::{Access, ControlPlane, Options, eventually, or_skip};

use crate::plot::define;
use crate::site::{CHEAP, Site};

const VARIANTS: usize = 5000;
const NAMESPACES: usize = 20;
/// Those that get their first status from the controller.
const FEW: usize = 20;
/// Objects of one transaction of etcd, which takes 128 at most.
const AT_ONCE: usize = 60;
const CYCLE: Duration = Duration::from_secs(2);

fn namespace(i: usize) -> String {
    format!("crowd-{}", i % NAMESPACES)
}

fn name(i: usize) -> String {
    format!("model-{i:04}")
}

/// A Deployment and its VariantAutoscaling of this status, with the keys under which the API server keeps them.
fn objects(i: usize, status: &Value) -> [(String, Value); 2] {
    let (namespace, name) = (namespace(i), name(i));
    let stored = |kind: &str, plural: &str, mut object: Value| {
        object["metadata"]["uid"] = json!(format!("00000000-0000-4000-{kind}-{i:012}"));
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        object["metadata"]["generation"] = json!(1);
        (format!("/registry/{plural}/{namespace}/{name}"), object)
    };
    let mut deployment = crate::site::deployment(&namespace, CHEAP, &name, 1);
    deployment["metadata"]["name"] = json!(name);
    let mut variant = json!({
        "apiVersion": "llmd.ai/v1alpha1",
        "kind": "VariantAutoscaling",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "modelID": format!("acme/model-{}-8b", i / 10),
            "minReplicas": 1,
            "maxReplicas": 8,
        },
    });
    if !status.is_null() {
        variant["status"] = status.clone();
    }
    [
        stored("8000", "deployments", deployment),
        stored("8001", "llmd.ai/variantautoscalings", variant),
    ]
}

/// Puts them where another API server would have: a request for each would take longer than all that is tested. Nobody may watch
/// meanwhile: the API server makes one change a revision, and this makes many.
async fn fill(cluster: &ControlPlane, these: Range<usize>, status: impl Fn(usize) -> Value) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let client = client.build().unwrap();
    let url = format!("http://{}:2379/v3/kv/txn", cluster.host());
    let bytes = |text: String| ByteString(text.into_bytes());
    let puts: Vec<Value> = these
        .flat_map(|i| objects(i, &status(i)))
        .map(|(key, object)| {
            json!({"requestPut": {"key": bytes(key), "value": bytes(object.to_string())}})
        })
        .collect();
    for some in puts.chunks(AT_ONCE) {
        let answer = client.post(&url).json(&json!({"success": some})).send();
        let answer: Value = answer.await.unwrap().json().await.unwrap();
        assert_eq!(answer["succeeded"], true, "{answer}");
    }
}

/// An account that may do everything, and of which the API server's record tells what it did.
async fn account(cluster: &ControlPlane) -> Access {
    let account = cluster.service_account("default", "wva").await.unwrap();
    let binding = [
        "create",
        "clusterrolebinding",
        "wva",
        "--clusterrole=cluster-admin",
        "--serviceaccount=default:wva",
    ];
    cluster.admin().kubectl(&binding).await.unwrap();
    account
}

fn start(cluster: &ControlPlane, site: &Site, account: &Access) -> Process {
    let config = json!({
        "policy": {"cycle_seconds": CYCLE.as_secs()},
        "watch": {"stock": "unlimited"},
        "serve": {"http": format!("{}:7080", cluster.host())},
    });
    let alone = ["--no-leader-election", "--namespace", "default"];
    site.controller("wva", account, &config, &alone)
}

fn is_write(request: &&Request) -> bool {
    ["create", "update", "patch", "delete"].contains(&request.verb.as_str())
}

/// The status of a variant, once it has one.
async fn status(site: &Site, i: usize) -> Value {
    let kind = Kind::VariantAutoscaling.api_resource();
    let variants: Api<DynamicObject> =
        Api::namespaced_with(site.client.clone(), &namespace(i), &kind);
    let what = format!("a status of {}", name(i));
    let found = eventually(&what, async || {
        let variant = variants.get(&name(i)).await.map_err(|e| e.to_string())?;
        let status = variant.data["status"].clone();
        status["conditions"]
            .is_array()
            .then_some(status)
            .ok_or("none yet".to_owned())
    });
    found.await.unwrap()
}

/// The value of a series; not a number while there is none.
async fn exported(cluster: &ControlPlane, name: &str) -> f64 {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let url = format!("http://{}:7080/metrics", cluster.host());
    let Ok(page) = client.build().unwrap().get(url).send().await else {
        return f64::NAN;
    };
    let page = page.text().await.unwrap_or_default();
    let mut lines = page.lines();
    let value = lines.find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(f64::NAN, |v| v.trim().parse().unwrap())
}

/// Waits for so many more cycles; how many there were in all.
async fn cycles_pass(cluster: &ControlPlane, more: f64) -> f64 {
    let until = exported(cluster, CYCLES).await + more;
    let passed = eventually("cycles", async || {
        let passed = exported(cluster, CYCLES).await;
        (passed >= until).then_some(passed).ok_or(passed)
    });
    passed.await.unwrap()
}

/// Memory that a process holds, MiB.
fn memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_variants_that_are_at_rest() {
    let options = Options {
        controller_manager: false,
        audit: true,
        ..Options::default()
    };
    let Some(cluster) = or_skip(ControlPlane::start(options).await) else {
        return;
    };
    define(&cluster).await.unwrap();
    let site = Site::at(&cluster, "default".to_owned()).await;
    for i in 0..NAMESPACES {
        site.apply(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(i)}}),
        )
        .await;
    }
    fill(&cluster, 0..FEW, |_| Value::Null).await;
    let account = account(&cluster).await;
    let controller = start(&cluster, &site, &account);
    let mut first = Value::Null;
    for i in 0..FEW {
        first = status(&site, i).await;
    }
    controller.signal("TERM").unwrap();
    eventually("the end", async || controller.ended().ok_or("it runs"))
        .await
        .unwrap();
    let first = first.to_string();
    let like = |i| serde_json::from_str(&first.replace(&name(FEW - 1), &name(i))).unwrap();
    fill(&cluster, FEW..VARIANTS, like).await;
    let begin = Instant::now();
    let controller = start(&cluster, &site, &account);
    let seen = eventually("all variants to be counted", async || {
        controller.must_run().map_err(|e| e.to_string())?;
        match exported(&cluster, "wva_fleet_variants").await {
            all if all == VARIANTS as f64 => Ok(()),
            some => Err(format!("{some} of {VARIANTS}")),
        }
    });
    seen.await.unwrap();
    let elapsed = begin.elapsed();
    let writes = || cluster.requests().unwrap().iter().filter(is_write).count();
    let quiet = eventually("quiet", async || {
        let before = writes();
        cycles_pass(&cluster, 2.0).await;
        match writes() - before {
            0 => Ok(()),
            some => Err(format!("{some} writes")),
        }
    });
    quiet.await.unwrap();
    let written = writes();
    let passed = cycles_pass(&cluster, 3.0).await;
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for r in cluster.requests().unwrap() {
        *calls
            .entry(format!("{} {}", r.verb, r.resource))
            .or_default() += 1;
    }
    let seconds = exported(&cluster, SECONDS).await;
    println!(
        "{VARIANTS} variants seen within {elapsed:.1?}; {:.2} s a cycle; {} MiB; {calls:#?}",
        seconds / passed,
        memory(&controller)
    );
    assert_eq!(writes(), written, "a steady cycle writes nothing");
    // One status and perhaps one event for each of the few, and a few events for all of the others.
    assert!(written <= 2 * FEW + 40, "{written} writes: {calls:#?}");
}

/// Cycles so far.
const CYCLES: &str = r#"wva_optimization_duration_seconds_count{status="success"}"#;
/// The time that they took, seconds.
const SECONDS: &str = r#"wva_optimization_duration_seconds_sum{status="success"}"#;
