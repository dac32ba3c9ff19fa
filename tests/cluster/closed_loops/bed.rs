//! A cluster with nodes of two accelerators, and the real `wva controller` in it, whose external metrics HPAs follow.

use std::net::SocketAddrV4;
use std::ops::Deref;
use std::sync::Mutex;

use serde_json::{Value, json};
use wva_testbed::kubelet::{EmulatedServers, NodeSpec};
use wva_testbed::process::Process;
use wva_testbed::{ControlPlane, Kubelet, Options, eventually, or_skip};

use crate::installation::API;
use crate::load::{MODEL, PROMISE, Promise};
use crate::site::{CHEAP, LARGE, START_UP, Site, Variant, decisions, promised};

/// Where the controller serves, on the cluster's address.
const EXTERNAL_METRICS: u16 = 7443;
const HTTP: u16 = 7080;

/// A cluster without anything to scale yet, and a namespace in it.
pub struct Bed {
    // Dropped in this order: whoever asks before whoever answers.
    controller: Mutex<Option<Process>>,
    pub kubelet: Kubelet,
    pub cluster: ControlPlane,
    site: Site,
}

impl Deref for Bed {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Bed {
    /// With eight devices of each accelerator.
    pub async fn start() -> Option<Self> {
        Self::on(&[CHEAP, LARGE], 8).await
    }

    /// With a node of so many devices for each of the variants.
    pub async fn on(variants: &[Variant], devices: u32) -> Option<Self> {
        let gates = "--feature-gates=HPAScaleToZero=true,HPAConfigurableTolerance=true".to_owned();
        let options = Options {
            apiserver_arguments: vec![gates.clone()],
            controller_manager_arguments: vec![gates],
            ..Options::default()
        };
        let cluster = or_skip(ControlPlane::start(options).await)?;
        let node = |v: &Variant| NodeSpec::with_gpus(v.name, v.product, devices);
        let nodes: Vec<NodeSpec> = variants.iter().map(node).collect();
        let kubelet = Kubelet::start(&cluster, &nodes, EmulatedServers::new(1.0))
            .await
            .unwrap();
        let site = Site::new(&cluster, "loop").await;
        cluster.namespace("wva-system").await.unwrap();
        Some(Self {
            controller: Mutex::new(None),
            kubelet,
            cluster,
            site,
        })
    }

    /// The namespace of the controller's own objects.
    pub fn system(&self) -> &'static str {
        "wva-system-1"
    }

    /// The model on both accelerators, one replica on the cheap one, and HPAs that the user has opted in.
    pub async fn both(&self) {
        self.deploy(CHEAP, 1).await;
        self.deploy(LARGE, 0).await;
        self.replicas(CHEAP, "a replica", |n| n == 1).await;
        self.autoscale(CHEAP, 1).await;
        self.autoscale(LARGE, 0).await;
    }

    /// Starts `wva controller`, with telemetry from `telemetry`, and registers its external metrics.
    pub async fn controller(&self, telemetry: &Value) {
        self.promising(PROMISE, telemetry).await;
    }

    /// The same with a promise of one's own. Nothing is out of stock here, however slow this machine is with pods.
    pub async fn promising(&self, promise: Promise, telemetry: &Value) {
        self.run(promise, 120, telemetry).await;
    }

    /// One that takes what is not there after this time for out of stock.
    pub async fn impatient(&self, seconds: u32, telemetry: &Value) {
        self.run(PROMISE, seconds, telemetry).await;
    }

    async fn run(&self, promise: Promise, pending_too_long: u32, telemetry: &Value) {
        let host = self.cluster.host();
        let sandbox = self.cluster.sandbox();
        let pair = self.cluster.certificate_for(&API).unwrap();
        let chain = sandbox.write("wva/tls.crt", &pair.certificate).unwrap();
        let key = sandbox.write("wva/tls.key", &pair.key).unwrap();
        let config = json!({
            "classes": promised(promise),
            "defaults": {"class": "chat"},
            "policy": {
                "cycle_seconds": 1,
                "stale_after_seconds": 6,
                "pending_too_long_seconds": pending_too_long,
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
        let alone = ["--no-leader-election", "--namespace", self.system()];
        let process = self
            .site
            .controller("wva", self.cluster.admin(), &config, &alone);
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

    /// What the controller decided, a line each.
    pub fn decisions(&self) -> String {
        let process = self.controller.lock().unwrap();
        let log = process.as_ref().map(Process::log).unwrap_or_default();
        decisions(&log)
    }

    /// The user's own HPA, which annotations opt in; no custom resource is needed.
    pub async fn autoscale(&self, variant: Variant, least: u32) {
        let deployment =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": variant.name});
        let mut hpa = hpa((&self.namespace, variant.name), &deployment, least);
        hpa["metadata"]["labels"] = json!({"llm-d.ai/managed": "true"});
        hpa["metadata"]["annotations"] = json!({
            "llm-d.ai/model-id": MODEL,
            "llm-d.ai/variant-cost": variant.cost,
            "wva.llmd.ai/start-up-seconds": START_UP.to_string(),
        });
        self.apply(&hpa).await;
    }
}

/// An HPA that follows what is published about a variant.
pub fn hpa((namespace, variant): (&str, &str), target: &Value, least: u32) -> Value {
    let selector = json!({"matchLabels": {
        "variant_name": variant,
        "exported_namespace": namespace,
    }});
    let rules = json!({"stabilizationWindowSeconds": 0, "tolerance": "0"});
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": variant, "namespace": namespace},
        "spec": {
            "scaleTargetRef": target,
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
    })
}
