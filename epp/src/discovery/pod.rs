//! The endpoints of one pod.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use wva_epp_core::endpoint::Endpoint;

use super::variants::Variants;
use crate::scrape::dialect::{ENGINE_LABELS, engine_of};

/// Annotations with the ports that serve now, of those that the pool has: the current name, then the older one.
pub const ACTIVE_PORTS: [&str; 2] = [
    "llm-d.ai/active-ports",
    "inference.networking.k8s.io/active-ports",
];
/// Annotation that takes new work away from a pod before it is deleted: `"true"`.
pub const DRAIN: &str = "wva.llmd.ai/drain";
/// Annotations with these beginnings count as labels: people remember the key rather than which of the two it was, and
/// not every value fits into a label.
const OURS: [&str; 4] = [
    "llm-d.ai/",
    "wva.llmd.ai/",
    "inference.optimization/",
    "inference.networking.k8s.io/",
];

/// What the pod serves on, one endpoint for each active port, with its rank by the port's place among `ports`. None for
/// a pod that is not ready, or that is being deleted: its server may have stopped taking requests already.
#[must_use]
pub fn endpoints(pod: &Pod, ports: &[u16], variants: &Variants) -> Vec<Endpoint> {
    let Some(ip) = address(pod).filter(|_| is_ready(pod) && !is_going(pod)) else {
        return Vec::new();
    };
    let labels = labels(pod);
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let marked = labels.get(DRAIN).is_some_and(|v| v == "true");
    let engine = ENGINE_LABELS.iter().find_map(|l| labels.get(*l));
    let endpoint = |(rank, port): (usize, u16)| Endpoint {
        engine: engine.map(|e| engine_of(e)).unwrap_or_default(),
        rank: rank as u16,
        variant: variants.of_pod(&labels, workload(&pod.metadata)),
        draining: marked,
        labels: labels.clone(),
        ..Endpoint::new(SocketAddr::new(ip, port), namespace, name)
    };
    active(&labels, ports).map(endpoint).collect()
}

fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

fn is_ready(pod: &Pod) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let mut conditions = status.conditions.iter().flatten();
    !ended && conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}

fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// The workload that the pod is a replica of. A ReplicaSet has its Deployment's name, and the hash of the pod template.
fn workload(metadata: &ObjectMeta) -> Option<&str> {
    let label = |key: &str| metadata.labels.as_ref()?.get(key).map(String::as_str);
    if let Some(group) = label("leaderworkerset.sigs.k8s.io/name") {
        return Some(group);
    }
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|o| o.controller == Some(true))?;
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let hash = label("pod-template-hash")?;
            owner.name.strip_suffix(hash)?.strip_suffix('-')
        }
        "StatefulSet" => Some(&owner.name),
        _ => None,
    }
}

fn labels(pod: &Pod) -> BTreeMap<String, String> {
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    let annotations = pod.metadata.annotations.iter().flatten();
    let ours = annotations.filter(|(key, _)| OURS.iter().any(|o| key.starts_with(o)));
    labels.extend(ours.map(|(key, value)| (key.clone(), value.clone())));
    labels
}

