//! The controller on a cluster where helm has installed the chart, with the account, the settings and the rights that the chart gives it.

use std::net::SocketAddrV4;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wva_controllers::run::{Identity, run};
use wva_controllers::settings::Settings;
use wva_testbed::aggregation::AggregatedApi;
use wva_testbed::{ControlPlane, Error, Options, eventually, or_skip};

use crate::rendered::{NAMESPACE, RELEASE, chart};

const API: AggregatedApi<'static> = AggregatedApi {
    group: "external.metrics.k8s.io",
    version: "v1beta1",
    namespace: NAMESPACE,
    service: RELEASE,
};

/// Installs with a VariantAutoscaling among the samples, and the Deployment that it is about.
async fn installed() -> Result<ControlPlane, Error> {
    let cluster = ControlPlane::start(Options::default()).await?;
    let admin = cluster.admin();
    admin.kubectl(&["create", "namespace", "models"]).await?;
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama", "namespace": "models"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "llama"}},
            "template": {
                "metadata": {"labels": {"app": "llama"}},
                "spec": {
                    "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
                    "containers": [{
                        "name": "vllm",
                        "image": "vllm/vllm-openai",
                        "resources": {"limits": {"nvidia.com/gpu": "1"}},
                    }],
                },
            },
        },
    });
    let words = ["create", "-f", "-"];
    admin
        .kubectl_reading(&deployment.to_string(), &words)
        .await?;
    let chart = chart();
    admin
        .helm(&[
            "install",
            RELEASE,
            &chart,
            &format!("--namespace={NAMESPACE}"),
            "--create-namespace",
            "--set=samples.create={ServiceClass,VariantAutoscaling}",
            "--set=samples.namespace=models,samples.deployment=llama",
            "--set=settings.policy.cycle_seconds=1",
        ])
        .await?;
    Ok(cluster)
}

/// The controller in this process, as one of the Deployment's pods.
struct Running {
    pod: String,
    address: SocketAddrV4,
    stop: oneshot::Sender<()>,
    process: JoinHandle<()>,
}

impl Running {
    async fn start(cluster: &ControlPlane, admin: &Client) -> Self {
        let account = cluster.service_account(NAMESPACE, RELEASE).await.unwrap();
        let client = account.client().await.unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(admin.clone(), NAMESPACE);
        let text = maps.get(RELEASE).await.unwrap().data.unwrap()["wva.yaml"].clone();
        let mut settings = Settings::parse(&text, "wva.yaml").unwrap();
        // Instead of the pod's address. The cluster's own is shared with nobody else.
        let address = SocketAddrV4::new(cluster.host(), 16443);
        settings.serve.http = SocketAddrV4::new(cluster.host(), 18080).into();
        settings.serve.external_metrics.as_mut().unwrap().listen = address.into();
        let pod = pod(admin).await;
        let identity = Identity {
            namespace: NAMESPACE.into(),
            name: pod.clone(),
            is_pod: true,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let process = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            run(client, settings, identity, stopped).await.unwrap();
        });
        Self {
            pod,
            address,
            stop,
            process,
        }
    }
}

/// One of the pods that the Deployment has made, which wait for a node.
async fn pod(admin: &Client) -> String {
    let pods: Api<Pod> = Api::namespaced(admin.clone(), NAMESPACE);
    let ours = ListParams::default().labels("app.kubernetes.io/name=wva");
    eventually("pods of wva", async || {
        let found = pods.list(&ours).await.map_err(|e| e.to_string())?;
        let first = found.items.into_iter().next().ok_or("none")?;
        first.metadata.name.ok_or("no name".to_owned())
    })
    .await
    .unwrap()
}

/// The names of the pods that the Service leads to, by its selector.
async fn selected(admin: &Client, selector: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(admin.clone(), NAMESPACE);
    let found = pods.list(&ListParams::default().labels(selector)).await;
    let names = found.unwrap().items.into_iter().map(|p| p.metadata.name);
    names.flatten().collect()
}

async fn status(admin: &Client) -> Result<Value, String> {
    let kind = GroupVersionKind::gvk("llmd.ai", "v1alpha1", "VariantAutoscaling");
    let resource = ApiResource::from_gvk_with_plural(&kind, "variantautoscalings");
    let variants: Api<DynamicObject> = Api::namespaced_with(admin.clone(), "models", &resource);
    let variant = variants.get("llama").await.map_err(|e| e.to_string())?;
    Ok(variant.data["status"].clone())
}

/// A condition of the variant, as `status/reason`.
fn condition(status: &Value, kind: &str) -> String {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let found = conditions.filter(|c| c["type"] == kind);
    let told = found.map(|c| format!("{}/{}", c["status"], c["reason"]).replace('"', ""));
    told.collect()
}

