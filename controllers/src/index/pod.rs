//! Pods: which replica they are, what state it is in, and where its metrics are.

use kube::core::{DynamicObject, ObjectMeta};
use serde::Deserialize;

use super::Key;
use super::fleet::PodState;
use super::kinds::Kind;
use super::text::{epoch, field};
use super::workload::ContainerText;
use crate::api::keys;
use crate::telemetry::targets::Endpoint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What is known of one pod.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PodFacts {
    pub uid: String,
    /// The workload that it is a replica of, where its owner tells.
    pub workload: Option<(Kind, Key)>,
    /// Follower of a group, whose leader stands for the replica.
    pub follower: bool,
    pub ip: Option<String>,
    pub endpoint: Endpoint,
    pub started_at: Option<f64>,
    pub node: Option<String>,
    pub state: PodState,
    /// Device resource and number that it holds or waits for.
    pub devices: Option<(String, u32)>,
    /// Whether some container keeps failing, with the reason.
    pub failing: Option<String>,
    /// What deleting it costs, where that is set.
    pub deletion_cost: Option<i32>,
    /// Whether it routes requests, as far as it says so itself.
    pub routes: Routes,
}

/// Whether a pod routes requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Routes {
    /// It says nothing.
    #[default]
    Unsaid,
    /// It does.
    Yes,
    /// It does for the pools that name this Service.
    As(String),
}

impl Routes {
    fn of(meta: &ObjectMeta) -> Self {
        if keys::yes(meta, keys::ROUTER) {
            return Self::Yes;
        }
        let name = keys::said(meta, keys::POOL_PICKER);
        name.map_or(Self::Unsaid, |name| Self::As(name.to_owned()))
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct SpecText {
    node_name: Option<String>,
    containers: Vec<ContainerText>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct StatusText {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Vec<ConditionText>,
    container_statuses: Vec<ContainerStatusText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConditionText {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    last_transition_time: Option<Time>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ContainerStatusText {
    state: StateText,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StateText {
    waiting: Option<WaitingText>,
    running: Option<RunningText>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RunningText {
    started_at: Option<Time>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WaitingText {
    reason: String,
}

impl PodFacts {
    /// `None` for a pod that has ended: it holds nothing and will not come back.
    pub fn read(object: &DynamicObject) -> Result<Option<Self>, String> {
        let spec: SpecText = field(object, "spec")?;
        let status: StatusText = field(object, "status")?;
        if matches!(status.phase.as_str(), "Succeeded" | "Failed") {
            return Ok(None);
        }
        let meta = &object.metadata;
        let labels = meta.labels.as_ref();
        let index = labels.and_then(|l| l.get(keys::LWS_WORKER_INDEX));
        let held: Vec<_> = spec
            .containers
            .iter()
            .filter_map(ContainerText::devices)
            .collect();
        let devices = held.first().map(|(name, _)| {
            let same = held.iter().filter(|(n, _)| n == name);
            (name.clone(), same.map(|(_, n)| n).sum())
        });
        Ok(Some(Self {
            uid: meta.uid.clone().unwrap_or_default(),
            workload: workload(meta),
            follower: index.is_some_and(|i| i != "0"),
            endpoint: endpoint(meta, &spec),
            started_at: started(&status),
            state: state(meta, &spec, &status),
            failing: failing(&status),
            deletion_cost: deletion_cost(meta),
            routes: Routes::of(meta),
            ip: status.pod_ip.filter(|ip| !ip.is_empty()),
            node: spec.node_name.filter(|n| !n.is_empty()),
            devices,
        }))
    }
}

/// A ready pod whose readiness lapses for a moment is loading as far as capacity goes, but was not just asked for.
fn state(meta: &ObjectMeta, spec: &SpecText, status: &StatusText) -> PodState {
    let asked = meta.creation_timestamp.as_ref().map_or(0.0, epoch);
    let condition = |kind: &str| status.conditions.iter().find(|c| c.kind == kind);
    if meta.deletion_timestamp.is_some() {
        return PodState::Draining;
    }
    if let Some(ready) = condition("Ready")
        && ready.status == "True"
    {
        return PodState::Ready {
            asked,
            since: ready.last_transition_time.as_ref().map_or(asked, epoch),
        };
    }
    let scheduled = spec.node_name.as_deref().is_some_and(|n| !n.is_empty());
    if scheduled {
        PodState::Starting { asked }
    } else {
        PodState::Pending { asked }
    }
}

fn endpoint(meta: &ObjectMeta, spec: &SpecText) -> Endpoint {
    let nothing = std::collections::BTreeMap::new();
    let annotations = meta.annotations.as_ref().unwrap_or(&nothing);
    let labels = meta.labels.as_ref().unwrap_or(&nothing);
    let ports: Vec<(Option<&str>, u16)> = spec
        .containers
        .iter()
        .flat_map(ContainerText::ports)
        .collect();
    let mut endpoint = Endpoint::of_pod(annotations, labels, &ports);
    if let Some(port) = keys::said(meta, keys::METRICS_PORT).and_then(|p| p.parse().ok()) {
        endpoint.ports = vec![port];
    }
    endpoint
}

fn deletion_cost(meta: &ObjectMeta) -> Option<i32> {
    let annotations = meta.annotations.as_ref()?;
    annotations.get(keys::DELETION_COST)?.parse().ok()
}

/// When the last of its containers started.
fn started(status: &StatusText) -> Option<f64> {
    let running = status.container_statuses.iter();
    running
        .filter_map(|c| c.state.running.as_ref()?.started_at.as_ref())
        .map(epoch)
        .max_by(f64::total_cmp)
}

fn failing(status: &StatusText) -> Option<String> {
    let reasons = status.container_statuses.iter();
    reasons
        .filter_map(|c| c.state.waiting.as_ref())
        .find(|w| {
            [
                "CrashLoopBackOff",
                "ImagePullBackOff",
                "ErrImagePull",
                "CreateContainerConfigError",
                "InvalidImageName",
            ]
            .contains(&w.reason.as_str())
        })
        .map(|w| w.reason.clone())
}

/// The workload behind a pod. A ReplicaSet is named after its Deployment and the hash of the pod template, so that
/// ReplicaSets need no watch of their own.
fn workload(meta: &ObjectMeta) -> Option<(Kind, Key)> {
    let namespace = meta.namespace.clone().unwrap_or_default();
    let labels = meta.labels.as_ref();
    if let Some(group) = labels.and_then(|l| l.get(keys::LWS_NAME)) {
        return Some((Kind::LeaderWorkerSet, Key::new(namespace, group)));
    }
    let owners = meta.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|o| o.controller == Some(true))?;
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let hash = labels.and_then(|l| l.get(keys::POD_TEMPLATE_HASH))?;
            let name = owner.name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
            Some((Kind::Deployment, Key::new(namespace, name)))
        }
        "StatefulSet" => Some((Kind::StatefulSet, Key::new(namespace, &owner.name))),
        _ => None,
    }
}
