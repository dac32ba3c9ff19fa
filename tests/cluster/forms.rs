//! Objects of every earlier form, as they were once deployed.

use std::process::Command;

use kube::Api;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use wva_controllers::index::Kind;
use wva_testbed::eventually;

use crate::groups::leader_worker_sets;
use crate::load::MODEL;
use crate::plot::{Plot, condition, shared};
use crate::site::{CHEAP, Variant, decisions};

pub const V001: &str = include_str!("../../controllers/tests/samples/v0.0.1.yaml");
pub const V04: &str = include_str!("../../controllers/tests/samples/v0.4.yaml");
pub const V05: &str = include_str!("../../controllers/tests/samples/v0.5.yaml");
const CONFIGMAPS: &str = include_str!("../../controllers/tests/samples/configmaps.yaml");

/// Installs the definitions as users do.
async fn install(plot: &Plot<'_>) {
    let printed = Command::new(env!("CARGO_BIN_EXE_wva")).arg("crds").output();
    let definitions = String::from_utf8(printed.unwrap().stdout).unwrap();
    let apply = ["apply", "--server-side", "-f", "-"];
    let admin = plot.admin();
    admin.kubectl_reading(&definitions, &apply).await.unwrap();
    plot.apply(&leader_worker_sets()).await;
    admin.established().await.unwrap();
    for namespace in ["llm-d-sim", "llm-d"] {
        admin
            .kubectl(&["create", "namespace", namespace])
            .await
            .unwrap();
    }
    let maps = CONFIGMAPS.replace("wva-system}", &format!("{}}}", plot.system));
    admin
        .kubectl_reading(&maps, &["apply", "-f", "-"])
        .await
        .unwrap();
}

fn api(plot: &Plot<'_>, namespace: &str) -> Api<DynamicObject> {
    let resource = Kind::VariantAutoscaling.api_resource();
    Api::namespaced_with(plot.client.clone(), namespace, &resource)
}

/// What holds of a variant that is decided about by what is known.
const WELL: [&str; 4] = [
    "TargetResolved",
    "MetricsAvailable",
    "OptimizationReady",
    "InControl",
];

/// The object's status, once it says how many replicas are wanted and that all is well.
async fn status(plot: &Plot<'_>, namespace: &str, name: &str) -> Value {
    let what = format!("a decision about {name}");
    let found = eventually(&what, async || {
        let object = api(plot, namespace).get(name).await;
        let object = object.map_err(|e| e.to_string())?;
        let status = object.data["status"].clone();
        let wanted = status["desiredOptimizedAlloc"]["numReplicas"].is_i64();
        let well = WELL.iter().all(|kind| condition(&status, kind).0 == "True");
        (wanted && well)
            .then(|| status.clone())
            .ok_or_else(|| format!("{status:#}"))
    });
    found.await.unwrap_or_else(|e| panic!("{e}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_every_earlier_form_scale_their_targets() {
    let Some(ground) = shared().await else { return };
    let plot = Plot::new(&ground.cluster, "forms").await;
    install(&plot).await;
    let admin = plot.admin();
    for sample in [V001, V04, V05] {
        admin
            .kubectl_reading(sample, &["create", "-f", "-"])
            .await
            .unwrap();
        let written: Value = serde_saphyr::from_str(sample).unwrap();
        let text = |field: &str| written["metadata"][field].as_str().unwrap();
        let kept = api(&plot, text("namespace"))
            .get(text("name"))
            .await
            .unwrap();
        assert_eq!(kept.data["spec"], written["spec"], "kept as it was written");
    }
    let named = |name| Variant { name, ..CHEAP };
    let model = MODEL;
    plot.deploy_as("llm-d-sim", named("vllme-deployment"), "default/default", 1)
        .await;
    plot.deploy_as("llm-d", named("llama-8b-l40s"), model, 1)
        .await;
    plot.apply(&json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "vllm-lws", "namespace": "llm-d"},
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": 1, "workerTemplate": {"spec": {"containers": [{
            "name": "vllm", "image": "vllm/vllm-openai", "resources": {"limits": {"nvidia.com/gpu": "4"}},
        }]}}}},
    }))
    .await;
    let mut config = plot.config(&json!({"pods": {"interval_seconds": 1, "timeout_seconds": 2}}));
    config["watch"]["namespaces"] = json!(["llm-d-sim", "llm-d"]);
    let alone = ["--no-leader-election", "--namespace", &plot.system];
    let admin = plot.admin();
    let controller = plot.controller("wva-forms", admin, &config, &alone);
    let first = plot.load_of("llm-d-sim", "default/default", &[(0.0, 1.0), (600.0, 1.0)]);
    let second = plot.load_of(
        "llm-d",
        model,
        &[(0.0, 1.0), (15.0, 1.0), (25.0, 5.0), (600.0, 5.0)],
    );
    for (namespace, name) in [
        ("llm-d-sim", "vllme-deployment"),
        ("llm-d", "llama-8b-l40s"),
    ] {
        let status = status(&plot, namespace, name).await;
        println!("{name}: {status:#}");
    }
    // No replica of this one serves, so nothing is known of its load: it is held, and says so.
    let sets = eventually("conditions of the last form", async || {
        let object = api(&plot, "llm-d")
            .get("llama-70b-lws")
            .await
            .map_err(|e| e.to_string())?;
        let status = object.data["status"].clone();
        let said = ["TargetResolved", "MetricsAvailable"].map(|kind| condition(&status, kind).0);
        (said == ["True", "False"])
            .then(|| status.clone())
            .ok_or_else(|| format!("{status:#}"))
    });
    let sets = sets.await.unwrap_or_else(|e| panic!("{e}"));
    println!("llama-70b-lws: {sets:#}");
    // Nobody else scales this one, so wva does.
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(plot.client.clone(), "llm-d");
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
    println!("{}", decisions(&controller.log()));
    scaled.unwrap();
    drop((first, second));
}
