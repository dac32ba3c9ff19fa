//! Deployments of model servers that do nothing but answer, and how to ask after their pods.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use wva_testbed::kubelet::{Assignment, BoxFuture, STARTUP_ANNOTATION, Server, ServerFactory};
use wva_testbed::{Error, eventually};

use crate::cluster::Cluster;

/// Servers that answer `/health`, and `/slow`, whose end comes a while after they are told to go.
pub struct PlainServers;

struct Running {
    task: AbortHandle,
    drain: watch::Sender<bool>,
}

impl ServerFactory for PlainServers {
    fn start(&self, assignment: Assignment) -> BoxFuture<'_, Result<Box<dyn Server>, String>> {
        Box::pin(async move {
            let address = (assignment.address, assignment.port());
            let listener = tokio::net::TcpListener::bind(address).await;
            let listener = listener.map_err(|e| e.to_string())?;
            let (drain, mut drained) = watch::channel(false);
            let told = drained.clone();
            let slow = || async {
                let rest = async move |mut told: watch::Receiver<bool>| {
                    told.wait_for(|told| *told).await.ok();
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    Ok::<_, Infallible>("but here")
                };
                let first = stream::iter([Ok("late, ")]);
                Body::from_stream(first.chain(stream::once(rest(told))))
            };
            let router = Router::new()
                .route("/health", get(|| async { "ok" }))
                .route("/slow", get(slow));
            let server = axum::serve(listener, router).with_graceful_shutdown(async move {
                drained.wait_for(|drain| *drain).await.ok();
            });
            let task = tokio::spawn(server.into_future()).abort_handle();
            Ok(Box::new(Running { task, drain }) as Box<dyn Server>)
        })
    }
}

impl Server for Running {
    fn drain(&self) -> BoxFuture<'_, ()> {
        self.drain.send_replace(true);
        self.kept_busy()
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        self.task.abort();
        self.kept_busy()
    }
}

impl Running {
    fn kept_busy(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            while !self.task.is_finished() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    }
}

/// A Deployment in a namespace.
pub struct Fleet {
    pub client: Client,
    pub namespace: String,
    pub name: &'static str,
}

impl Fleet {
    /// In a namespace of its own.
    pub async fn new(cluster: &Cluster, name: &'static str) -> Self {
        let client = cluster.plane.admin().client().await;
        let namespace = cluster.plane.namespace(name).await;
        Self {
            client: client.expect("a client"),
            namespace: namespace.expect("a namespace"),
            name,
        }
    }

    /// Makes it: replicas with this many devices each, ready after this many seconds.
    pub async fn create(&self, replicas: u32, gpus: u32, startup: f64) {
        let labels = json!({"app": self.name});
        let deployment = json!({
            "metadata": {"name": self.name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {
                        "labels": labels,
                        "annotations": {STARTUP_ANNOTATION: startup.to_string()},
                    },
                    "spec": {"containers": [{
                        "name": "server",
                        "image": "none",
                        "ports": [{"containerPort": 8000, "name": "http"}],
                        "resources": {"limits": {"nvidia.com/gpu": gpus.to_string()}},
                        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
                    }]},
                },
            },
        });
        let deployment: Deployment = serde_json::from_value(deployment).expect("a Deployment");
        self.deployments()
            .create(&PostParams::default(), &deployment)
            .await
            .expect("the API server takes it");
    }

    /// Changes it.
    pub async fn patch(&self, patch: Value) {
        self.deployments()
            .patch(self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("the API server takes it");
    }

    /// Its pods.
    pub async fn pods(&self) -> Vec<Pod> {
        let list = ListParams::default().labels(&format!("app={}", self.name));
        let pods = self.pod_api().list(&list).await;
        pods.expect("pods are listed").items
    }

    /// Waits until the Deployment counts this many ready replicas, and no others.
    pub async fn has_ready(&self, count: i32) -> Result<(), Error> {
        let what = format!("{count} ready replicas of {}", self.name);
        eventually(&what, async || {
            let deployment = self.deployments().get_status(self.name).await;
            let deployment = deployment.map_err(|e| e.to_string())?;
            let status = deployment.status.unwrap_or_default();
            let counts = (
                status.replicas.unwrap_or(0),
                status.ready_replicas.unwrap_or(0),
            );
            let reached = counts == (count, count);
            reached.then_some(()).ok_or_else(|| format!("{counts:?}"))
        })
        .await
    }

    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// The status of one of a pod's conditions, with its message.
pub fn condition(pod: &Pod, kind: &str) -> Option<(String, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|c| c.type_ == kind)?;
    let message = condition.message.clone().unwrap_or_default();
    Some((condition.status.clone(), message))
}
