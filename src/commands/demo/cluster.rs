//! Where a cluster would be: the objects that the controller's index reads, and the servers behind them.
//!
//! Objects are made as the API server would show them, and nothing else is told to the controller. What the controller
//! wants written is written to them; what a Deployment asks for is started and drained at once, as kubelets would.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use wva_controllers::api::VariantAutoscalingStatus;
use wva_controllers::api::keys;
use wva_controllers::index::{Key, Kind};
use wva_emulator::{Config, Emulator, Handle, ServerHandle, ServerSpec, Status};
use wva_models::model::Precision;
use wva_models::service_class::{Bound, ServiceClass, Statistic};
use wva_models::variant::Variant;

use super::script::Script;
use crate::cluster::objects::Objects;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;

/// Namespace of everything.
pub const NAMESPACE: &str = "demo";
/// Device resource of every accelerator here.
const GPU: &str = "nvidia.com/gpu";

/// The cluster.
pub struct Cluster {
    deployed: Vec<Deployed>,
    classes: Vec<Value>,
    emulator: Handle,
    start_up: Duration,
    born: u32,
}

/// One variant: its Deployment, its `VariantAutoscaling`, its pods.
pub struct Deployed {
    /// What it is.
    pub variant: Variant,
    /// Price of one replica, $/h.
    pub price: f64,
    spec: ServerSpec,
    wanted: u32,
    pods: Vec<Pod>,
    status: Option<VariantAutoscalingStatus>,
    /// Seconds that replicas which are gone were paid for.
    paid_s: f64,
}

struct Pod {
    name: String,
    asked: f64,
    ready: Option<f64>,
    leaving: Option<(f64, JoinHandle<()>)>,
    server: ServerHandle,
}

impl Cluster {
    /// A cluster with the opening fleet, which serves at once.
    pub fn new(script: &Script, start_up: Duration, now: f64) -> Result<Self, Failure> {
        let emulator = Emulator::start(Config::default()).map_err(refused)?;
        let deployed = script.catalogue.variants.iter().zip(&script.truth);
        let deployed = deployed.map(|(variant, truth)| {
            let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let mut spec = ServerSpec::of_variant(&script.catalogue, variant, anywhere);
            spec.replica = *truth;
            Deployed {
                price: script.catalogue.price_per_replica(variant).get(),
                variant: variant.clone(),
                spec,
                wanted: 0,
                pods: Vec::new(),
                status: None,
                paid_s: 0.0,
            }
        });
        let mut cluster = Self {
            deployed: deployed.collect(),
            classes: classes(script),
            emulator,
            start_up: Duration::ZERO,
            born: 0,
        };
        for (v, &replicas) in script.opening.iter().enumerate() {
            cluster.scale(v, replicas, now)?;
        }
        cluster.start_up = start_up;
        cluster.look(now);
        Ok(cluster)
    }

    /// The variants, in the catalogue's order.
    pub fn deployed(&self) -> &[Deployed] {
        &self.deployed
    }

    /// Has a Deployment ask for this many replicas.
    pub fn scale_named(&mut self, name: &str, to: u32, now: f64) -> Result<(), Failure> {
        let found = self.deployed.iter().position(|d| d.variant.name == name);
        found.map_or(Ok(()), |v| self.scale(v, to, now))
    }

    fn scale(&mut self, v: usize, to: u32, now: f64) -> Result<(), Failure> {
        let deployed = &mut self.deployed[v];
        deployed.wanted = to;
        while deployed.staying() < to {
            self.born += 1;
            let spec = ServerSpec {
                start_up: self.start_up,
                ..deployed.spec.clone()
            };
            deployed.pods.push(Pod {
                name: format!("{}-h-{}", deployed.variant.name, self.born),
                asked: now,
                ready: None,
                leaving: None,
                server: self.emulator.spawn_server(spec).map_err(refused)?,
            });
        }
        while deployed.staying() > to {
            deployed.retire(now);
        }
        Ok(())
    }

    /// Takes note of the status that the controller wrote.
    pub fn set_status(&mut self, name: &str, status: VariantAutoscalingStatus) {
        let found = self.deployed.iter_mut().find(|d| d.variant.name == name);
        if let Some(deployed) = found {
            deployed.status = Some(status);
        }
    }

