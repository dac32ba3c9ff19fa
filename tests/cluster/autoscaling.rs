//! What the real HPA makes of the values.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Api;
use serde_json::json;
use wva_testbed::eventually;

use crate::closed_loops::bed::hpa;
use crate::installation::{Installation, decided, with_gate, without_gate};

/// An HPA that wants no tolerance, the Deployment that it scales, and a variant of their name.
async fn autoscaled(wva: &Installation, namespace: &str, replicas: u32) {
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "llama", "namespace": namespace },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "llama" } },
            "template": {
                "metadata": { "labels": { "app": "llama" } },
                "spec": { "containers": [{ "name": "server", "image": "none" }] },
            },
        },
    });
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "llama" });
    let mut hpa = hpa((namespace, "llama"), &target, 1);
    hpa["spec"]["maxReplicas"] = json!(40);
    let admin = wva.cluster.admin();
    admin
        .kubectl_reading(&deployment.to_string(), &["apply", "-f", "-"])
        .await
        .unwrap();
    wva.scaled(namespace, "llama", i32::try_from(replicas).unwrap())
        .await;
    admin
        .kubectl_reading(&hpa.to_string(), &["apply", "-f", "-"])
        .await
        .unwrap();
}

/// The tolerance that the cluster kept of the HPA's.
async fn kept_tolerance(wva: &Installation, namespace: &str) -> Option<String> {
    let client = wva.cluster.admin().client().await.unwrap();
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(client, namespace);
    let hpa = hpas.get("llama").await.unwrap();
    Some(hpa.spec?.behavior?.scale_up?.tolerance?.0)
}

#[tokio::test]
async fn where_the_tolerance_is_kept_the_hpa_lands_exactly() {
    let Some(wva) = with_gate().await else { return };
    let namespace = wva.cluster.namespace("exact").await.unwrap();
    autoscaled(wva, &namespace, 20).await;
    assert_eq!(kept_tolerance(wva, &namespace).await.as_deref(), Some("0"));
    for (current, desired) in [(20, 21), (21, 20), (20, 19)] {
        wva.decide(decided(&namespace, "llama", current, desired));
        wva.scaled(&namespace, "llama", i32::try_from(desired).unwrap())
            .await;
        wva.asked_again(3).await;
        wva.scaled(&namespace, "llama", i32::try_from(desired).unwrap())
            .await;
    }
}

#[tokio::test]
async fn where_the_tolerance_is_dropped_the_hpa_lands_as_near_as_it_can() {
    let Some(wva) = without_gate().await else {
        return;
    };
    let namespace = wva.cluster.namespace("tolerant").await.unwrap();
    autoscaled(wva, &namespace, 20).await;
    assert_eq!(
        kept_tolerance(wva, &namespace).await,
        None,
        "dropped in silence"
    );
    for (current, desired, lands) in [
        (20, 21, 23), // no value moves it by one
        (23, 21, 21), // and from there it comes back
        (21, 20, 21), // one down cannot be had, and nothing must be lost
        (21, 18, 18),
        (18, 24, 24),
    ] {
        let mut decision = decided(&namespace, "llama", current, desired);
        decision.hpa_tolerance = Some(0.1);
        wva.decide(decision);
        wva.scaled(&namespace, "llama", lands).await;
        wva.asked_again(3).await;
        wva.scaled(&namespace, "llama", lands).await;
    }
}

#[tokio::test]
async fn an_undecided_variant_is_left_alone() {
    let Some(wva) = without_gate().await else {
        return;
    };
    let namespace = wva.cluster.namespace("undecided").await.unwrap();
    autoscaled(wva, &namespace, 5).await;
    let client = wva.cluster.admin().client().await.unwrap();
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(client, &namespace);
    eventually("the HPA to find no value", async || {
        let hpa = hpas.get("llama").await.map_err(|e| e.to_string())?;
        let conditions = hpa.status.and_then(|s| s.conditions).unwrap_or_default();
        let active = conditions
            .iter()
            .find(|c| c.type_ == "ScalingActive")
            .ok_or("not looked at yet")?;
        if active.reason.as_deref() == Some("FailedGetExternalMetric") {
            Ok(())
        } else {
            Err(format!("{active:?}"))
        }
    })
    .await
    .unwrap();
    wva.asked_again(3).await;
    wva.scaled(&namespace, "llama", 5).await;
}
