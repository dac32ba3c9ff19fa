//! A cluster with nodes of two accelerators, and the real `wva controller` in it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::net::SocketAddrV4;
use tokio::task::JoinHandle;
use wva_testbed::kubelet::{EmulatedServers, NodeSpec, STARTUP_ANNOTATION};
use wva_testbed::process::Process;
use wva_testbed::{ControlPlane, Kubelet, Options, eventually, or_skip};

use super::load::{ITL, Load, MODEL, TTFT, rate};
use crate::installation::API;

/// Where the controller serves, on the cluster's address.
const EXTERNAL_METRICS: u16 = 7443;
const HTTP: u16 = 7080;
/// From the start of a server to its first request, seconds.
const START_UP: u32 = 2;

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

/// A cluster without anything to scale yet.
pub struct Bed {
    // Dropped in this order: whoever asks before whoever answers.
    controller: Mutex<Option<Process>>,
    pub kubelet: Kubelet,
    pub cluster: ControlPlane,
    pub namespace: String,
    pub client: Client,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

/// Tests that measure latencies take turns.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Bed {
    pub async fn start() -> Option<Self> {
        let alone = ALONE.lock().await;
        let gates = "--feature-gates=HPAScaleToZero=true,HPAConfigurableTolerance=true".to_owned();
        let options = Options {
            apiserver_arguments: vec![gates.clone()],
            controller_manager_arguments: vec![gates],
            ..Options::default()
        };
        let cluster = or_skip(ControlPlane::start(options).await)?;
        let nodes = [CHEAP, LARGE].map(|v| NodeSpec::with_gpus(v.name, v.product, 8));
        let kubelet = Kubelet::start(&cluster, &nodes, EmulatedServers::new(1.0))
            .await
            .unwrap();
        let namespace = cluster.namespace("loop").await.unwrap();
        cluster.namespace("wva-system").await.unwrap();
        let client = cluster.admin().client().await.unwrap();
        Some(Self {
            controller: Mutex::new(None),
            kubelet,
            cluster,
            namespace,
            client,
            _alone: alone,
        })
    }

