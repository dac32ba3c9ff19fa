//! Nodes: which devices they have, and whether pods may go there.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde::Deserialize;

use super::devices;
use super::text::field;
use super::workload::QuantityText;

/// What is known of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct NodeFacts {
    /// Device, as the node's labels name it.
    pub product: Option<String>,
    /// Devices per resource that pods can get.
    pub devices: BTreeMap<String, u32>,
    /// Keys of taints that keep pods away, other than those that mark nodes with devices.
    pub taints: Vec<String>,
    /// Whether pods may be placed there at all.
    pub usable: bool,
    /// Whether nodes like this one are made on demand.
    pub elastic: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SpecText {
    unschedulable: bool,
    taints: Vec<TaintText>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TaintText {
    key: String,
    effect: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StatusText {
    allocatable: BTreeMap<String, QuantityText>,
    conditions: Vec<ConditionText>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConditionText {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Labels of node groups that an autoscaler makes and removes.
const ELASTIC: [&str; 6] = [
    "karpenter.sh/nodepool",
    "karpenter.sh/provisioner-name",
    "eks.amazonaws.com/nodegroup",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
    "cluster-autoscaler.kubernetes.io/node-group",
];

impl NodeFacts {
    pub fn read(object: &DynamicObject) -> Result<Self, String> {
        let spec: SpecText = field(object, "spec")?;
        let status: StatusText = field(object, "status")?;
        let labels = object.metadata.labels.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|c| c.kind == "Ready");
        let keeps_away = |t: &&TaintText| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute");
        Ok(Self {
            product: devices::product(&labels).map(str::to_owned),
            devices: status
                .allocatable
                .iter()
                .filter(|(name, _)| devices::is_device_resource(name))
                .filter_map(|(name, q)| Some((name.clone(), q.devices().filter(|n| *n > 0)?)))
                .collect(),
            taints: spec
                .taints
                .iter()
                .filter(keeps_away)
                .filter(|t| !devices::is_device_resource(&t.key))
                .map(|t| t.key.clone())
                .collect(),
            usable: !spec.unschedulable && ready.is_none_or(|c| c.status == "True"),
            elastic: ELASTIC.iter().any(|key| labels.contains_key(*key)),
        })
    }
}
