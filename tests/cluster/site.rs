//! A namespace with model servers and users in it, and `wva controller` beside it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use wva_testbed::kubelet::STARTUP_ANNOTATION;
use wva_testbed::process::Process;
use wva_testbed::{Access, ControlPlane, Sandbox, eventually};

use crate::load::{Load, MODEL, PROMISE, Promise};

/// From the start of a server to its first request, seconds.
pub const START_UP: u32 = 2;

/// The two accelerators, the cheap one first: what it costs, what a node of it is called and labelled.
pub const CHEAP: Variant = Variant {
    name: "llama-l40s",
    product: "NVIDIA-L40S",
    cost: "1.0",
};
pub const LARGE: Variant = Variant {
    name: "llama-h100",
    product: "NVIDIA-H100-80GB-HBM3",
    cost: "9.0",
};

/// A Deployment of the model on one accelerator.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    pub name: &'static str,
    pub product: &'static str,
    pub cost: &'static str,
}

/// A namespace of a cluster.
pub struct Site {
    pub client: Client,
    pub namespace: String,
    admin: Access,
    sandbox: Sandbox,
}

/// What is promised, as the controller's file says it.
pub fn promises() -> Value {
    promised(PROMISE)
}

/// The same of another promise.
pub fn promised(promise: Promise) -> Value {
    let bound = |seconds: f64| json!({"p99": seconds * 1e3});
    json!([{"name": "chat", "ttft_ms": bound(promise.ttft), "itl_ms": bound(promise.itl)}])
}

impl Site {
    /// A new namespace, whose name begins with this label.
    pub async fn new(cluster: &ControlPlane, label: &str) -> Self {
        let namespace = cluster.namespace(label).await.unwrap();
        Self::at(cluster, namespace).await
    }

    /// A namespace that is there.
    pub async fn at(cluster: &ControlPlane, namespace: String) -> Self {
        Self {
            client: cluster.admin().client().await.unwrap(),
            namespace,
            admin: cluster.admin().clone(),
            sandbox: cluster.sandbox().clone(),
        }
    }

