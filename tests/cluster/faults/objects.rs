//! Objects that vanish while something is decided about them.

use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::json;
use wva_testbed::kubelet::STARTUP_ANNOTATION;

use crate::plot::{BUSY, Plot, condition, shared};
use crate::site::{CHEAP, LARGE, counts, deployment};

/// An HPA that never learnt anything: nobody serves its metric here, so it keeps what there is.
fn hpa(namespace: &str) -> serde_json::Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": CHEAP.name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": CHEAP.name},
            "minReplicas": 1,
            "maxReplicas": 8,
            "metrics": [{
                "type": "External",
                "external": {
                    "metric": {"name": "wva_desired_replicas"},
                    "target": {"type": "AverageValue", "averageValue": "1"},
                },
            }],
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hpa_that_is_deleted_leaves_its_target_to_wva() {
    let Some(ground) = shared().await else { return };
    let plot = Plot::new(&ground.cluster, "hpa").await;
    plot.deploy(CHEAP, 1).await;
    plot.replicas(CHEAP, "a replica", |n| n == 1).await;
    plot.apply(&hpa(&plot.namespace)).await;
    plot.apply(&plot.variant(CHEAP)).await;
    let _load = plot.load(&[(0.0, BUSY), (600.0, BUSY)]);
    let asked = crate::plot::Asked::of(&plot, CHEAP);
    let controller = plot.start(&json!({"pods": {"interval_seconds": 1, "timeout_seconds": 2}}));
    plot.known().await;
    let in_control = async |reason: &str| {
        let control = |s: &serde_json::Value| condition(s, "InControl") == ("True", reason);
        plot.status(CHEAP.name, reason, control).await
    };
    in_control("ScaledByHpa").await;
    let (replicas, _) = counts(&plot.deployments(), CHEAP).await.unwrap();
    assert_eq!(replicas, 1, "the HPA's, not ours");
    let delete = ["delete", "hpa", CHEAP.name, "-n", &plot.namespace];
    plot.admin().kubectl(&delete).await.unwrap();
    plot.replicas(CHEAP, "two replicas or more", |n| n >= 2)
        .await;
    in_control("PatchesScale").await;
    let values = asked.values();
    assert!(values[0] == 1 && values[1] >= 2, "{values:?}");
    controller.must_run().unwrap();
}

/// Deleted and made again at every moment of a cycle, with and without its Deployment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variant_that_is_deleted_while_it_is_decided_about() {
    let Some(ground) = shared().await else { return };
    let plot = Plot::new(&ground.cluster, "vanishing").await;
    let busy = plot
        .busy(&json!({"pods": {"interval_seconds": 1, "timeout_seconds": 2}}))
        .await;
    let from = busy.asked.values().len().saturating_sub(1);
    let deployments = plot.deployments();
    // Of another model, and never ready: it takes nothing off the other, however long this machine leaves it there.
    let mut other = deployment(&plot.namespace, LARGE, "other", 1);
    let template = &mut other["spec"]["template"]["metadata"];
    template["annotations"][STARTUP_ANNOTATION] = json!("3600");
    let mut its_variant = plot.variant(LARGE);
    its_variant["spec"]["modelID"] = json!("Qwen/Qwen3-8B");
    for i in 0..10 {
        plot.apply(&other).await;
        plot.apply(&its_variant).await;
        // A cycle takes half a second; the phase moves on.
        tokio::time::sleep(Duration::from_millis(600 + 70 * i)).await;
        let at_once = DeleteParams::default();
        if i % 2 == 0 {
            deployments.delete(LARGE.name, &at_once).await.unwrap();
        }
        plot.variants().delete(LARGE.name, &at_once).await.unwrap();
        if i % 2 == 1 {
            deployments.delete(LARGE.name, &at_once).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    busy.controller.must_run().unwrap();
    let log = busy.controller.log();
    assert!(
        !log.contains("the cycle failed") && !log.contains("panicked"),
        "{log}"
    );
    assert!(plot.variants().get_opt(LARGE.name).await.unwrap().is_none());
    let (asked, _) = counts(&deployments, LARGE).await.unwrap();
    assert_eq!(asked, 0, "nothing of it came back");
    let values = busy.asked.values()[from..].to_vec();
    assert!(values.iter().all(|n| *n >= 2), "{values:?}");
    // And the other one is still decided about.
    let mut variant = plot.variant(CHEAP);
    variant["spec"]["minReplicas"] = json!(5);
    plot.apply(&variant).await;
    plot.replicas(CHEAP, "five replicas or more", |n| n >= 5)
        .await;
}
