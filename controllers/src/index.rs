//! The watch index: what the cluster's objects say, kept as small facts, and the fleet that follows from them.
//!
//! ```text
//! watches ─► apply / delete / reset ─► facts per object ─► fleet() ─► one view per variant, device stock, findings
//!             one object at a time      parsed once         whole, once a cycle
//! ```
//! Synchronous and pure: no clock, no client, no lock. An object is taken apart once, when it arrives, and dropped; what
//! is kept of 50,000 pods is some 300 bytes each. Relations between objects (who scales what, whose pods these are) are
//! *not* kept: they are worked out anew for each cycle, in time linear in the number of objects. That costs milliseconds
//! and makes the order of arrival irrelevant by construction, where incremental cross-references would have to be proven
//! right for every order.
//!
//! Objects are untrusted. One that cannot be read becomes a finding about itself and never more.

mod assembly;
pub mod config;
pub mod devices;
pub mod engine;
pub mod fleet;
pub mod intent;
pub mod kinds;
mod node;
mod ownership;
mod pod;
mod scaler;
mod stock;
mod text;
mod workload;

use std::collections::BTreeMap;

use kube::core::DynamicObject;

pub use fleet::{Finding, Fleet, VariantView};
pub use kinds::Kind;

use config::ConfigFacts;
use node::NodeFacts;
use pod::PodFacts;
use scaler::{AutoscalingFacts, ScalerFacts};
use workload::{PoolFacts, WorkloadFacts};

/// Namespace (empty for cluster-wide objects) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace; empty for cluster-wide objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The key of these two.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object.
    #[must_use]
    pub fn of(object: &DynamicObject) -> Self {
        Self::new(
            object.metadata.namespace.clone().unwrap_or_default(),
            object.metadata.name.clone().unwrap_or_default(),
        )
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Facts about one kind of object: what was read, or why it could not be.
type Facts<T> = BTreeMap<Key, Result<T, String>>;

/// What the cluster's objects say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    autoscalings: Facts<AutoscalingFacts>,
    scalers: BTreeMap<Kind, Facts<ScalerFacts>>,
    workloads: BTreeMap<Kind, Facts<WorkloadFacts>>,
    pools: BTreeMap<Kind, Facts<PoolFacts>>,
    pods: Facts<PodFacts>,
    nodes: Facts<NodeFacts>,
    config: BTreeMap<Kind, Facts<ConfigFacts>>,
}

impl Index {
    /// Takes in an object that was added or changed.
    pub fn apply(&mut self, kind: Kind, object: &DynamicObject) {
        let key = Key::of(object);
        match kind {
            Kind::VariantAutoscaling => {
                self.autoscalings
                    .insert(key, AutoscalingFacts::read(object));
            }
            Kind::HorizontalPodAutoscaler => self.scaler(kind, key, ScalerFacts::of_hpa(object)),
            Kind::ScaledObject => self.scaler(kind, key, ScalerFacts::of_keda(object)),
            Kind::Deployment | Kind::StatefulSet => {
                self.workload(kind, key, WorkloadFacts::of_app(object));
            }
            Kind::LeaderWorkerSet => self.workload(kind, key, WorkloadFacts::of_lws(object)),
            Kind::InferencePool | Kind::InferencePoolAlpha => {
                let facts = PoolFacts::read(object);
                self.pools.entry(kind).or_default().insert(key, facts);
            }
            Kind::Pod => match PodFacts::read(object) {
                Ok(None) => drop(self.pods.remove(&key)),
                Ok(Some(facts)) => drop(self.pods.insert(key, Ok(facts))),
                Err(why) => drop(self.pods.insert(key, Err(why))),
            },
            Kind::Node => {
                self.nodes.insert(key, NodeFacts::read(object));
            }
            Kind::ConfigMap
            | Kind::Namespace
            | Kind::ResourceQuota
            | Kind::ServiceClass
            | Kind::Accelerator
            | Kind::FleetPolicy => self.configure(kind, key, object),
        }
    }

    /// Forgets an object.
    pub fn delete(&mut self, kind: Kind, key: &Key) {
        match kind {
            Kind::VariantAutoscaling => drop(self.autoscalings.remove(key)),
            Kind::Pod => drop(self.pods.remove(key)),
            Kind::Node => drop(self.nodes.remove(key)),
            Kind::HorizontalPodAutoscaler | Kind::ScaledObject => {
                forget(&mut self.scalers, kind, key);
            }
            Kind::Deployment | Kind::StatefulSet | Kind::LeaderWorkerSet => {
                forget(&mut self.workloads, kind, key);
            }
            Kind::InferencePool | Kind::InferencePoolAlpha => forget(&mut self.pools, kind, key),
            Kind::ConfigMap
            | Kind::Namespace
            | Kind::ResourceQuota
            | Kind::ServiceClass
            | Kind::Accelerator
            | Kind::FleetPolicy => forget(&mut self.config, kind, key),
        }
    }

    /// Replaces everything known of a kind by these objects.
    pub fn reset<'a>(&mut self, kind: Kind, objects: impl IntoIterator<Item = &'a DynamicObject>) {
        self.replace(kind, None, objects);
    }

    /// Replaces everything known of a kind in a namespace (everywhere, if `None`) by these objects.
    pub fn replace<'a>(
        &mut self,
        kind: Kind,
        namespace: Option<&str>,
        objects: impl IntoIterator<Item = &'a DynamicObject>,
    ) {
        let keep = |key: &Key| namespace.is_some_and(|n| key.namespace != n);
        match kind {
            Kind::VariantAutoscaling => self.autoscalings.retain(|k, _| keep(k)),
            Kind::Pod => self.pods.retain(|k, _| keep(k)),
            Kind::Node => self.nodes.retain(|k, _| keep(k)),
            _ => {
                retain(&mut self.scalers, kind, keep);
                retain(&mut self.workloads, kind, keep);
                retain(&mut self.pools, kind, keep);
                retain(&mut self.config, kind, keep);
            }
        }
        for object in objects {
            self.apply(kind, object);
        }
    }

    fn scaler(&mut self, kind: Kind, key: Key, facts: Result<ScalerFacts, String>) {
        self.scalers.entry(kind).or_default().insert(key, facts);
    }

    fn workload(&mut self, kind: Kind, key: Key, facts: Result<WorkloadFacts, String>) {
        self.workloads.entry(kind).or_default().insert(key, facts);
    }

    /// ConfigMaps that mean nothing here are not kept.
    fn configure(&mut self, kind: Kind, key: Key, object: &DynamicObject) {
        match ConfigFacts::read(kind, object) {
            Some(facts) => drop(self.config.entry(kind).or_default().insert(key, facts)),
            None => forget(&mut self.config, kind, &key),
        }
    }
}

/// Removes an entry, and the map of its kind with the last one: two indices of the same objects are equal.
fn forget<T>(facts: &mut BTreeMap<Kind, Facts<T>>, kind: Kind, key: &Key) {
    if let Some(of_kind) = facts.get_mut(&kind) {
        of_kind.remove(key);
        if of_kind.is_empty() {
            facts.remove(&kind);
        }
    }
}

fn retain<T>(facts: &mut BTreeMap<Kind, Facts<T>>, kind: Kind, keep: impl Fn(&Key) -> bool) {
    if let Some(of_kind) = facts.get_mut(&kind) {
        of_kind.retain(|k, _| keep(k));
        if of_kind.is_empty() {
            facts.remove(&kind);
        }
    }
}
