//! What kube-scheduler does: binds pods to nodes, and tells those that must wait why.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::constraint::waits_for_a_node;
use super::life::{now, refused};
use super::schedule::{Devices, Seat, place, requested};
use super::status::unschedulable;

/// Remembers what it has done until the watch shows it, so that no device is given twice.
pub struct Scheduler {
    client: Client,
    /// The nodes of pods that were bound, by uid.
    bound: HashMap<String, String>,
}

impl Scheduler {
    /// One that has bound nothing yet.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            bound: HashMap::new(),
        }
    }

    /// Places pods without a node: the important ones first, then those that have waited longest.
    pub async fn schedule(&mut self, pods: &[Arc<Pod>], nodes: &[Arc<Node>]) {
        let waits: HashSet<&str> = pods
            .iter()
            .filter(|pod| node_name(pod).is_none())
            .map(|pod| uid(pod))
            .collect();
        self.bound.retain(|uid, _| waits.contains(uid.as_str()));
        let mut waiting: Vec<&Arc<Pod>> = pods
            .iter()
            .filter(|pod| waits_for_a_node(pod) && !self.bound.contains_key(uid(pod)))
            .collect();
        waiting.sort_by_key(|pod| {
            let priority = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
            let since = pod.metadata.creation_timestamp.clone();
            (
                std::cmp::Reverse(priority),
                since,
                pod.metadata.name.clone(),
            )
        });
        for pod in waiting {
            match place(pod, &self.seats(pods, nodes)) {
                Ok(node) => {
                    if self.bind(pod, &node).await {
                        self.bound.insert(uid(pod).to_owned(), node);
                    }
                }
                Err(message) => self.complain(pod, &message).await,
            }
        }
    }

    fn seats<'a>(&self, pods: &[Arc<Pod>], nodes: &'a [Arc<Node>]) -> Vec<Seat<'a>> {
        let mut taken: HashMap<&str, Devices> = HashMap::new();
        for pod in pods.iter().filter(|pod| !is_over(pod)) {
            let bound = self.bound.get(uid(pod)).map(String::as_str);
            let Some(node) = node_name(pod).or(bound) else {
                continue;
            };
            let devices = taken.entry(node).or_default();
            for (resource, count) in requested(pod) {
                *devices.entry(resource).or_default() += count;
            }
        }
        let seat = |node: &'a Arc<Node>| Seat {
            node: node.as_ref(),
            taken: node
                .metadata
                .name
                .as_deref()
                .and_then(|name| taken.remove(name))
                .unwrap_or_default(),
        };
        nodes.iter().map(seat).collect()
    }

    /// Whether the pod has a node now, or is not in need of one any more.
    async fn bind(&self, pod: &Pod, node: &str) -> bool {
        let (pods, name) = self.pods(pod);
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "uid": pod.metadata.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let parameters = PostParams::default();
        match pods
            .create_subresource::<_, Value>("binding", name, &parameters, &binding)
            .await
        {
            Ok(_) => true,
            Err(error) => refused(&error),
        }
    }

    async fn complain(&self, pod: &Pod, message: &str) {
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
        let said = conditions
            .into_iter()
            .flatten()
            .any(|c| c.type_ == "PodScheduled" && c.message.as_deref() == Some(message));
        if said {
            return;
        }
        let (pods, name) = self.pods(pod);
        let patch = Patch::Strategic(unschedulable(message, now()));
        // If it is not heard, the next tick says it again.
        pods.patch_status(name, &PatchParams::default(), &patch)
            .await
            .ok();
    }

    fn pods<'a>(&self, pod: &'a Pod) -> (Api<Pod>, &'a str) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        (Api::namespaced(self.client.clone(), namespace), name)
    }
}

/// The identity of a pod: names come again.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The node that a pod is bound to.
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Whether the pod has done its work, or failed for good, and holds no devices any more.
pub fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
