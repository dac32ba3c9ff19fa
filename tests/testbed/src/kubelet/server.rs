//! What answers at a pod's address.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Node, Pod};

use super::STARTUP_ANNOTATION;

/// A future that can be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A pod and where it is to run.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its node, by whose labels the accelerator is known.
    pub node: Arc<Node>,
    /// The pod's own address; all its ports are free.
    pub address: Ipv4Addr,
}

impl Assignment {
    /// How long the start-up takes, as the annotation [`STARTUP_ANNOTATION`] says; zero where it does not.
    pub fn startup(&self) -> Duration {
        let annotations = self.pod.metadata.annotations.as_ref();
        annotations
            .and_then(|a| a.get(STARTUP_ANNOTATION)?.parse().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or_default()
    }

    /// The first container: the model server. A pod always has one.
    pub fn container(&self) -> Option<&Container> {
        self.pod.spec.as_ref()?.containers.first()
    }

    /// The port of the model server: the first one its container names, else vLLM's 8000.
    pub fn port(&self) -> u16 {
        let ports = self.container().and_then(|c| c.ports.as_ref());
        ports
            .and_then(|ports| u16::try_from(ports.first()?.container_port).ok())
            .unwrap_or(8000)
    }
}

/// Starts the servers of pods.
pub trait ServerFactory: Send + Sync + 'static {
    /// Starts a server for the pod; it listens when the future is done. The words of an error become the message
    /// of the pod's container, which is tried again.
    fn start(&self, assignment: Assignment) -> BoxFuture<'_, Result<Box<dyn Server>, String>>;
}

/// A server that runs. When it is dropped nothing of it is left.
pub trait Server: Send + Sync {
    /// Takes no new requests, and is done when those in flight are. Not waited for after the pod's grace period.
    fn drain(&self) -> BoxFuture<'_, ()>;

    /// Ends at once; done when the address is free.
    fn kill(&self) -> BoxFuture<'_, ()>;
}

/// For tests that only count pods: they run, and nothing listens at their addresses.
#[derive(Debug, Clone, Copy)]
pub struct NoServers;

impl ServerFactory for NoServers {
    fn start(&self, _assignment: Assignment) -> BoxFuture<'_, Result<Box<dyn Server>, String>> {
        Box::pin(async { Ok(Box::new(NoServers) as Box<dyn Server>) })
    }
}

impl Server for NoServers {
    fn drain(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
