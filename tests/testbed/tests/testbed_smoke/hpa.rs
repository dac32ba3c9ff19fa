//! A real HPA acts on an external metric, with the tolerance that it is allowed to have.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use wva_testbed::{Options, eventually, or_skip};

use crate::cluster::{Cluster, shared};
use crate::fleet::Fleet;
use crate::metric_server::MetricServer;

fn hpa(name: &str) -> HorizontalPodAutoscaler {
    let external = json!({
        "metric": {
            "name": "wva_desired_replicas",
            "selector": {"matchLabels": {"variant_name": "d"}},
        },
        "target": {"type": "AverageValue", "averageValue": "1"},
    });
    let at_once = |extra: Value| {
        let mut rules = json!({
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Pods", "value": 100, "periodSeconds": 1}],
        });
        rules["tolerance"] = extra;
        rules
    };
    let hpa = json!({
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1,
            "maxReplicas": 40,
            "metrics": [{"type": "External", "external": external}],
            "behavior": {"scaleUp": at_once("0".into()), "scaleDown": at_once("0".into())},
        },
    });
    serde_json::from_value(hpa).expect("an HPA")
}

fn kept_tolerance(hpa: &HorizontalPodAutoscaler) -> Option<String> {
    let behavior = hpa.spec.as_ref()?.behavior.as_ref()?;
    let tolerance = behavior.scale_up.as_ref()?.tolerance.as_ref()?;
    Some(tolerance.0.clone())
}

/// A fleet with an HPA in front, which has been asked for without any tolerance; and the HPA as it was kept.
async fn scaled(cluster: &Cluster, name: &'static str) -> (Fleet, HorizontalPodAutoscaler) {
    let fleet = Fleet::new(cluster, name).await;
    fleet.create(1, 0, 0.0).await;
    fleet.has_ready(1).await.expect("a first replica");
    let created = hpas(&fleet)
        .create(&PostParams::default(), &hpa(name))
        .await;
    (fleet, created.expect("the API server takes it"))
}

fn hpas(fleet: &Fleet) -> Api<HorizontalPodAutoscaler> {
    Api::namespaced(fleet.client.clone(), &fleet.namespace)
}

#[tokio::test]
async fn without_the_gate_the_tolerance_is_dropped_in_silence() {
    let Some(cluster) = shared().await else {
        return;
    };
    let metric = MetricServer::start(&cluster.plane).await;
    let (fleet, hpa) = scaled(cluster, "hpa").await;
    assert_eq!(kept_tolerance(&hpa), None);
    metric.set(3);
    fleet.has_ready(3).await.unwrap();
    metric.set(20);
    fleet.has_ready(20).await.unwrap();
    metric.set(21);
    // The HPA has seen it, and finds it within 10 % of what is wanted.
    let seen = async || {
        let hpa = hpas(&fleet).get("hpa").await.unwrap();
        let status = serde_json::to_value(hpa.status).unwrap();
        let average = &status["currentMetrics"][0]["external"]["current"]["averageValue"];
        let desired = status["desiredReplicas"].clone();
        (average == "1050m").then_some(desired).ok_or(status)
    };
    assert_eq!(eventually("a metric of 21", seen).await.unwrap(), 20);
    fleet.has_ready(20).await.unwrap();
    metric.set(1);
    fleet.has_ready(1).await.unwrap();
}

#[tokio::test]
async fn with_the_gate_one_replica_in_twenty_one_is_added() {
    let options = Options {
        tolerance_gate: true,
        ..Options::default()
    };
    let Some(cluster) = or_skip(Cluster::start(options).await) else {
        return;
    };
    let metric = MetricServer::start(&cluster.plane).await;
    let (fleet, hpa) = scaled(&cluster, "gated").await;
    assert_eq!(kept_tolerance(&hpa).as_deref(), Some("0"));
    metric.set(20);
    fleet.has_ready(20).await.unwrap();
    metric.set(21);
    fleet.has_ready(21).await.unwrap();
}