    /// Looks after the pods: who has become ready, who is gone.
    pub fn look(&mut self, now: f64) {
        for deployed in &mut self.deployed {
            for pod in &mut deployed.pods {
                if pod.ready.is_none() && pod.server.status() == Status::Ready {
                    pod.ready = Some(now);
                }
            }
            let gone = |pod: &mut Pod| pod.leaving.as_ref().is_some_and(|(_, l)| l.is_finished());
            let paid = deployed.pods.extract_if(.., gone).map(|p| now - p.asked);
            deployed.paid_s += paid.sum::<f64>();
        }
    }

    /// Servers that take requests, by model.
    pub fn routes(&self) -> BTreeMap<String, Vec<SocketAddr>> {
        let mut routes: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
        for deployed in &self.deployed {
            let serving = deployed.pods.iter().filter(|p| p.serves());
            let addresses = serving.map(|p| p.server.address());
            let model = deployed.variant.model.clone();
            routes.entry(model).or_default().extend(addresses);
        }
        routes
    }

    /// The objects as the API server would list them.
    pub fn objects(&self) -> Objects {
        let mut objects = Objects::default();
        objects.add(Kind::ServiceClass, self.classes.iter().map(object));
        for deployed in &self.deployed {
            objects.add(Kind::VariantAutoscaling, [object(&deployed.autoscaling())]);
            objects.add(Kind::Deployment, [object(&deployed.deployment())]);
            let pods = deployed.pods.iter();
            objects.add(
                Kind::Pod,
                pods.map(|p| object(&p.object(&deployed.variant.name))),
            );
        }
        objects
    }

    /// Stops every server; requests in flight are lost.
    pub async fn stop(&self) {
        self.emulator.stop().await;
    }
}

impl Deployed {
    /// Key of its `VariantAutoscaling`.
    pub fn key(&self) -> Key {
        Key::new(NAMESPACE, &self.variant.name)
    }

    /// Replicas asked for, those that serve, and those that are paid for.
    pub fn replicas(&self) -> (u32, u32, u32) {
        let serving = self.pods.iter().filter(|p| p.serves()).count();
        (self.wanted, serving as u32, self.pods.len() as u32)
    }

    /// Seconds of replicas paid for until `now`.
    pub fn paid_s(&self, now: f64) -> f64 {
        let open = self.pods.iter().map(|p| (now - p.asked).max(0.0));
        self.paid_s + open.sum::<f64>()
    }

    fn staying(&self) -> u32 {
        self.pods.iter().filter(|p| p.leaving.is_none()).count() as u32
    }

    /// Drains one replica: one that does not serve yet, or else the one with the fewest requests.
    fn retire(&mut self, now: f64) {
        let staying = self.pods.iter_mut().filter(|p| p.leaving.is_none());
        let spare = staying.min_by_key(|p| (p.ready.is_some(), p.server.in_flight()));
        if let Some(pod) = spare {
            let server = pod.server.clone();
            let leaving = tokio::spawn(async move { server.drain().await });
            pod.leaving = Some((now, leaving));
        }
    }

    fn autoscaling(&self) -> Value {
        let v = &self.variant;
        let start_up = v.start_up.get().max(0.1);
        json!({
            "apiVersion": "llmd.ai/v1alpha1", "kind": "VariantAutoscaling",
            "metadata": {
                "name": v.name, "namespace": NAMESPACE, "uid": format!("va-{}", v.name), "generation": 1,
                "labels": {keys::ACCELERATOR: v.accelerator},
                "annotations": {keys::START_UP_SECONDS: start_up.to_string()},
            },
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": v.name},
                "modelID": v.model,
                "minReplicas": v.min_replicas,
                "maxReplicas": v.max_replicas,
                "variantCost": v.price_per_hour_usd.map(|p| p.get().to_string()),
            },
            "status": self.status,
        })
    }

    fn deployment(&self) -> Value {
        let v = &self.variant;
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": v.name, "namespace": NAMESPACE, "uid": format!("deployment-{}", v.name)},
            "spec": {
                "replicas": self.wanted,
                "template": {"spec": {"containers": [{
                    "name": "vllm",
                    "image": "vllm/vllm-openai",
                    "args": arguments(v),
                    "resources": {"limits": {GPU: v.tensor_parallel.to_string()}},
                }]}},
            },
            "status": {"replicas": self.staying()},
        })
    }
}

impl Pod {
    fn serves(&self) -> bool {
        self.ready.is_some() && self.leaving.is_none()
    }

