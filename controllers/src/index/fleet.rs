//! The fleet as one cycle sees it: variants with everything that was said about them, device stock, classes, findings.

use std::collections::BTreeMap;

use wva_models::accelerator::Accelerator;
use wva_models::catalogue::Catalogue;
use wva_models::service_class::ServiceClass;
use wva_models::variant::Role;

use super::engine::EngineArgs;
use super::{Key, Kind};
use crate::api::imports::ZeroRule;
use crate::api::policy::FleetPolicySpec;
use crate::api::status::VariantAutoscalingStatus;
use crate::telemetry::targets::{Endpoint, RouterTarget};

/// What the index starts from: the configuration file's part of the truth.
#[derive(Debug, Clone)]
pub struct Base {
    /// Accelerators, models and classes: built in and from the file.
    pub catalogue: Catalogue,
    /// Only objects of this installation, where set.
    pub instance: Option<String>,
    /// Accelerator of variants that name none and run nowhere yet.
    pub default_accelerator: Option<String>,
    /// Class of models that no class applies to; the file's first, or a built-in one, where unset.
    pub default_class: Option<String>,
    /// Where device stock comes from.
    pub stock: StockSource,
}

/// Where device stock comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StockSource {
    /// The nodes', unless nodes are made on demand.
    #[default]
    Auto,
    /// The nodes' in any case.
    Nodes,
    /// Unlimited: what cannot be had shows as pending pods.
    Unlimited,
}

/// Something about the configuration that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it is about: `Kind namespace/name`.
    pub subject: String,
    /// Stable code in UpperCamelCase, as condition reasons are.
    pub code: &'static str,
    /// What is wrong and what was done about it.
    pub text: String,
}

impl Finding {
    /// The object that it is about; `None` where that is no object of a kind that is watched.
    #[must_use]
    pub fn object(&self) -> Option<(Kind, Key)> {
        let (word, name) = self.subject.split_once(' ')?;
        let kind = Kind::ALL.into_iter().find(|k| k.names().1 == word)?;
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        Some((kind, Key::new(namespace, name)))
    }
}

/// The fleet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fleet {
    /// Variants by namespace and name.
    pub variants: Vec<VariantView>,
    /// The catalogue's accelerators, with prices of the cluster and slices in use.
    pub accelerators: Vec<Accelerator>,
    /// Every class that some model has.
    pub classes: Vec<ServiceClass>,
    /// Classes of each model, the main one first.
    pub model_classes: BTreeMap<ModelKey, Vec<String>>,
    /// Devices that the fleet may use, per accelerator; absent means unlimited.
    pub stock: BTreeMap<String, u32>,
    /// Devices that the fleet may use, per namespace and accelerator resource.
    pub quotas: Vec<QuotaView>,
    /// Pods that route requests to the variants.
    pub routers: Vec<RouterTarget>,
    /// Limits of the fleet.
    pub policy: FleetPolicySpec,
    /// What is wrong with objects that belong to no variant.
    pub findings: Vec<Finding>,
}

/// A model as a service: what its variants share is their traffic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelKey {
    /// Namespace of its variants.
    pub namespace: String,
    /// Model id, as the servers know it.
    pub id: String,
}

impl std::fmt::Display for ModelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.id)
    }
}

/// Devices that a namespace may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaView {
    /// Namespace.
    pub namespace: String,
    /// Resource, as `nvidia.com/gpu`.
    pub resource: String,
    /// Devices left to the variants: the quota less what other pods hold.
    pub devices: u32,
}

/// How a variant came to be one.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// A `VariantAutoscaling`.
    Autoscaling {
        /// Generation of the object.
        generation: Option<i64>,
        /// Resource version that it was seen at.
        version: Option<String>,
        /// Its status as last seen.
        status: Box<VariantAutoscalingStatus>,
    },
    /// A label or annotation on the user's HPA.
    Hpa,
    /// A label or annotation on the user's ScaledObject.
    ScaledObject,
    /// A label or annotation on the workload itself.
    Workload,
    /// Found behind an InferencePool: advised on.
    Discovered {
        /// Name of the pool.
        pool: String,
    },
}

