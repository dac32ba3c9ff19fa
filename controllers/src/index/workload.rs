//! Scale targets: Deployments, StatefulSets and LeaderWorkerSets, and the InferencePools that select their pods.

use std::collections::BTreeMap;

use kube::core::{DynamicObject, ObjectMeta};
use serde::Deserialize;

use super::engine::EngineArgs;
use super::intent::Intent;
use super::text::{field, writers_of_replicas};
use crate::api::foreign::{
    InferencePoolAlphaSpec, InferencePoolSpec, LeaderWorkerSetSpec, LeaderWorkerSetStatus,
};
use crate::api::quantity;

/// What is known of one scale target.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct WorkloadFacts {
    pub uid: String,
    pub intent: Intent,
    /// Replicas asked for.
    pub replicas: u32,
    /// Replicas that exist.
    pub existing: u32,
    /// Labels that its pods get.
    pub pod_labels: BTreeMap<String, String>,
    pub server: ServerFacts,
    /// Who owns `spec.replicas`.
    pub writers: Vec<String>,
}

/// What one replica is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ServerFacts {
    /// Devices of one replica.
    pub devices: u32,
    /// Name of the device resource, `nvidia.com/gpu` or a MIG profile.
    pub resource: Option<String>,
    /// Device names that its node selector and affinity ask for, as written.
    pub wanted: Vec<String>,
    /// Keys of taints that it tolerates; an empty one tolerates all.
    pub tolerated: Vec<String>,
    pub args: EngineArgs,
    /// Port that serves, where it is named.
    pub port: Option<u16>,
    pub image: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AppSpec {
    replicas: Option<i64>,
    template: TemplateText,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AppStatus {
    replicas: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TemplateText {
    metadata: ObjectMeta,
    spec: PodSpecText,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PodSpecText {
    containers: Vec<ContainerText>,
    node_selector: BTreeMap<String, String>,
    affinity: Option<AffinityText>,
    tolerations: Vec<TolerationText>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ContainerText {
    image: String,
    command: Vec<String>,
    args: Vec<String>,
    resources: ResourcesText,
    ports: Vec<PortText>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResourcesText {
    limits: BTreeMap<String, QuantityText>,
    requests: BTreeMap<String, QuantityText>,
}

/// Clients write numbers and texts alike.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum QuantityText {
    Number(f64),
    Text(String),
}

impl QuantityText {
    pub fn devices(&self) -> Option<u32> {
        match self {
            Self::Number(n) => quantity::devices(&n.to_string()),
            Self::Text(t) => quantity::devices(t),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PortText {
    name: Option<String>,
    container_port: u16,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AffinityText {
    node_affinity: Option<NodeAffinityText>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct NodeAffinityText {
    required_during_scheduling_ignored_during_execution: Option<NodeSelectorText>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct NodeSelectorText {
    node_selector_terms: Vec<TermText>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct TermText {
    match_expressions: Vec<ExpressionText>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ExpressionText {
    key: String,
    operator: String,
    values: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TolerationText {
    key: String,
}

impl WorkloadFacts {
    pub fn of_app(object: &DynamicObject) -> Result<Self, String> {
        let spec: AppSpec = field(object, "spec")?;
        let status: AppStatus = field(object, "status")?;
        Ok(Self::assemble(
            object,
            &spec.template,
            1,
            spec.replicas,
            status.replicas,
        ))
    }

    pub fn of_lws(object: &DynamicObject) -> Result<Self, String> {
        let spec: LeaderWorkerSetSpec = field(object, "spec")?;
        let status: LeaderWorkerSetStatus = field(object, "status")?;
        let group = spec.leader_worker_template;
        let template = |value: Option<serde_json::Value>| -> Result<Option<TemplateText>, String> {
            let read = value.map(TemplateText::deserialize).transpose();
            read.map_err(|e| format!("leaderWorkerTemplate: {e}"))
        };
        let worker = template(group.worker_template)?.unwrap_or_default();
        let leader = template(group.leader_template)?;
        let size = u32::try_from(group.size.unwrap_or(1)).unwrap_or(1).max(1);
        let (replicas, existing) = (spec.replicas.map(i64::from), i64::from(status.replicas));
        let mut facts = match &leader {
            None => Self::assemble(object, &worker, size, replicas, Some(existing)),
            Some(leader) => Self::assemble(object, leader, 1, replicas, Some(existing)),
        };
        if leader.is_some() {
            let others = ServerFacts::read(&worker.spec, size - 1);
            facts.server.devices += others.devices;
            facts.server.resource = facts.server.resource.or(others.resource);
        }
        Ok(facts)
    }

    fn assemble(
        object: &DynamicObject,
        template: &TemplateText,
        pods: u32,
        replicas: Option<i64>,
        existing: Option<i64>,
    ) -> Self {
        let whole = |n: Option<i64>, absent| n.map_or(absent, |n| u32::try_from(n).unwrap_or(0));
        let intent = Intent::read(&object.metadata);
        Self {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            intent: intent.or(&Intent::read(&template.metadata)),
            replicas: whole(replicas, 1),
            existing: whole(existing, 0),
            pod_labels: template.metadata.labels.clone().unwrap_or_default(),
            server: ServerFacts::read(&template.spec, pods),
            writers: writers_of_replicas(object),
        }
    }
}

impl ServerFacts {
    fn read(spec: &PodSpecText, pods: u32) -> Self {
        let mut facts = Self::default();
        let mut engine: Option<&ContainerText> = None;
        for container in &spec.containers {
            if let Some((resource, devices)) = container.devices() {
                facts.devices += devices;
                facts.resource.get_or_insert(resource);
                engine.get_or_insert(container);
            }
        }
        facts.devices = facts.devices.saturating_mul(pods);
        // Without devices (an emulator, a CPU server) the first container is the server.
        if let Some(engine) = engine.or(spec.containers.first()) {
            let words = engine.command.iter().chain(&engine.args);
            facts.args = EngineArgs::read(words.map(String::as_str));
            let stated = engine.ports.first().map(|p| p.container_port);
            facts.port = stated.or(facts.args.port);
            facts.image = engine.image.chars().take(200).collect();
        }
        facts.wanted = wanted(spec);
        facts.tolerated = spec.tolerations.iter().map(|t| t.key.clone()).collect();
        facts
    }
}

impl ContainerText {
    /// Names and numbers of its ports.
    pub fn ports(&self) -> impl Iterator<Item = (Option<&str>, u16)> {
        self.ports
            .iter()
            .map(|p| (p.name.as_deref(), p.container_port))
    }

    /// Resource name and number of the devices that the container asks for.
    pub fn devices(&self) -> Option<(String, u32)> {
        let asked = self.resources.limits.iter().chain(&self.resources.requests);
        asked
            .filter(|(name, _)| super::devices::is_device_resource(name))
            .find_map(|(name, q)| Some((name.clone(), q.devices().filter(|n| *n > 0)?)))
    }
}

/// Device names that scheduling rules ask for.
fn wanted(spec: &PodSpecText) -> Vec<String> {
    let by_selector = super::devices::product(&spec.node_selector).map(str::to_owned);
    let required = spec.affinity.as_ref().and_then(|a| {
        let required = a.node_affinity.as_ref()?;
        required
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let expressions = required
        .into_iter()
        .flat_map(|r| &r.node_selector_terms)
        .flat_map(|t| &t.match_expressions);
    let by_affinity = expressions
        .filter(|e| e.operator == "In" && super::devices::is_product_label(&e.key))
        .flat_map(|e| e.values.iter().cloned());
    by_selector.into_iter().chain(by_affinity).collect()
}

/// Labels that a pool selects its pods by, and the port that it sends requests to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PoolFacts {
    pub selector: BTreeMap<String, String>,
    pub port: Option<u16>,
    /// Name of the Service of whoever picks among its pods.
    pub picker: Option<String>,
}

impl PoolFacts {
    /// Reads either version: the old one has the labels one level higher.
    pub fn read(object: &DynamicObject) -> Result<Self, String> {
        let port = |n: i32| u16::try_from(n).ok().filter(|n| *n > 0);
        if let Ok(old) = field::<InferencePoolAlphaSpec>(object, "spec") {
            return Ok(Self {
                selector: old.selector,
                port: port(old.target_port_number),
                picker: old.extension_ref.map(|r| r.name),
            });
        }
        let spec: InferencePoolSpec = field(object, "spec")?;
        Ok(Self {
            selector: spec.selector.match_labels,
            port: spec.target_ports.first().and_then(|p| port(p.number)),
            picker: spec.endpoint_picker_ref.map(|r| r.name),
        })
    }

    /// Whether pods with these labels belong to the pool. A pool that selects by nothing selects nothing.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.selector.is_empty() && self.selector.iter().all(|(k, v)| labels.get(k) == Some(v))
    }
}
