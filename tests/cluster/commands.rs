//! The verbs of a cluster against a real API server: what they read, what they write, what they exit with.

pub mod fixtures;

use std::process::Command;

use kube::Api;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use wva_controllers::index::Kind;
use wva_testbed::{Access, component, eventually, or_skip};

use crate::installation::{Installation, without_gate};
use fixtures::{apply, autoscaling, define, deployment, hpa, publishing, report, wva};

fn variant<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let variants = answer["variants"].as_array().unwrap();
    let found = variants.iter().find(|v| v["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {answer:#}"))
}

#[tokio::test]
async fn status_puts_objects_and_metrics_together() {
    let Some(cluster) = without_gate().await else {
        return;
    };
    define(cluster).await;
    let namespace = cluster.cluster.namespace("status").await.unwrap();
    let admin = cluster.cluster.admin();
    for name in ["one", "two"] {
        apply(cluster, &deployment(&namespace, name)).await;
        apply(cluster, &autoscaling(&namespace, name)).await;
    }
    let status = json!({"status": {
        "mode": "control", "reason": "steady", "costPerHour": "6.88", "sloMargin": "12%",
        "desiredOptimizedAlloc": {"numReplicas": 4},
        "conditions": [{"type": "MetricsAvailable", "status": "False", "reason": "MetricsStale",
            "message": "stale: Scrape more often.", "lastTransitionTime": "2026-11-20T00:00:00Z"}],
    }});
    let patch = status.to_string();
    admin
        .kubectl(&[
            "patch",
            "va",
            "two",
            "-n",
            &namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ])
        .await
        .unwrap();
    let url = format!(
        "http://{}",
        publishing(vec![report(&namespace, "one")]).await
    );
    let answer = wva(
        admin,
        &[
            "status",
            "-n",
            &namespace,
            "-o",
            "json",
            "--controller",
            &url,
        ],
    )
    .await
    .json(0);
    let (one, two) = (variant(&answer, "one"), variant(&answer, "two"));
    assert_eq!(
        (&one["desired"], &one["source"]),
        (&3.into(), &"metrics".into())
    );
    assert_eq!(one["ttft"]["observed_ms"], 120.0);
    assert_eq!(one["accelerator"], "H100");
    assert_eq!(
        (&two["desired"], &two["source"]),
        (&4.into(), &"status".into())
    );
    assert_eq!(
        (&two["slo_margin"], &two["cost_per_hour_usd"]),
        (&0.12.into(), &6.88.into())
    );
    assert!(two["age_s"].as_f64().unwrap() < 600.0);
    assert_eq!(answer["totals"]["desired"], 7);

    let explained = wva(
        admin,
        &[
            "explain",
            &format!("{namespace}/two"),
            "-o",
            "json",
            "--controller",
            &url,
        ],
    )
    .await
    .json(0);
    assert_eq!(explained["why"][0]["code"], "steady");
    assert_eq!(explained["conditions"][0]["reason"], "MetricsStale");
}

async fn paused(cluster: &Installation, namespace: &str) -> Option<String> {
    let client = cluster.cluster.admin().client().await.unwrap();
    let kind = Kind::VariantAutoscaling.api_resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &kind);
    let annotations = api.get("held").await.unwrap().metadata.annotations;
    annotations.and_then(|a| a.get("wva.llmd.ai/paused").cloned())
}

#[tokio::test]
async fn variants_are_paused_and_resumed() {
    let Some(cluster) = without_gate().await else {
        return;
    };
    define(cluster).await;
    let namespace = cluster.cluster.namespace("pause").await.unwrap();
    let admin = cluster.cluster.admin();
    apply(cluster, &deployment(&namespace, "held")).await;
    apply(cluster, &autoscaling(&namespace, "held")).await;
    let dry = wva(admin, &["pause", "held", "-n", &namespace, "--dry-run"]).await;
    assert_eq!(dry.code, Some(0), "{}", dry.err);
    assert!(dry.out.starts_with("would pause "), "{}", dry.out);
    assert_eq!(paused(cluster, &namespace).await, None);

    let name = format!("{namespace}/held");
    let done = wva(admin, &["pause", &name, "-n", &namespace, "-o", "json"])
        .await
        .json(0);
    assert_eq!(done["schema"], "wva.pause/v1");
    assert_eq!(
        done["variants"][0]["objects"],
        json!(["VariantAutoscaling/held"])
    );
    assert_eq!(paused(cluster, &namespace).await.as_deref(), Some("true"));
    let again = wva(admin, &["pause", "held", "-n", &namespace, "-o", "json"])
        .await
        .json(0);
    assert_eq!(again["variants"][0]["changed"], false);
    let status = wva(admin, &["status", "-n", &namespace, "-o", "json"])
        .await
        .json(0);
    assert_eq!(variant(&status, "held")["mode"], "paused");

    let unasked = wva(admin, &["resume", "--all", "-n", &namespace]).await;
    assert_eq!(unasked.code, Some(2), "nobody can say yes");
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    let done = wva(admin, &["resume", "--all", "-n", &namespace, "--yes"]).await;
    assert!(done.out.starts_with("resumed "), "{}{}", done.out, done.err);
    assert_eq!(paused(cluster, &namespace).await, None);
    let none = wva(admin, &["pause", "helt", "-n", &namespace]).await;
    assert_eq!(none.code, Some(2));
    assert!(none.err.contains("did you mean `held`?"), "{}", none.err);
}

