//! Objects of every earlier form, as they were once deployed.

use std::process::Command;

use kube::Api;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use wva_controllers::index::Kind;
use wva_testbed::eventually;

use super::bed::{Bed, CHEAP, Variant};
use super::pods;

const V001: &str = include_str!("../../../controllers/tests/samples/v0.0.1.yaml");
const V04: &str = include_str!("../../../controllers/tests/samples/v0.4.yaml");
const V05: &str = include_str!("../../../controllers/tests/samples/v0.5.yaml");
const CONFIGMAPS: &str = include_str!("../../../controllers/tests/samples/configmaps.yaml");

/// The definition of a kind that a form scales, cut down to what scaling needs.
fn leader_worker_sets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "leaderworkersets.leaderworkerset.x-k8s.io"},
        "spec": {
            "group": "leaderworkerset.x-k8s.io",
            "scope": "Namespaced",
            "names": {"kind": "LeaderWorkerSet", "plural": "leaderworkersets", "singular": "leaderworkerset"},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas",
                }},
            }],
        },
    })
}

/// Installs the definitions as users do.
async fn install(bed: &Bed) {
    let printed = Command::new(env!("CARGO_BIN_EXE_wva")).arg("crds").output();
    let definitions = String::from_utf8(printed.unwrap().stdout).unwrap();
    let apply = ["apply", "--server-side", "-f", "-"];
    let admin = bed.cluster.admin();
    admin.kubectl_reading(&definitions, &apply).await.unwrap();
    bed.apply(&leader_worker_sets()).await;
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=60s",
    ];
    admin.kubectl(&wait).await.unwrap();
    for namespace in ["llm-d-sim", "llm-d"] {
        admin
            .kubectl(&["create", "namespace", namespace])
            .await
            .unwrap();
    }
    let maps = CONFIGMAPS.replace("wva-system}", &format!("{}}}", bed.system()));
    admin
        .kubectl_reading(&maps, &["apply", "-f", "-"])
        .await
        .unwrap();
}

fn api(bed: &Bed, namespace: &str) -> Api<DynamicObject> {
    let resource = Kind::VariantAutoscaling.api_resource();
    Api::namespaced_with(bed.client.clone(), namespace, &resource)
}

/// The object's status, once it says how many replicas are wanted.
async fn status(bed: &Bed, namespace: &str, name: &str) -> Value {
    let what = format!("a decision about {name}");
    let found = eventually(&what, async || {
        let object = api(bed, namespace).get(name).await;
        let object = object.map_err(|e| e.to_string())?;
        let status = object.data["status"].clone();
        let wanted = &status["desiredOptimizedAlloc"]["numReplicas"];
        wanted
            .as_i64()
            .map(|_| status.clone())
            .ok_or_else(|| status.to_string())
    });
    found
        .await
        .unwrap_or_else(|e| panic!("{e}\n{}", bed.decisions()))
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a str {
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|c| c["type"] == kind);
    found.and_then(|c| c["status"].as_str()).unwrap_or("absent")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_every_earlier_form_scale_their_targets() {
    let Some(bed) = Bed::start().await else {
        return;
    };
    install(&bed).await;
    let admin = bed.cluster.admin();
    for sample in [V001, V04, V05] {
        admin
            .kubectl_reading(sample, &["create", "-f", "-"])
            .await
            .unwrap();
        let written: Value = serde_saphyr::from_str(sample).unwrap();
        let text = |field: &str| written["metadata"][field].as_str().unwrap();
        let kept = api(&bed, text("namespace"))
            .get(text("name"))
            .await
            .unwrap();
        assert_eq!(kept.data["spec"], written["spec"], "kept as it was written");
    }
    let named = |name| Variant { name, ..CHEAP };
    let model = super::load::MODEL;
    bed.deploy_as("llm-d-sim", named("vllme-deployment"), "default/default", 1)
        .await;
    bed.deploy_as("llm-d", named("llama-8b-l40s"), model, 1)
        .await;
    bed.apply(&json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "vllm-lws", "namespace": "llm-d"},
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": 1, "workerTemplate": {"spec": {"containers": [{
            "name": "vllm", "image": "vllm/vllm-openai", "resources": {"limits": {"nvidia.com/gpu": "4"}},
        }]}}}},
    }))
    .await;
    bed.controller(&pods()).await;
    let first = bed.load_of("llm-d-sim", "default/default", &[(0.0, 1.0), (180.0, 1.0)]);
    let second = bed.load_of(
        "llm-d",
        model,
        &[(0.0, 1.0), (15.0, 1.0), (25.0, 5.0), (180.0, 5.0)],
    );
    for (namespace, name) in [
        ("llm-d-sim", "vllme-deployment"),
        ("llm-d", "llama-8b-l40s"),
    ] {
        let status = status(&bed, namespace, name).await;
        println!("{name}: {status:#}");
        for kind in [
            "TargetResolved",
            "MetricsAvailable",
            "OptimizationReady",
            "InControl",
        ] {
            assert_eq!(
                condition(&status, kind),
                "True",
                "{kind} of {name}: {status:#}"
            );
        }
    }
    // No replica of this one serves, so nothing is known of its load: it is held, and says so.
    let sets = eventually("conditions of the last form", async || {
        let object = api(&bed, "llm-d")
            .get("llama-70b-lws")
            .await
            .map_err(|e| e.to_string())?;
        let status = object.data["status"].clone();
        status["conditions"]
            .as_array()
            .map(|_| status.clone())
            .ok_or("none yet".to_owned())
    });
    let sets = sets.await.unwrap();
    println!("llama-70b-lws: {sets:#}");
    assert_eq!(condition(&sets, "TargetResolved"), "True", "{sets:#}");
    assert_eq!(condition(&sets, "MetricsAvailable"), "False", "{sets:#}");
    // Nobody else scales this one, so wva does.
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(bed.client.clone(), "llm-d");
    let scaled = eventually("a second replica", async || {
        let deployment = deployments
            .get("llama-8b-l40s")
            .await
            .map_err(|e| e.to_string())?;
        let ready = deployment.status.and_then(|s| s.ready_replicas);
        if ready >= Some(2) {
            Ok(())
        } else {
            Err(format!("{ready:?}"))
        }
    });
    let scaled = scaled.await;
    println!("{}", bed.decisions());
    scaled.unwrap();
    drop((first, second));
}
