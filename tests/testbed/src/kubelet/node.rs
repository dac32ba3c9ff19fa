//! What a node has to offer, as an object of the API.

use k8s_openapi::api::core::v1::Node;
use serde_json::{Map, Value, json};

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// None is placed there.
    NoSchedule,
    /// The same here: pods that are there already stay.
    NoExecute,
}

impl Effect {
    fn name(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// A node to be made.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    labels: Map<String, Value>,
    resources: Map<String, Value>,
    taints: Vec<Value>,
}

impl NodeSpec {
    /// A node with room for 250 pods, and no devices.
    pub fn new(name: &str) -> Self {
        let text = |value: &str| Value::from(value);
        Self {
            name: name.to_owned(),
            labels: Map::from_iter([
                ("kubernetes.io/hostname".to_owned(), text(name)),
                ("kubernetes.io/arch".to_owned(), text("amd64")),
                ("kubernetes.io/os".to_owned(), text("linux")),
            ]),
            resources: Map::from_iter([
                ("cpu".to_owned(), text("192")),
                ("memory".to_owned(), text("2Ti")),
                ("pods".to_owned(), text("250")),
            ]),
            taints: Vec::new(),
        }
    }

    /// A node as NVIDIA's operator labels it: the product (`NVIDIA-H100-80GB-HBM3`) and how many.
    pub fn with_gpus(name: &str, product: &str, count: u32) -> Self {
        Self::new(name)
            .label("nvidia.com/gpu.present", "true")
            .label("nvidia.com/gpu.product", product)
            .label("nvidia.com/gpu.count", &count.to_string())
            .devices("nvidia.com/gpu", count)
    }

    /// With this label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.into());
        self
    }

    /// With so many devices of this resource.
    pub fn devices(mut self, resource: &str, count: u32) -> Self {
        let count = count.to_string().into();
        self.resources.insert(resource.to_owned(), count);
        self
    }

    /// With this taint.
    pub fn taint(mut self, key: &str, value: &str, effect: Effect) -> Self {
        let taint = json!({"key": key, "value": value, "effect": effect.name()});
        self.taints.push(taint);
        self
    }

    pub(super) fn object(&self) -> Node {
        let node = json!({
            "metadata": {"name": self.name, "labels": self.labels},
            "spec": {"taints": self.taints},
            "status": {
                "capacity": self.resources,
                "allocatable": self.resources,
                "conditions": [{
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "kubelet is posting ready status",
                }],
                "nodeInfo": {
                    "architecture": "amd64",
                    "bootID": "",
                    "containerRuntimeVersion": "testbed://1",
                    "kernelVersion": "",
                    "kubeProxyVersion": "",
                    "kubeletVersion": "v1.34.2",
                    "machineID": self.name,
                    "operatingSystem": "linux",
                    "osImage": "testbed",
                    "systemUUID": self.name,
                },
            },
        });
        serde_json::from_value(node).expect("the fields are a node's")
    }
}
