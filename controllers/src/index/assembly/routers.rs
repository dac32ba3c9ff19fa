//! Who routes requests: the endpoint pickers of the pools, found without any right beyond those to pods and pools.
//!
//! A pool names the Service of its picker. Services are not watched: the pods behind one are those of the Deployment of the same
//! name, or those that carry its name as the charts of the Inference Gateway label them. Others say so themselves.

use std::collections::BTreeSet;

use super::super::Index;
use super::super::pod::{PodFacts, Routes};
use crate::index::Key;
use crate::telemetry::targets::RouterTarget;

impl Index {
    /// Pods that route requests, by namespace and name.
    pub(super) fn routers(&self) -> Vec<RouterTarget> {
        let pools = self.pools.values().flatten();
        let named: BTreeSet<(&str, &str)> = pools
            .filter_map(|(key, facts)| {
                let picker = facts.as_ref().ok()?.picker.as_deref()?;
                Some((key.namespace.as_str(), picker))
            })
            .collect();
        let pods = self.pods.iter();
        let pods = pods.filter_map(|(key, facts)| Some((key, facts.as_ref().ok()?)));
        pods.filter(|(key, facts)| routes(key, facts, &named))
            .map(|(key, facts)| RouterTarget {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                uid: facts.uid.clone(),
                ip: facts.ip.clone(),
                endpoint: facts.endpoint.clone(),
                url: None,
            })
            .collect()
    }
}

fn routes(key: &Key, facts: &PodFacts, named: &BTreeSet<(&str, &str)>) -> bool {
    let is_named = |name: &str| named.contains(&(key.namespace.as_str(), name));
    let of_workload = || {
        let workload = facts.workload.as_ref();
        workload.is_some_and(|(_, workload)| is_named(&workload.name))
    };
    match &facts.routes {
        Routes::Yes => true,
        Routes::As(service) => is_named(service) || of_workload(),
        Routes::Unsaid => of_workload(),
    }
}