/// The object that events and status are about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// API group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// How a decision reaches the scale target.
#[derive(Debug, Clone, PartialEq)]
pub enum Path {
    /// The user's HPA reads what is published.
    Hpa {
        /// Name of the HPA.
        name: String,
        /// Greatest tolerance that it may apply; absent where the fields were kept as 0.
        tolerance: Option<f64>,
    },
    /// KEDA reads what is published.
    Keda {
        /// Name of the ScaledObject.
        name: String,
    },
    /// Nothing else scales it: `/scale` is patched.
    Scale,
    /// Advice only.
    Advice {
        /// Stable code in UpperCamelCase.
        code: &'static str,
        /// Why.
        text: String,
    },
}

/// State of a pod, with the times that it took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PodState {
    /// Serves.
    Ready {
        /// When it was asked for, seconds since the Unix epoch.
        asked: f64,
        /// Since when it serves.
        since: f64,
    },
    /// Has a node and loads.
    Starting {
        /// When it was asked for.
        asked: f64,
    },
    /// Waits for a node.
    Pending {
        /// When it was asked for.
        asked: f64,
    },
    /// Finishes and leaves.
    Draining,
}

/// One replica's (leading) pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodView {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Address; absent before it has one.
    pub ip: Option<String>,
    /// Where its metrics are.
    pub endpoint: Endpoint,
    /// When its containers started, seconds since the Unix epoch.
    pub started_at: Option<f64>,
    /// Why some container of it keeps failing.
    pub failing: Option<String>,
    /// What deleting it costs, where that is set.
    pub deletion_cost: Option<i32>,
    /// State.
    pub state: PodState,
}

/// Parameters of a linear latency law that were measured elsewhere, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// Gap between tokens of a batch of none.
    pub alpha_s: f64,
    /// What each sequence of the batch adds to the gap.
    pub beta_s: f64,
    /// Prefill without tokens.
    pub gamma_s: f64,
    /// What each token adds to the prefill.
    pub delta_s: f64,
}

/// One variant.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantView {
    /// Namespace and name: what metrics and commands call it.
    pub key: Key,
    /// How it came to be one.
    pub way: Way,
    /// The object that events are about.
    pub subject: Subject,
    /// What is scaled.
    pub target: Subject,
    /// Whether the target exists.
    pub found: bool,
    /// Model; `None` where nothing says which.
    pub model: Option<ModelKey>,
    /// Accelerator of the fleet's list; `None` where nothing says which.
    pub accelerator: Option<String>,
    /// Devices of one replica.
    pub devices: u32,
    /// Name of the device resource.
    pub resource: Option<String>,
    /// Part of serving.
    pub role: Role,
    /// What the engine was started with.
    pub args: EngineArgs,
    /// Serving engine: `vllm`, `sglang`, `trtllm`, `triton`.
    pub engine: String,
    /// Largest batch that old objects state.
    pub max_batch: Option<u32>,
    /// Tokens of KV cache of one replica, where stated.
    pub kv_cache_tokens: Option<u32>,
    /// Cost per replica as stated; the old default of 10 counts as not stated.
    pub cost: Option<f64>,
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: Option<u32>,
    /// Whether, and after how long, it may go to zero.
    pub zero: ZeroRule,
    /// Measured law of old objects.
    pub prior: Option<Prior>,
    /// Start-up time that is assumed before one was seen, seconds.
    pub start_up_s: Option<f64>,
    /// How decisions reach the target.
    pub path: Path,
    /// Replicas stay where they are.
    pub paused: bool,
    /// Replicas asked for now.
    pub desired: u32,
    /// Replicas that exist.
    pub existing: u32,
    /// Replicas.
    pub pods: Vec<PodView>,
    /// What was guessed or ignored.
    pub findings: Vec<Finding>,
}

impl VariantView {
    /// `namespace/name`, the variant's name inside the optimizer.
    #[must_use]
    pub fn name(&self) -> String {
        self.key.to_string()
    }

    /// Whether decisions are carried out.
    #[must_use]
    pub fn in_control(&self) -> bool {
        !self.paused && !matches!(self.path, Path::Advice { .. })
    }

    /// Pods that serve.
    #[must_use]
    pub fn ready(&self) -> u32 {
        let ready = |p: &&PodView| matches!(p.state, PodState::Ready { .. });
        u32::try_from(self.pods.iter().filter(ready).count()).unwrap_or(u32::MAX)
    }
}
