//! Objects of a user, and a controller that says what a test wants said.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use wva_controllers::api::crds;
use wva_controllers::exported::{self, Exported, Naming};
use wva_controllers::published::{Entry, Latencies, Publisher, Report, VariantReport};
use wva_optimizer::decision::Reason;
use wva_testbed::Access;

use crate::installation::{Installation, decided};

pub const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";

/// What a run came to.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        serde_json::from_str(&self.out).expect("JSON on stdout")
    }
}

/// Runs `wva` as this user, and waits without holding up what runs beside it.
pub async fn wva(access: &Access, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wva"));
    command
        .args(arguments)
        .env("KUBECONFIG", access.kubeconfig())
        .env_remove("RUST_LOG");
    let ran = tokio::task::spawn_blocking(move || command.output());
    let ran = ran.await.expect("no panic").expect("wva starts");
    Ran {
        code: ran.status.code(),
        out: String::from_utf8_lossy(&ran.stdout).into_owned(),
        err: String::from_utf8_lossy(&ran.stderr).into_owned(),
    }
}

pub async fn apply(cluster: &Installation, value: &Value) {
    let applied = cluster
        .cluster
        .admin()
        .kubectl_reading(&value.to_string(), &["apply", "--server-side", "-f", "-"])
        .await;
    applied.unwrap();
}

/// Installs the definitions; applying them twice does no harm.
pub async fn define(cluster: &Installation) {
    let documents: Vec<String> = crds::all().iter().map(|(_, crd)| crds::yaml(crd)).collect();
    let admin = cluster.cluster.admin();
    let arguments = ["apply", "--server-side", "-f", "-"];
    let documents = documents.join("---\n");
    admin.kubectl_reading(&documents, &arguments).await.unwrap();
    admin.established().await.unwrap();
}

pub fn deployment(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
                    "containers": [{"name": "vllm", "image": "vllm/vllm-openai", "args": ["--model", MODEL],
                        "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
                },
            },
        },
    })
}

pub fn autoscaling(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "llmd.ai/v1alpha1", "kind": "VariantAutoscaling",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"modelID": MODEL},
    })
}

/// An HPA on CPU, as users have them.
pub fn hpa(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}],
        },
    })
}

/// A controller's `/metrics`, saying this.
pub async fn publishing(reports: Vec<VariantReport>) -> SocketAddr {
    let (publisher, published) = Publisher::new();
    let (exported, _) = Exported::new(published, Naming::default());
    let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    publisher.publish(Report {
        at: at.unwrap().as_secs_f64(),
        entries: reports
            .into_iter()
            .map(|r| Entry::Decided(Box::new(r)))
            .collect(),
        solver: None,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = exported::router(Arc::new(exported));
    tokio::spawn(async move {
        // Kept alive with the server: nothing else holds the writing end.
        let _publisher = publisher;
        axum::serve(listener, app).await.unwrap();
    });
    address
}

pub fn report(namespace: &str, name: &str) -> VariantReport {
    VariantReport {
        reasons: vec![Reason {
            code: "demand-up".into(),
            text: "more arrives".into(),
        }],
        cost_per_hour: Some(10.32),
        slo_margin: Some(0.25),
        data_age: Some(3.0),
        observed: Latencies {
            ttft: Some(0.12),
            itl: Some(0.02),
        },
        ..decided(namespace, name, 2, 3)
    }
}