#[tokio::test]
async fn the_controller_does_its_work_with_what_the_chart_gives_it() {
    let Some(cluster) = or_skip(installed().await) else {
        return;
    };
    let admin = cluster.admin().client().await.unwrap();
    let selector = format!(
        "app.kubernetes.io/name=wva,app.kubernetes.io/instance={RELEASE},wva.llmd.ai/leader=true"
    );
    let words = ["get", "service", RELEASE, "-n", NAMESPACE];
    let words = [&words[..], &["-o", "jsonpath={.spec.selector}"]].concat();
    let chosen = cluster.admin().kubectl(&words).await.unwrap();
    let chosen: Value = serde_json::from_str(&chosen).unwrap();
    for (key, value) in chosen.as_object().unwrap() {
        let pair = format!("{key}={}", value.as_str().unwrap());
        assert!(selector.contains(&pair), "{pair}");
    }
    assert_eq!(chosen.as_object().unwrap().len(), 3);
    let wva = Running::start(&cluster, &admin).await;

    // It leads, and the Service leads to it.
    eventually("the leader's label", async || {
        match selected(&admin, &selector).await {
            one if one == [wva.pod.clone()] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    let leases: Api<Lease> = Api::namespaced(admin.clone(), NAMESPACE);
    let holder = async || {
        let lease = leases.get(RELEASE).await.map_err(|e| e.to_string())?;
        let spec = lease.spec.ok_or("no spec")?;
        Ok::<_, String>(spec.holder_identity.unwrap_or_default())
    };
    assert_eq!(holder().await.unwrap(), wva.pod);

    // It decides, and says what it misses: there is no telemetry of pods that wait for a node.
    eventually("a status", async || {
        let status = status(&admin).await?;
        let (found, metrics) = (
            condition(&status, "TargetResolved"),
            condition(&status, "MetricsAvailable"),
        );
        if found == "True/TargetFound" && metrics.starts_with("False/") {
            Ok(())
        } else {
            Err(format!("{status}"))
        }
    })
    .await
    .unwrap();
    let events: Api<Event> = Api::namespaced(admin.clone(), "models");
    eventually("an event about the variant", async || {
        let found = events.list(&ListParams::default()).await;
        let ours = found.map_err(|e| e.to_string())?.items.into_iter();
        let ours = ours.filter(|e| e.reporting_controller.as_deref() == Some("wva"));
        match ours.count() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    })
    .await
    .unwrap();

    // The API server verifies it by the authority that it made, once it finds the way: there are no networks of Services here.
    let words = ["delete", "service", RELEASE, "-n", NAMESPACE];
    cluster.admin().kubectl(&words).await.unwrap();
    cluster.aggregate(&API, wva.address).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), NAMESPACE);
    let kept = eventually("an authority that is kept", async || {
        let secret = secrets.get("wva-authority").await;
        let data = secret.map_err(|e| e.to_string())?.data.unwrap_or_default();
        let kept = data.get("authority.json").ok_or("not yet")?;
        serde_json::from_slice::<Value>(&kept.0).map_err(|e| e.to_string())
    });
    let kept = kept.await.unwrap();
    let bundle = kept["certificate"].as_str().unwrap().to_owned();
    wva.stop.send(()).unwrap();
    wva.process.await.unwrap();
    // It has given up what it held.
    assert_eq!(holder().await.unwrap(), "");
    assert!(selected(&admin, &selector).await.is_empty());

    // The next process finds the authority, and puts right what somebody else wrote into the APIService.
    let next = Running::start(&cluster, &admin).await;
    // The old status says Available for a moment longer: what counts is what the APIService is told in the end.
    eventually("the authority in the APIService", async || {
        let words = ["get", "apiservice", "v1beta1.external.metrics.k8s.io"];
        let words = [&words[..], &["-o", "json"]].concat();
        let service = cluster.admin().kubectl(&words).await.unwrap();
        let service: k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService =
            serde_json::from_str(&service).unwrap();
        let told = service.spec.and_then(|s| s.ca_bundle).map(|b| b.0);
        match told {
            Some(told) if told == bundle.as_bytes() => Ok(()),
            _ => Err("another bundle"),
        }
    })
    .await
    .unwrap();
    cluster.aggregated(&API).await.unwrap();
    let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/models/wva_desired_replicas";
    let raw = ["get", "--raw", path];
    let list = eventually("an answer through the aggregator", async || {
        cluster
            .admin()
            .kubectl(&raw)
            .await
            .map_err(|e| e.to_string())
    });
    let list: Value = serde_json::from_str(&list.await.unwrap()).unwrap();
    assert_eq!(list["kind"], "ExternalMetricValueList");
    next.stop.send(()).unwrap();
    next.process.await.unwrap();
}