    /// Starts `wva controller` with this configuration, as this user; its log is named after it.
    pub fn controller(
        &self,
        name: &str,
        user: &Access,
        config: &Value,
        arguments: &[&str],
    ) -> Process {
        let file = format!("{name}/config.yaml");
        let config = self.sandbox.write(&file, &config.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wva"));
        command
            .arg("controller")
            .args(arguments)
            .arg("--config")
            .arg(config)
            .arg("--kubeconfig")
            .arg(user.kubeconfig());
        Process::start(&self.sandbox, name, &mut command).unwrap()
    }

    /// Makes the object so, whoever else wrote it.
    pub async fn apply(&self, object: &Value) {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = word(&object["apiVersion"]);
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let kind = GroupVersionKind::gvk(group, version, &word(&object["kind"]));
        let resource = ApiResource::from_gvk(&kind);
        let client = self.client.clone();
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let user = PatchParams::apply("user").force();
        let name = word(&object["metadata"]["name"]);
        let applied = api.patch(&name, &user, &Patch::Apply(object)).await;
        applied.unwrap_or_else(|e| panic!("{e}: {object}"));
    }

    /// A Deployment as users write it.
    pub async fn deploy(&self, variant: Variant, replicas: u32) {
        self.deploy_as(&self.namespace, variant, MODEL, replicas)
            .await;
    }

    /// The same somewhere else, under another served name.
    pub async fn deploy_as(&self, namespace: &str, variant: Variant, served: &str, replicas: u32) {
        let deployment = deployment(namespace, variant, served, replicas);
        self.apply(&deployment).await;
    }

    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn load(&self, profile: &[(f64, f64)]) -> Load {
        self.load_of(&self.namespace, MODEL, profile)
    }

    pub fn load_of(&self, namespace: &str, model: &'static str, profile: &[(f64, f64)]) -> Load {
        self.load_at((namespace, "served=true"), model, profile)
    }

    /// The same at the pods of a namespace that have these labels.
    pub fn load_at(
        &self,
        (namespace, labels): (&str, &'static str),
        model: &'static str,
        profile: &[(f64, f64)],
    ) -> Load {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        Load::start((pods, labels), model, profile)
    }

    /// Waits until a Deployment asks for a number of replicas that this likes, all of them ready.
    pub async fn replicas(&self, variant: Variant, what: &str, fits: impl Fn(i32) -> bool) {
        let deployments = self.deployments();
        let what = format!("{} with {what}", variant.name);
        let waited = eventually(&what, async || {
            let (asked, ready) = counts(&deployments, variant).await?;
            if fits(asked) && ready == asked {
                Ok(())
            } else {
                Err(format!("asks for {asked}, {ready} are ready"))
            }
        });
        if let Err(error) = waited.await {
            panic!("{error}");
        }
    }

    /// Keeps a file that names the pods to Prometheus: the one of Debian does not ask Kubernetes itself.
    pub fn discovery(&self) -> PathBuf {
        let sandbox = self.sandbox.clone();
        let name = format!("{}-pods.json", self.namespace);
        let file = sandbox.write(&name, "[]").unwrap();
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        let namespace = self.namespace.clone();
        tokio::spawn(async move {
            let mut before = Vec::new();
            loop {
                let found = pods.list(&ListParams::default()).await;
                let targets = found.into_iter().flatten().filter_map(|pod| {
                    let ip = pod.status?.pod_ip?;
                    let labels = json!({"namespace": namespace, "pod": pod.metadata.name});
                    Some(json!({"targets": [format!("{ip}:8000")], "labels": labels}))
                });
                let now: Vec<Value> = targets.collect();
                if now != before {
                    sandbox.write(&name, &json!(now).to_string()).unwrap();
                    before = now;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        file
    }

    /// Has Prometheus scrape the pods of the namespace, and what else there is.
    pub fn scraping(&self, interval: &str, others: &[Value]) -> String {
        let servers = json!({
            "job_name": "vllm",
            "file_sd_configs": [{"files": [self.discovery()]}],
        });
        let jobs: Vec<_> = std::iter::once(&servers).chain(others).collect();
        json!({
            "global": {"scrape_interval": interval, "scrape_timeout": "1s"},
            "scrape_configs": jobs,
        })
        .to_string()
    }

    pub fn admin(&self) -> &Access {
        &self.admin
    }

    /// The VariantAutoscaling of a Deployment, which may ask for so many replicas at least, and at most.
    pub fn autoscaling(&self, variant: Variant, (least, most): (u32, u32)) -> Value {
        json!({
            "apiVersion": "llmd.ai/v1alpha1",
            "kind": "VariantAutoscaling",
            "metadata": {
                "name": variant.name,
                "namespace": self.namespace,
                "annotations": {"wva.llmd.ai/start-up-seconds": START_UP.to_string()},
            },
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": variant.name},
                "modelID": MODEL,
                "variantCost": variant.cost,
                "minReplicas": least,
                "maxReplicas": most,
            },
        })
    }
}

/// Lines of a controller's log that say what it decided, and what troubled it.
pub fn decisions(log: &str) -> String {
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" -> ") || line.contains("WARN") || line.contains("ERROR"))
        .collect();
    lines.join("\n")
}

pub fn deployment(namespace: &str, variant: Variant, served: &str, replicas: u32) -> Value {
    let labels = json!({"app": variant.name, "served": "true"});
    let container = json!({
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.11.0",
        "command": ["vllm", "serve", MODEL],
        "args": ["--served-model-name", served],
        "ports": [{"containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1},
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": variant.name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": variant.name}},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {STARTUP_ANNOTATION: START_UP.to_string()},
                },
                "spec": {
                    "nodeSelector": {"nvidia.com/gpu.product": variant.product},
                    "terminationGracePeriodSeconds": 10,
                    "containers": [container],
                },
            },
        },
    })
}

/// Replicas asked for and ready.
pub async fn counts(deployments: &Api<Deployment>, variant: Variant) -> Result<(i32, i32), String> {
    let found = deployments.get_opt(variant.name).await;
    let found = found.map_err(|e| e.to_string())?.unwrap_or_default();
    let asked = found.spec.and_then(|s| s.replicas).unwrap_or(0);
    let ready = found.status.and_then(|s| s.ready_replicas).unwrap_or(0);
    Ok((asked, ready))
}
