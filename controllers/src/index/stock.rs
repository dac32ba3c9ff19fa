//! Devices that the fleet may use: what nodes have, less what others hold, less what taints keep away, within quotas.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use wva_models::catalogue::Catalogue;

use super::config::ConfigFacts;
use super::devices::{self, Device};
use super::fleet::{QuotaView, StockSource, VariantView};
use super::kinds::Kind;
use super::node::NodeFacts;
use super::{Index, Key};

/// Devices in use, by node and resource.
type Held<'a> = BTreeMap<(&'a str, &'a str), u32>;

/// What variants have to do with device stock.
pub(super) struct Claims<'a> {
    /// Workloads that are variants.
    pub own: HashSet<(Kind, Key)>,
    /// Taint keys that some variant tolerates.
    pub tolerated: BTreeSet<&'a str>,
}

impl Index {
    /// Devices per accelerator; accelerators that no node shows are left out.
    pub(super) fn stock(
        &self,
        catalogue: &Catalogue,
        source: StockSource,
        claims: &Claims<'_>,
    ) -> BTreeMap<String, u32> {
        let nodes = || {
            self.nodes
                .iter()
                .filter_map(|(k, n)| Some((k, n.as_ref().ok()?)))
        };
        let with_devices = || nodes().filter(|(_, n)| !n.devices.is_empty());
        let unlimited = match source {
            StockSource::Unlimited => true,
            StockSource::Nodes => false,
            StockSource::Auto => with_devices().any(|(_, n)| n.elastic),
        };
        if unlimited {
            return BTreeMap::new();
        }
        let (others, own) = self.held(claims);
        let mut stock = BTreeMap::new();
        for (key, node) in with_devices() {
            for (resource, &devices) in &node.devices {
                let Some(name) = accelerator(catalogue, node, resource) else {
                    continue;
                };
                let entry = stock.entry(name).or_insert(0_u32);
                let place = (key.name.as_str(), resource.as_str());
                let of = |held: &Held<'_>| held.get(&place).copied().unwrap_or(0);
                *entry += if node.usable && claims.reaches(node) {
                    devices.saturating_sub(of(&others))
                } else {
                    // No room for more, but what runs there runs: a node that is being drained, or that was not heard
                    // of for a minute, is no reason to scale down.
                    of(&own).min(devices)
                };
            }
        }
        stock
    }

    /// Devices that pods hold, by node and resource: those of others, and those of variants.
    fn held<'a>(&'a self, claims: &Claims<'_>) -> (Held<'a>, Held<'a>) {
        let (mut others, mut own) = (Held::new(), Held::new());
        for pod in self.pods.values().filter_map(|p| p.as_ref().ok()) {
            if let (Some(node), Some((resource, devices))) = (&pod.node, &pod.devices) {
                let ours = pod
                    .workload
                    .as_ref()
                    .is_some_and(|w| claims.own.contains(w));
                let held = if ours { &mut own } else { &mut others };
                *held.entry((node.as_str(), resource.as_str())).or_insert(0) += devices;
            }
        }
        (others, own)
    }

    /// What quotas leave to the variants of their namespaces.
    pub(super) fn quotas(&self, claims: &Claims<'_>) -> Vec<QuotaView> {
        let mut left: BTreeMap<(String, String), u32> = BTreeMap::new();
        for (key, facts) in self.config.get(&Kind::ResourceQuota).into_iter().flatten() {
            let Ok(ConfigFacts::Quota(hard)) = facts else {
                continue;
            };
            for (resource, &devices) in hard {
                let place = (key.namespace.clone(), resource.clone());
                let tightest = left.get(&place).map_or(devices, |&d| d.min(devices));
                left.insert(place, tightest);
            }
        }
        if left.is_empty() {
            return Vec::new();
        }
        for (key, facts) in &self.pods {
            let Ok(pod) = facts else { continue };
            if let Some((resource, devices)) = &pod.devices
                && !pod
                    .workload
                    .as_ref()
                    .is_some_and(|w| claims.own.contains(w))
                && let Some(rest) = left.get_mut(&(key.namespace.clone(), resource.clone()))
            {
                *rest = rest.saturating_sub(*devices);
            }
        }
        left.into_iter()
            .map(|((namespace, resource), devices)| QuotaView {
                namespace,
                resource,
                devices,
            })
            .collect()
    }

    /// The one device that all nodes with this resource have, if it is one.
    pub(super) fn only_product(&self, resource: Option<&str>) -> Option<&str> {
        let nodes = self.nodes.values().filter_map(|n| n.as_ref().ok());
        let mut products: BTreeSet<&str> = nodes
            .filter(|n| match resource {
                Some(r) => n.devices.contains_key(r),
                None => !n.devices.is_empty(),
            })
            .filter_map(|n| n.product.as_deref())
            .collect();
        let first = products.pop_first();
        first.filter(|_| products.is_empty())
    }

    /// The device of the node that a pod is on.
    pub(super) fn product_of_node(&self, node: &str) -> Option<&str> {
        let facts = self.nodes.get(&Key::new("", node))?.as_ref().ok()?;
        facts.product.as_deref()
    }
}

impl<'a> Claims<'a> {
    pub fn of(variants: &[VariantView], index: &'a Index) -> Self {
        let mut claims = Self {
            own: HashSet::new(),
            tolerated: BTreeSet::new(),
        };
        for variant in variants {
            let Some(kind) = Kind::of_target(&variant.target.kind) else {
                continue;
            };
            let key = Key::new(&variant.key.namespace, &variant.target.name);
            let facts = index.workloads.get(&kind).and_then(|w| w.get(&key));
            if let Some(Ok(facts)) = facts {
                claims
                    .tolerated
                    .extend(facts.server.tolerated.iter().map(String::as_str));
            }
            claims.own.insert((kind, key));
        }
        claims
    }

    fn reaches(&self, node: &NodeFacts) -> bool {
        let tolerated = |key: &String| self.tolerated.contains(key.as_str());
        self.tolerated.contains("") || node.taints.iter().all(tolerated)
    }
}

fn accelerator(catalogue: &Catalogue, node: &NodeFacts, resource: &str) -> Option<String> {
    let written = devices::with_slice(node.product.as_deref()?, Some(resource));
    match devices::resolve(catalogue, &written) {
        Device::Known(name) => Some(name),
        Device::Slice(slice) => Some(slice.name),
        Device::Unknown(_) => None,
    }
}
