//! The nodes of a test cluster: scheduler, kubelet and device plugin in one, without containers or devices.
//!
//! ```text
//!  Pod ──▶ place ──▶ bind ──▶ life of a pod: address, server, start-up, probes, drain
//!  Node ────┘ (pure: schedule, constraint)      │
//!                                               ▼
//!                                        ServerFactory: what answers at the address
//! ```
//! To the rest of the cluster it looks like the real thing. Pods ask for devices, go to nodes with free ones whose
//! taints and labels suit them, or stay pending with the condition and the words of kube-scheduler. A bound pod gets
//! an address of its own, starts, becomes ready when its readiness probe says so, is drained for as long as its
//! grace period when it is deleted, and starts again after a crash.
//!
//! kube-scheduler itself would do for the first half, at the price of a hundred megabytes more to build and of one
//! more process to wait for; what tests need of it fits into two short pure modules. kwok would do for the second
//! half, but starts no servers.
//!
//! A stock-out is a node whose devices are gone ([`Kubelet::set_devices`]), a reclaimed spot machine one that is deleted:
//! its pods go with it, at once.

mod agent;
mod constraint;
mod emulated;
mod life;
mod node;
mod probe;
mod schedule;
mod scheduler;
mod server;
mod status;

use std::thread::JoinHandle;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::{Access, ControlPlane, Error};
use agent::Command;
pub use emulated::EmulatedServers;
pub use node::{Effect, NodeSpec};
pub use server::{Assignment, BoxFuture, NoServers, Server, ServerFactory};

/// The annotation of a pod that says how long its start-up takes, in seconds: from running to ready.
pub const STARTUP_ANNOTATION: &str = "testbed/startup-seconds";

/// All nodes of a cluster. When it is dropped its servers are gone; its nodes and pods stay, as after a power cut.
#[derive(Debug)]
pub struct Kubelet {
    admin: Access,
    commands: Option<mpsc::UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Kubelet {
    /// Starts it with these nodes, on threads of its own, so that tests with a runtime each can share it.
    ///
    /// # Errors
    /// [`Error::Kubernetes`] when the nodes cannot be made.
    pub async fn start(
        cluster: &ControlPlane,
        nodes: &[NodeSpec],
        servers: impl ServerFactory,
    ) -> Result<Self, Error> {
        let (commands, orders) = mpsc::unbounded_channel();
        let (started, ready) = oneshot::channel();
        let admin = cluster.admin().clone();
        let agent = agent::Start {
            access: admin.clone(),
            sandbox: cluster.sandbox().clone(),
            servers: Box::new(servers),
        };
        let thread = std::thread::Builder::new()
            .name("kubelet".to_owned())
            .spawn(move || agent.run(orders, started))
            .map_err(Error::system("cannot start a thread"))?;
        let kubelet = Self {
            admin,
            commands: Some(commands),
            thread: Some(thread),
        };
        ready.await.unwrap_or_else(|_| {
            Err(Error::Answer {
                what: "kubelet".to_owned(),
                answer: "ended".to_owned(),
            })
        })?;
        for node in nodes {
            kubelet.add_node(node).await?;
        }
        Ok(kubelet)
    }

    /// Adds a node.
    ///
    /// # Errors
    /// [`Error::Kubernetes`], as when there is one of this name.
    pub async fn add_node(&self, node: &NodeSpec) -> Result<(), Error> {
        let nodes = self.nodes().await?;
        nodes
            .create(&PostParams::default(), &node.object())
            .await
            .map(drop)
            .map_err(Error::kubernetes(format!("cannot make node {}", node.name)))
    }

    /// Takes a node away, with all its pods, as when a spot machine is reclaimed.
    ///
    /// # Errors
    /// [`Error::Kubernetes`].
    pub async fn remove_node(&self, name: &str) -> Result<(), Error> {
        self.nodes()
            .await?
            .delete(name, &DeleteParams::default())
            .await
            .map(drop)
            .map_err(Error::kubernetes(format!("cannot delete node {name}")))
    }

    /// Makes this many devices of a node allocatable: fewer for a stock-out, more for its end. Pods that run stay.
    ///
    /// # Errors
    /// [`Error::Kubernetes`].
    pub async fn set_devices(&self, node: &str, resource: &str, count: u32) -> Result<(), Error> {
        let status = json!({"status": {"allocatable": {resource: count.to_string()}}});
        self.nodes()
            .await?
            .patch_status(node, &PatchParams::default(), &Patch::Merge(status))
            .await
            .map(drop)
            .map_err(Error::kubernetes(format!("cannot change node {node}")))
    }

    /// Has the server of a pod die, as a process does that runs out of memory; it is started again. Returns whether
    /// there was one.
    pub async fn crash(&self, namespace: &str, pod: &str) -> bool {
        let (reply, answer) = oneshot::channel();
        let command = Command::Crash {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            reply,
        };
        let sent = self.commands.as_ref().map(|c| c.send(command));
        matches!(sent, Some(Ok(()))) && answer.await.unwrap_or(false)
    }

    async fn nodes(&self) -> Result<Api<Node>, Error> {
        Ok(Api::all(self.admin.client().await?))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the kubelet's thread panicked");
        }
    }
}