/// (code, object) of the errors and warnings.
fn findings(answer: &Value) -> Vec<(&str, &str)> {
    let all = answer["findings"].as_array().unwrap().iter();
    let bad = all.filter(|f| f["severity"] != "info");
    bad.map(|f| (f["code"].as_str().unwrap(), f["object"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_users_hpa_is_migrated_and_then_found_in_order() {
    let Some(cluster) = without_gate().await else {
        return;
    };
    define(cluster).await;
    let namespace = cluster.cluster.namespace("migrate").await.unwrap();
    let admin = cluster.cluster.admin();
    apply(cluster, &deployment(&namespace, "llama")).await;
    admin
        .kubectl_reading(&hpa(&namespace, "llama").to_string(), &["apply", "-f", "-"])
        .await
        .unwrap();
    let proposed = wva(admin, &["migrate", "-n", &namespace, "--manifests"]).await;
    assert_eq!(proposed.code, Some(0), "{}", proposed.err);
    // The API server takes it, every field of it, over what the user had applied.
    let strict = ["apply", "--validate=strict", "-f", "-"];
    admin.kubectl_reading(&proposed.out, &strict).await.unwrap();
    let again = wva(admin, &["migrate", "-n", &namespace, "-o", "json"])
        .await
        .json(0);
    // The tolerance was dropped in silence: this cluster does not have the feature.
    let diff = again["objects"][0]["diff"].as_str().unwrap();
    let added: Vec<&str> = diff.lines().filter(|l| l.starts_with("+ ")).collect();
    assert!(added.iter().all(|l| l.contains("tolerance")), "{diff}");

    let url = format!(
        "http://{}",
        publishing(vec![report(&namespace, "llama")]).await
    );
    let arguments = [
        "doctor",
        "-n",
        &namespace,
        "-o",
        "json",
        "--controller",
        &url,
    ];
    // Controllers that other tests install are other tests' business, and until the HPA is looked at again its status may be
    // that of the metrics it had before.
    let ours = format!(" {namespace}/");
    let waiting = |c: &str| ["FailedGetExternalMetric", "PodNotServing"].contains(&c);
    let healthy = eventually("nothing to be wrong with what was migrated", async || {
        let ran = wva(admin, &arguments).await;
        let answer: Value = serde_json::from_str(&ran.out).map_err(|_| ran.err.clone())?;
        let all = findings(&answer);
        match (all.iter()).find(|(code, object)| object.contains(&ours) && !waiting(code)) {
            Some(wrong) => Err(format!("{wrong:?}")),
            None => Ok(answer),
        }
    });
    assert_eq!(healthy.await.unwrap()["schema"], "wva.doctor/v1");
}

/// What `wva doctor` says, once it misses no right: the API server goes by new ones a moment after it has taken them.
async fn nothing_is_missing(access: &Access, arguments: &[&str]) -> Value {
    let answer = eventually("no right to be missing", async || {
        let ran = wva(access, arguments).await;
        let answer: Value = serde_json::from_str(&ran.out).map_err(|_| ran.err.clone())?;
        let missing = findings(&answer).iter().any(|f| f.0 == "MissingRight");
        match missing {
            true => Err(format!("{:#}", answer["findings"])),
            false => Ok(answer),
        }
    });
    answer.await.unwrap()
}

#[tokio::test]
async fn doctor_names_what_is_wrong_and_exits_with_1() {
    let Some(cluster) = without_gate().await else {
        return;
    };
    define(cluster).await;
    let namespace = cluster.cluster.namespace("doctor").await.unwrap();
    let admin = cluster.cluster.admin();
    apply(cluster, &deployment(&namespace, "llama")).await;
    let mut wrong = hpa(&namespace, "llama");
    wrong["metadata"]["annotations"] = json!({"llm-d.ai/managed": "true"});
    wrong["spec"]["metrics"] = json!([{"type": "External", "external": {
        "metric": {"name": "wva_desired_replicas", "selector": {"matchLabels": {"variant_name": "lama"}}},
        "target": {"type": "Value", "value": "1"},
    }}]);
    apply(cluster, &wrong).await;
    apply(cluster, &autoscaling(&namespace, "gone")).await;
    let account = cluster
        .cluster
        .service_account(&namespace, "weak")
        .await
        .unwrap();
    let who = format!("{namespace}:weak");
    let arguments = ["doctor", "-n", &namespace, "-o", "json", "--account", &who];
    let answer = wva(admin, &arguments).await.json(1);
    let found = findings(&answer);
    let scaler = format!("HorizontalPodAutoscaler {namespace}/llama");
    let gone = format!("VariantAutoscaling {namespace}/gone");
    let weak = format!("ServiceAccount {namespace}/weak");
    for expected in [
        ("NameMismatch", scaler.as_str()),
        ("WrongTarget", &scaler),
        ("TargetNotFound", &gone),
        ("MissingRight", &weak),
        ("NoController", "cluster"),
    ] {
        assert!(
            found.contains(&expected),
            "{expected:?} is not in {found:#?}"
        );
    }
    for finding in answer["findings"].as_array().unwrap() {
        assert!(
            finding["severity"] == "info" || finding["fix"].is_string(),
            "{finding}"
        );
    }
    // With the rights there is nothing to say about them, once the API server goes by them.
    let binding = [
        "create",
        "clusterrolebinding",
        &namespace,
        "--clusterrole=cluster-admin",
        &format!("--serviceaccount={who}"),
    ];
    admin.kubectl(&binding).await.unwrap();
    nothing_is_missing(admin, &arguments).await;
    let people = wva(&account, &["doctor", "-n", &namespace]).await;
    assert_eq!(people.code, Some(1), "{}", people.err);
    assert!(
        people.out.contains("fix:") && people.out.contains("Checks"),
        "{}",
        people.out
    );
}

#[tokio::test]
async fn who_may_see_nothing_is_told_so() {
    let Some(cluster) = without_gate().await else {
        return;
    };
    let namespace = cluster.cluster.namespace("stranger").await.unwrap();
    let stranger = cluster
        .cluster
        .service_account(&namespace, "stranger")
        .await
        .unwrap();
    let ran = wva(&stranger, &["status", "-n", &namespace]).await;
    assert_eq!(ran.code, Some(3), "{}", ran.out);
    assert!(
        ran.err.contains("forbidden") && ran.err.contains("help:"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn kubectl_finds_it_as_a_plugin() {
    let Some(cluster) = without_gate().await else {
        return;
    };
    let Some(folder) = or_skip(component::folder("kubernetes")) else {
        return;
    };
    let namespace = cluster.cluster.namespace("plugin").await.unwrap();
    let plugins = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(&namespace);
    std::fs::create_dir_all(&plugins).unwrap();
    let plugin = plugins.join("kubectl-wva");
    let _ = std::fs::remove_file(&plugin);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wva"), &plugin).unwrap();
    let mut kubectl = Command::new(folder.join("kubectl"));
    kubectl
        .args(["wva", "status", "-n", &namespace])
        .env("PATH", &plugins)
        .env("KUBECONFIG", cluster.cluster.admin().kubeconfig());
    let ran = tokio::task::spawn_blocking(move || kubectl.output());
    let ran = ran.await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}");
    assert!(
        told.contains(&format!("no variant in namespace {namespace}")),
        "{told}"
    );
}

/// The chart's account may do all that doctor asks about, and nothing is found wrong with what the chart installs.
#[tokio::test]
async fn the_charts_rights_are_enough() {
    let Some(cluster) = without_gate().await else {
        return;
    };
    if or_skip(component::folder("helm")).is_none() {
        return;
    }
    define(cluster).await;
    let namespace = cluster.cluster.namespace("chart").await.unwrap();
    let admin = cluster.cluster.admin();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/wva");
    let place = format!("--namespace={namespace}");
    // The group is somebody else's here.
    let install = [
        "install",
        "wva",
        chart,
        &place,
        "--skip-crds",
        "--set=externalMetrics.enabled=false",
    ];
    admin.helm(&install).await.unwrap();
    let arguments = [
        "doctor",
        "-n",
        &namespace,
        "--controller-namespace",
        &namespace,
        "-o",
        "json",
    ];
    let answer = nothing_is_missing(admin, &arguments).await;
    let found = findings(&answer);
    assert!(!found.iter().any(|f| f.0 == "SettingsUnread"), "{found:?}");
    let asked = answer["checks"].as_array().unwrap().iter();
    let rights = asked
        .clone()
        .find(|c| c["name"] == "rights of the controller")
        .unwrap();
    assert!(rights["looked_at"].as_u64().unwrap() > 30, "{rights}");
}
