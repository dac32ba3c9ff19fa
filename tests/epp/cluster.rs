//! Pools, pods, objectives and rewrites of a real API server, and what requests make of them.

use std::net::SocketAddr;

use serde_json::{Value, json};
use wva_epp_core::config::DEFAULT;
use wva_testbed::{Access, ControlPlane, Envoy, Options, eventually, or_skip};

use crate::bed::{Picker, Place, envoy, puppets};
use crate::client::{Answer, completion, post};
use crate::puppet::{Gauges, Puppet};

const READY: &str = "llm_d_epp_ready_endpoints";

/// A namespace, and somebody who may do anything there.
struct Space<'c> {
    admin: &'c Access,
    name: String,
}

impl Space<'_> {
    async fn apply(&self, object: Value) {
        let text = object.to_string();
        let namespace = format!("--namespace={}", self.name);
        let words = ["apply", &namespace, "-f", "-"];
        self.admin.kubectl_reading(&text, &words).await.unwrap();
    }

    async fn kubectl(&self, words: &[&str]) {
        let namespace = format!("--namespace={}", self.name);
        let words = [&[&*namespace], words].concat();
        self.admin.kubectl(&words).await.unwrap();
    }

    /// A pod at the server's address, as a kubelet would report it.
    async fn pod(&self, name: &str, labels: &Value, server: &Puppet) {
        self.apply(json!({
            "apiVersion": "v1", "kind": "Pod",
            // So that one that is deleted stays to be seen, as one that ends slowly does.
            "metadata": {"name": name, "labels": labels, "finalizers": ["wva.llmd.ai/test"]},
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{"name": "server", "image": "none"}],
            },
        }))
        .await;
        let ip = server.address.ip();
        self.status(
            name,
            &json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}),
        )
        .await;
        self.ready(name, true).await;
    }

    async fn status(&self, name: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        let how = ["--subresource=status", "--type=merge", "-p", &patch];
        self.kubectl(&[&["patch", "pod", name], &how[..]].concat())
            .await;
    }

    async fn ready(&self, name: &str, ready: bool) {
        let status = if ready { "True" } else { "False" };
        let condition = json!([{"type": "Ready", "status": status}]);
        self.status(name, &json!({"conditions": condition})).await;
    }

    async fn gone(&self, name: &str) {
        let patch = json!({"metadata": {"finalizers": null}}).to_string();
        self.kubectl(&["patch", "pod", name, "--type=merge", "-p", &patch])
            .await;
    }

    async fn pool(&self, labels: Value, ports: &[u16]) {
        let ports: Vec<Value> = ports.iter().map(|p| json!({"number": p})).collect();
        self.apply(json!({
            "apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool",
            "metadata": {"name": "llama"},
            "spec": {"selector": {"matchLabels": labels}, "targetPorts": ports},
        }))
        .await;
    }

    async fn picker(&self, envoy: &Envoy, place: Place, arguments: &[&str]) -> Picker {
        let namespace = format!("--pool-namespace={}", self.name);
        let kubeconfig = format!("--kubeconfig={}", self.admin.kubeconfig().display());
        let arguments = [&[&*namespace, &*kubeconfig], arguments].concat();
        let picker = Picker::new(envoy, place, DEFAULT, &[], &arguments);
        picker.daemon.start().await.unwrap();
        picker
    }
}

async fn ask(picker: &Picker, model: &str, headers: &[(&str, &str)]) -> Answer {
    let body = completion(model, "one").to_string().into_bytes();
    post(&picker.url("/v1/completions"), body, headers).await
}