    fn object(&self, variant: &str) -> Value {
        let address = self.server.address();
        let ready = if self.serves() { "True" } else { "False" };
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": self.name, "namespace": NAMESPACE, "uid": self.name,
                "creationTimestamp": time(self.asked),
                "deletionTimestamp": self.leaving.as_ref().map(|(at, _)| time(*at)),
                "labels": {keys::POD_TEMPLATE_HASH: "h"},
                "annotations": {keys::METRICS_PORT: address.port().to_string()},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{variant}-h"), "uid": "rs", "controller": true,
                }],
            },
            "spec": {"nodeName": "this-computer", "containers": [{"name": "vllm"}]},
            "status": {
                "phase": "Running",
                "podIP": address.ip().to_string(),
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": time(self.ready.unwrap_or(self.asked))}],
                "containerStatuses": [{"state": {"running": {"startedAt": time(self.asked)}}}],
            },
        })
    }
}

/// What the engine is started with, as far as it differs from the defaults.
fn arguments(v: &Variant) -> Vec<String> {
    let (engine, own) = (&v.engine, wva_models::variant::EngineSettings::default());
    let format = |p: Precision| match p {
        Precision::Bf16 => None,
        Precision::Fp8 => Some("fp8"),
        Precision::Int4 => Some("awq"),
    };
    let mut arguments = vec![
        format!("--model={}", v.model),
        format!("--tensor-parallel-size={}", v.tensor_parallel),
        format!("--max-num-seqs={}", engine.max_num_seqs),
        format!("--max-num-batched-tokens={}", engine.max_num_batched_tokens),
    ];
    if engine.gpu_memory_utilization != own.gpu_memory_utilization {
        let share = engine.gpu_memory_utilization;
        arguments.push(format!("--gpu-memory-utilization={share}"));
    }
    arguments.extend(format(engine.precision).map(|f| format!("--quantization={f}")));
    arguments.extend(format(engine.kv_precision).map(|f| format!("--kv-cache-dtype={f}")));
    if !engine.prefix_caching {
        arguments.push("--no-enable-prefix-caching".to_owned());
    }
    arguments
}

/// One `ServiceClass` per class that is asked, for the models that it is asked of.
fn classes(script: &Script) -> Vec<Value> {
    let asked = |c: &ServiceClass| {
        let streams = script.streams.iter().filter(|s| s.class == c.name);
        let models: Vec<&str> = streams.map(|s| s.model.as_str()).collect();
        (!models.is_empty()).then(|| class(c, &models))
    };
    script.catalogue.classes.iter().filter_map(asked).collect()
}

fn class(class: &ServiceClass, models: &[&str]) -> Value {
    let slo = class.slo().copied().unwrap_or_default();
    json!({
        "apiVersion": "wva.llmd.ai/v1alpha1", "kind": "ServiceClass",
        "metadata": {"name": class.name, "namespace": NAMESPACE},
        "spec": {
            "priority": class.priority,
            "models": models,
            "ttftMs": slo.ttft.map(bound),
            "itlMs": slo.itl.map(bound),
            "e2eMs": slo.e2e.map(bound),
        },
    })
}

fn bound(bound: Bound) -> Value {
    // Objects know these percentiles; another one is held to the next stricter.
    let statistic = match bound.statistic {
        Statistic::Mean => "mean",
        Statistic::Quantile(q) if q <= 0.5 => "p50",
        Statistic::Quantile(q) if q <= 0.9 => "p90",
        Statistic::Quantile(q) if q <= 0.95 => "p95",
        Statistic::Quantile(_) => "p99",
    };
    let per_1k = bound.per_input_token.get() * 1e6;
    let mut value = json!({statistic: bound.limit.get() * 1e3});
    if per_1k > 0.0 {
        value["per1kInputTokens"] = per_1k.into();
    }
    value
}

fn time(at: f64) -> Option<String> {
    let time = Timestamp::from_millisecond((at * 1e3) as i64);
    Some(time.ok()?.to_string())
}

fn object(value: &Value) -> DynamicObject {
    let mut value = value.clone();
    strip(&mut value);
    DynamicObject::deserialize(value).expect("these are objects")
}

/// What is not said is not there: the API server shows no nulls.
fn strip(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, v| !v.is_null());
        fields.values_mut().for_each(strip);
    }
}

fn refused(error: wva_emulator::EmulatorError) -> Failure {
    Diagnostic::new(error.to_string()).into()
}