/// The ports that the pod says are active, with their places; all of them where it does not say.
fn active(labels: &BTreeMap<String, String>, ports: &[u16]) -> impl Iterator<Item = (usize, u16)> {
    let said = ACTIVE_PORTS.iter().find_map(|key| labels.get(*key));
    let said = said.map(|list| -> Vec<u16> {
        let numbers = list.split(',').filter_map(|p| p.trim().parse().ok());
        numbers.collect()
    });
    let ports = ports.iter().copied().enumerate();
    ports.filter(move |(_, port)| said.as_ref().is_none_or(|s| s.contains(port)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wva_epp_core::endpoint::{Engine, Roles};

    use super::*;

    fn pod(metadata: Value, ready: &str, ip: &str) -> Pod {
        let mut pod = json!({"metadata": metadata, "status": {
            "phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": ready}],
        }});
        pod["metadata"]["name"] = json!("p");
        pod["metadata"]["namespace"] = json!("ns");
        serde_json::from_value(pod).unwrap()
    }

    fn of(pod: &Pod, ports: &[u16]) -> Vec<Endpoint> {
        endpoints(pod, ports, &Variants::default())
    }

    #[test]
    fn each_port_is_a_rank() {
        let eight: Vec<u16> = (8000..8008).collect();
        let all = of(&pod(json!({}), "True", "10.0.0.1"), &eight);
        let got: Vec<_> = all.iter().map(|e| (e.address.port(), e.rank)).collect();
        let expected: Vec<_> = (8000..8008).zip(0..8).collect();
        assert_eq!(got, expected);
        let some = json!({"annotations": {"llm-d.ai/active-ports": "8007, 8002,9999,x"}});
        let got = of(&pod(some, "True", "fd00::1"), &eight);
        let got: Vec<_> = got
            .iter()
            .map(|e| (e.address.to_string(), e.rank))
            .collect();
        let expected = [("[fd00::1]:8002", 2), ("[fd00::1]:8007", 7)];
        assert_eq!(got, expected.map(|(a, r)| (a.to_owned(), r)));
        let none = json!({"annotations": {"inference.networking.k8s.io/active-ports": ""}});
        assert_eq!(of(&pod(none, "True", "10.0.0.1"), &eight), []);
    }

    #[test]
    fn only_ready_pods_with_an_address_serve() {
        assert_eq!(of(&pod(json!({}), "False", "10.0.0.1"), &[80]), []);
        assert_eq!(of(&pod(json!({}), "True", ""), &[80]), []);
        assert_eq!(of(&Pod::default(), &[80]), []);
        let mut ended = pod(json!({}), "True", "10.0.0.1");
        ended.status.as_mut().unwrap().phase = Some("Failed".to_owned());
        assert_eq!(of(&ended, &[80]), []);
    }

    #[test]
    fn a_pod_that_goes_is_none_and_a_marked_one_drains() {
        let going = json!({"deletionTimestamp": "2026-11-21T20:00:00Z"});
        assert_eq!(of(&pod(going, "True", "10.0.0.1"), &[80]), []);
        let marked = json!({"annotations": {"wva.llmd.ai/drain": "true"}});
        assert!(of(&pod(marked, "True", "10.0.0.1"), &[80])[0].draining);
        assert!(!of(&pod(json!({}), "True", "10.0.0.1"), &[80])[0].draining);
    }

    #[test]
    fn labels_and_annotations_say_what_it_is() {
        let metadata = json!({
            "labels": {"llm-d.ai/role": "prefill", "inference.optimization/acceleratorName": "H100"},
            "annotations": {"llm-d.ai/engine-type": "sglang", "other/thing": "not ours"},
        });
        let variants = Variants::default();
        let first = variants.number("A100");
        let endpoint = &endpoints(&pod(metadata, "True", "10.0.0.1"), &[80], &variants)[0];
        assert_eq!(endpoint.engine, Engine::Sglang);
        assert_eq!(endpoint.roles(), Roles::PREFILL);
        assert_eq!((first, endpoint.variant), (0, Some(1)));
        assert_eq!(variants.all(), ["A100", "H100"]);
        let owned = json!({
            "labels": {"pod-template-hash": "5f6d", "inference.optimization/acceleratorName": "H100"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "llama-5f6d", "uid": "r", "controller": true},
            ],
        });
        let of_workload = &endpoints(&pod(owned, "True", "10.0.0.2"), &[80], &variants)[0];
        assert_eq!(of_workload.variant, Some(2));
        assert_eq!(variants.all(), ["A100", "H100", "llama"]);
        assert!(!endpoint.labels.contains_key("other/thing"));
        assert_eq!(endpoint.full_name(), "ns/p");
    }
}