/// Asks in rounds until all requests of one have reached these servers: each of them, and no other of them all. Among equals it
/// is drawn by lot who gets a request, and one whose metrics have yet to be read gets none while there are others, so that a
/// single round proves nothing about those that it has missed.
async fn reaches(picker: &Picker, all: &[&Puppet], these: &[&Puppet]) {
    let expected: Vec<SocketAddr> = these.iter().map(|s| s.address).collect();
    let round = async || {
        let before: Vec<usize> = all.iter().map(|s| s.requests()).collect();
        for _ in 0..20 * these.len() {
            let answer = ask(picker, "m", &[]).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let now = all.iter().zip(before);
        let reached = now.filter(|(server, before)| server.requests() > *before);
        let reached: Vec<SocketAddr> = reached.map(|(server, _)| server.address).collect();
        (reached == expected)
            .then_some(())
            .ok_or(format!("{reached:?}"))
    };
    let what = format!("requests to reach {expected:?}");
    eventually(&what, round).await.unwrap();
}

#[tokio::test]
async fn in_a_cluster() {
    let Some(envoy) = envoy().await else { return };
    let plane = ControlPlane::start(Options::default()).await;
    let Some(plane) = or_skip(plane) else { return };
    let definitions = json!({
        "apiVersion": "v1", "kind": "List", "items": wva_epp::api::definitions(),
    });
    let admin = plane.admin();
    let words = ["create", "-f", "-"];
    admin
        .kubectl_reading(&definitions.to_string(), &words)
        .await
        .unwrap();
    admin.established().await.unwrap();
    let space = async |name| Space {
        admin,
        name: plane.namespace(name).await.unwrap(),
    };
    let (first, second, third) = (
        space("pool").await,
        space("legacy").await,
        space("selected").await,
    );
    tokio::join!(
        pods_come_and_go(envoy, &plane, &first),
        the_older_group_works_too(envoy, &second),
        pods_are_selected_without_a_pool(envoy, &third),
    );
}

async fn pods_come_and_go(envoy: &Envoy, plane: &ControlPlane, space: &Space<'_>) {
    let place = Place::Pool;
    let servers = puppets(envoy, place, 3).await;
    let labels = json!({"app": "llama"});
    space.pool(labels.clone(), &[8000]).await;
    space.pod("a", &labels, &servers[0]).await;
    let picker = space.picker(envoy, place, &["--pool-name=llama"]).await;
    picker.settles(READY, 1.0).await;
    assert_eq!(ask(&picker, "m", &[]).await.status, 200);

    space.pod("b", &labels, &servers[1]).await;
    space.pod("c", &json!({"app": "other"}), &servers[2]).await;
    picker.settles(READY, 2.0).await;
    let all: Vec<&Puppet> = servers.iter().collect();
    reaches(&picker, &all, &all[..2]).await;

    space.ready("b", false).await;
    picker.settles(READY, 1.0).await;
    reaches(&picker, &all, &all[..1]).await;
    space.ready("b", true).await;
    picker.settles(READY, 2.0).await;

    // One that is being deleted serves on, and gets nothing new.
    space.kubectl(&["delete", "pod", "b", "--wait=false"]).await;
    reaches(&picker, &all, &all[..1]).await;
    space.gone("b").await;
    picker.settles(READY, 1.0).await;

    // Up to eight ranks at one address, of which two are taken out again.
    let mut ranks = Vec::new();
    for port in 8001..8008 {
        let mut address = servers[2].address;
        address.set_port(port);
        ranks.push(Puppet::start(address).await);
    }
    let all: Vec<&Puppet> = servers.iter().chain(&ranks).collect();
    let (_, eight) = all.split_at(2);
    let ports: Vec<u16> = (8000..8008).collect();
    for number in 1..=8 {
        space.pool(json!({"app": "other"}), &ports[..number]).await;
        picker.settles(READY, number as f64).await;
        reaches(&picker, &all, &eight[..number]).await;
    }
    let active = "llm-d.ai/active-ports=8000,8001,8002,8003,8004,8005";
    space.kubectl(&["annotate", "pod", "c", active]).await;
    picker.settles(READY, 6.0).await;
    reaches(&picker, &all, &eight[..6]).await;

    rewrites_and_objectives(&picker, space, eight).await;

    // Nothing is lost while the API server is away, and nothing is missed afterwards.
    plane.apiserver().stop();
    reaches(&picker, &all, &eight[..6]).await;
    plane.apiserver().start().await.unwrap();
    space.pool(labels, &[8000]).await;
    picker.settles(READY, 1.0).await;
    space.kubectl(&["delete", "inferencepool", "llama"]).await;
    picker.settles(READY, 0.0).await;
    let answer = ask(&picker, "m", &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.reason.as_deref(), Some("rejected-no-endpoints"));
}

fn rewrite(name: &str, matches: &Value, targets: &Value) -> Value {
    json!({
        "apiVersion": "llm-d.ai/v1alpha2", "kind": "InferenceModelRewrite",
        "metadata": {"name": name},
        "spec": {"poolRef": {"name": "llama"}, "rules": [{"matches": matches, "targets": targets}]},
    })
}

async fn rewrites_and_objectives(picker: &Picker, space: &Space<'_>, servers: &[&Puppet]) {
    let asked_for = async |model: &str| {
        let before: Vec<usize> = servers.iter().map(|s| s.requests()).collect();
        let answer = ask(picker, model, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            answer.json()["model"],
            model,
            "the client sees what it asked for"
        );
        let now = servers.iter().zip(before);
        let (server, _) = now
            .into_iter()
            .find(|(s, before)| s.requests() > *before)
            .unwrap();
        let body: Value = serde_json::from_slice(&server.last_body()).unwrap();
        body["model"].as_str().unwrap().to_owned()
    };
    let becomes = async |model: &str, expected: &str| {
        let look = async || {
            let got = asked_for(model).await;
            (got == expected).then_some(()).ok_or(got)
        };
        eventually(&format!("{model} to become {expected}"), look)
            .await
            .unwrap();
    };
    assert_eq!(asked_for("chat").await, "chat");
    let exact = json!([{"model": {"type": "Exact", "value": "chat"}}]);
    let canary =
        json!([{"modelRewrite": "chat-v1", "weight": 3}, {"modelRewrite": "chat-v2", "weight": 1}]);
    space.apply(rewrite("canary", &exact, &canary)).await;
    becomes("chat", "chat-v1").await;
    let mut second = 0;
    for _ in 0..40 {
        second += usize::from(asked_for("chat").await == "chat-v2");
    }
    assert!(
        (8..=12).contains(&second),
        "{second} of 40 for a weight of 1 in 4"
    );
    assert_eq!(asked_for("other").await, "other");
    space
        .apply(rewrite(
            "any",
            &json!([]),
            &json!([{"modelRewrite": "base"}]),
        ))
        .await;
    becomes("other", "base").await;
    assert_ne!(
        asked_for("chat").await,
        "base",
        "an exact match comes first"
    );
    space
        .kubectl(&["delete", "inferencemodelrewrites.llm-d.ai", "any", "canary"])
        .await;
    becomes("chat", "chat").await;
    becomes("other", "other").await;
}

async fn the_older_group_works_too(envoy: &Envoy, space: &Space<'_>) {
    let servers = puppets(envoy, Place::LegacyPool, 1).await;
    let labels = json!({"app": "llama"});
    let group = "inference.networking.x-k8s.io/v1alpha2";
    space
        .apply(json!({
            "apiVersion": group, "kind": "InferencePool", "metadata": {"name": "llama"},
            "spec": {"selector": labels, "targetPortNumber": 8000},
        }))
        .await;
    space.pod("a", &labels, &servers[0]).await;
    let picker = space
        .picker(envoy, Place::LegacyPool, &["--pool-name=llama"])
        .await;
    picker.settles(READY, 1.0).await;
    assert_eq!(ask(&picker, "m", &[]).await.status, 200);

    // What may be shed is shed where there is no room.
    let objective = |group: &str, priority: i32| {
        json!({
            "apiVersion": group, "kind": "InferenceObjective", "metadata": {"name": "batch"},
            "spec": {"poolRef": {"name": "llama"}, "priority": priority},
        })
    };
    let busy = Gauges {
        waiting: 200,
        kv: 0.95,
        lora: "",
    };
    servers[0].says(busy);
    let status_is = async |expected: u16| {
        let look = async || {
            let answer = ask(&picker, "m", &[("x-gateway-inference-objective", "batch")]).await;
            (answer.status == expected)
                .then_some(())
                .ok_or(answer.text())
        };
        eventually(&format!("a {expected}"), look).await.unwrap();
    };
    space.apply(objective(group, -1)).await;
    status_is(429).await;
    assert_eq!(ask(&picker, "m", &[]).await.status, 200, "others are not");
    // The current group's object of the same name holds.
    space.apply(objective("llm-d.ai/v1alpha2", 1)).await;
    status_is(200).await;
}

async fn pods_are_selected_without_a_pool(envoy: &Envoy, space: &Space<'_>) {
    let servers = puppets(envoy, Place::Selected, 2).await;
    space
        .pod("a", &json!({"app": "llama", "tier": "gold"}), &servers[0])
        .await;
    space
        .pod("b", &json!({"app": "llama", "tier": "lead"}), &servers[1])
        .await;
    let flags = [
        "--endpoint-selector=app=llama,tier in (gold,silver)",
        "--endpoint-target-ports=8000",
    ];
    let picker = space.picker(envoy, Place::Selected, &flags).await;
    picker.settles(READY, 1.0).await;
    let all: Vec<&Puppet> = servers.iter().collect();
    reaches(&picker, &all, &all[..1]).await;
    space
        .kubectl(&["label", "pod", "b", "tier=silver", "--overwrite"])
        .await;
    picker.settles(READY, 2.0).await;
    reaches(&picker, &all, &all).await;
    space
        .kubectl(&["label", "pod", "a", "tier=tin", "--overwrite"])
        .await;
    picker.settles(READY, 1.0).await;
    reaches(&picker, &all, &all[1..]).await;
}