    /// The namespace of the controller's own objects.
    pub fn system(&self) -> &'static str {
        "wva-system-1"
    }

    /// Starts `wva controller`, with telemetry from `telemetry`, and registers its external metrics.
    pub async fn controller(&self, telemetry: &Value) {
        let host = self.cluster.host();
        let sandbox = self.cluster.sandbox();
        let pair = self.cluster.certificate_for(&API).unwrap();
        let chain = sandbox.write("wva/tls.crt", &pair.certificate).unwrap();
        let key = sandbox.write("wva/tls.key", &pair.key).unwrap();
        let config = json!({
            "classes": [{"name": "chat", "ttft_ms": {"p99": TTFT * 1e3}, "itl_ms": {"p99": ITL * 1e3}}],
            "defaults": {"class": "chat"},
            "policy": {
                "cycle_seconds": 1,
                "stale_after_seconds": 6,
                "pending_too_long_seconds": 4,
                "forecast": {"slot_s": 2, "outcome_s": 6},
                "stabilise": {"down_window_seconds": 10},
            },
            "watch": {"stock": "unlimited"},
            "telemetry": telemetry,
            "serve": {
                "http": format!("{host}:{HTTP}"),
                "external_metrics": {
                    "listen": format!("{host}:{EXTERNAL_METRICS}"),
                    "certificate": {"chain_file": chain, "key_file": key},
                },
            },
        });
        let config = sandbox
            .write("wva/config.yaml", &config.to_string())
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wva"));
        command
            .args([
                "controller",
                "--no-leader-election",
                "--namespace",
                self.system(),
            ])
            .arg("--config")
            .arg(config)
            .arg("--kubeconfig")
            .arg(self.cluster.admin().kubeconfig());
        let process = Process::start(sandbox, "wva", &mut command).unwrap();
        *self.controller.lock().unwrap() = Some(process);
        let address = SocketAddrV4::new(host, EXTERNAL_METRICS);
        eventually("wva to listen", async || {
            self.must_run();
            tokio::net::TcpStream::connect(address).await.map(drop)
        })
        .await
        .unwrap();
        self.cluster.aggregate(&API, address).await.unwrap();
        self.cluster.aggregated(&API).await.unwrap();
    }

    fn must_run(&self) {
        let process = self.controller.lock().unwrap();
        process.iter().for_each(|p| p.must_run().unwrap());
    }

    /// What the controller has written so far.
    pub fn log(&self) -> String {
        let process = self.controller.lock().unwrap();
        process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// What the controller decided, a line each.
    pub fn decisions(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(" -> ") || line.contains("WARN") || line.contains("ERROR"))
            .collect();
        lines.join("\n")
    }

    pub async fn apply(&self, object: &Value) {
        self.cluster
            .admin()
            .kubectl_reading(&object.to_string(), &["apply", "-f", "-"])
            .await
            .unwrap();
    }

    /// A Deployment as users write it.
    pub async fn deploy(&self, variant: Variant, replicas: u32) {
        self.deploy_as(&self.namespace, variant, MODEL, replicas)
            .await;
    }

    /// The same somewhere else, under another served name.
    pub async fn deploy_as(&self, namespace: &str, variant: Variant, served: &str, replicas: u32) {
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
        self.apply(&json!({
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
        }))
        .await;
    }

    /// The user's own HPA, which annotations opt in; no custom resource is needed.
    pub async fn autoscale(&self, variant: Variant, least: u32) {
        let selector = json!({"matchLabels": {
            "variant_name": variant.name,
            "exported_namespace": self.namespace,
        }});
        let rules = json!({"stabilizationWindowSeconds": 0, "tolerance": "0"});
        self.apply(&json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {
                "name": variant.name,
                "namespace": self.namespace,
                "labels": {"llm-d.ai/managed": "true"},
                "annotations": {
                    "llm-d.ai/model-id": MODEL,
                    "llm-d.ai/variant-cost": variant.cost,
                    "wva.llmd.ai/start-up-seconds": START_UP.to_string(),
                },
            },
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": variant.name},
                "minReplicas": least,
                "maxReplicas": 8,
                "metrics": [{
                    "type": "External",
                    "external": {
                        "metric": {"name": "wva_desired_replicas", "selector": selector},
                        "target": {"type": "AverageValue", "averageValue": "1"},
                    },
                }],
                "behavior": {"scaleUp": rules, "scaleDown": rules},
            },
        }))
        .await;
    }

    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn load(&self, profile: &[(f64, f64)]) -> Load {
        self.load_of(&self.namespace, MODEL, profile)
    }

    pub fn load_of(&self, namespace: &str, model: &'static str, profile: &[(f64, f64)]) -> Load {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        Load::start(pods, model, profile)
    }

    /// Waits until a Deployment asks for a number of replicas that this likes, all of them ready.
    pub async fn replicas(&self, variant: Variant, what: &str, fits: impl Fn(i32) -> bool) {
        let deployments = self.deployments();
        let what = format!("{} with {what}", variant.name);
        let waited = eventually(&what, async || {
            self.must_run();
            let (asked, ready) = counts(&deployments, variant).await?;
            if fits(asked) && ready == asked {
                Ok(())
            } else {
                Err(format!("asks for {asked}, {ready} are ready"))
            }
        });
        if let Err(error) = waited.await {
            panic!("{error}\n{}", self.decisions());
        }
    }

    /// Keeps a file that names the pods to Prometheus: the one of Debian does not ask Kubernetes itself.
    pub fn discovery(&self) -> PathBuf {
        let sandbox = self.cluster.sandbox().clone();
        let file = sandbox.write("pods.json", "[]").unwrap();
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
                    sandbox.write("pods.json", &json!(now).to_string()).unwrap();
                    before = now;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        file
    }

    /// Notes replicas each second from now on.
    pub fn timeline(&self, profile: &[(f64, f64)]) -> Timeline {
        let rows = Arc::new(Mutex::new(Vec::new()));
        let (kept, deployments, profile) =
            (Arc::clone(&rows), self.deployments(), profile.to_vec());
        let task = tokio::spawn(async move {
            let begin = Instant::now();
            loop {
                let cheap = counts(&deployments, CHEAP).await;
                let large = counts(&deployments, LARGE).await;
                if let (Ok(cheap), Ok(large)) = (cheap, large) {
                    let at = begin.elapsed().as_secs_f64();
                    let rate = rate(&profile, at);
                    kept.lock().unwrap().push(Row {
                        at,
                        rate,
                        cheap,
                        large,
                    });
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Timeline { rows, task }
    }
}

/// Replicas asked for and ready.
async fn counts(deployments: &Api<Deployment>, variant: Variant) -> Result<(i32, i32), String> {
    let found = deployments.get_opt(variant.name).await;
    let found = found.map_err(|e| e.to_string())?.unwrap_or_default();
    let asked = found.spec.and_then(|s| s.replicas).unwrap_or(0);
    let ready = found.status.and_then(|s| s.ready_replicas).unwrap_or(0);
    Ok((asked, ready))
}

/// One second of a fleet: (asked for, ready) of each variant.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub at: f64,
    pub rate: f64,
    pub cheap: (i32, i32),
    pub large: (i32, i32),
}

/// What replicas there were.
pub struct Timeline {
    rows: Arc<Mutex<Vec<Row>>>,
    task: JoinHandle<()>,
}

impl Timeline {
    pub fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().clone()
    }

    /// Prints it: seconds, requests per second, asked for/ready.
    pub fn print(&self, title: &str) {
        println!("{title}\n    s   rate  L40S  H100");
        for row in self.rows() {
            println!(
                "{:5.0} {:6.1}  {}/{}   {}/{}",
                row.at, row.rate, row.cheap.0, row.cheap.1, row.large.0, row.large.1
            );
        }
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.task.abort();
    }
}
