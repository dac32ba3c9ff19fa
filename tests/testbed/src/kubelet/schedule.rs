//! Which node a pod goes to, or why to none, in the words of kube-scheduler.
//!
//! Only devices are counted (resources with a domain in their name): processors and memory are never what a model
//! server waits for in a test. Among the nodes that fit, the one with most free devices is taken, as kube-scheduler
//! would spread the pods of a Deployment; ties go to the first name, so that a test knows where its pods are.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::constraint::{Misfit, misfit};

/// Devices by resource, as `nvidia.com/gpu`.
pub type Devices = BTreeMap<String, u64>;

/// A node and how many of its devices are taken.
#[derive(Debug)]
pub struct Seat<'a> {
    /// The node.
    pub node: &'a Node,
    /// What its pods hold, those that are ending included.
    pub taken: Devices,
}

impl Seat<'_> {
    fn free(&self, resource: &str) -> u64 {
        let status = self.node.status.as_ref();
        let allocatable = status.and_then(|s| s.allocatable.as_ref());
        let there = allocatable.and_then(|a| count(a.get(resource)?));
        let taken = self.taken.get(resource).copied().unwrap_or(0);
        there.unwrap_or(0).saturating_sub(taken)
    }

    fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or_default()
    }
}

/// The devices a pod asks for. A limit counts as a request where there is none; init containers run one by one,
/// before the others.
pub fn requested(pod: &Pod) -> Devices {
    let Some(spec) = &pod.spec else {
        return Devices::new();
    };
    let of = |container: &k8s_openapi::api::core::v1::Container| {
        let resources = container.resources.clone().unwrap_or_default();
        let mut quantities = resources.limits.unwrap_or_default();
        quantities.extend(resources.requests.unwrap_or_default());
        let devices = quantities.into_iter().filter(|(name, _)| is_device(name));
        devices
            .filter_map(|(name, quantity)| Some((name, count(&quantity)?)))
            .collect::<Devices>()
    };
    let mut total = Devices::new();
    for (name, devices) in spec.containers.iter().flat_map(of) {
        *total.entry(name).or_default() += devices;
    }
    for (name, devices) in spec.init_containers.iter().flatten().flat_map(of) {
        let entry = total.entry(name).or_default();
        *entry = devices.max(*entry);
    }
    total
}

/// The name of the node for this pod.
///
/// # Errors
/// The message of the condition `PodScheduled`, when no node will do.
pub fn place(pod: &Pod, seats: &[Seat<'_>]) -> Result<String, String> {
    let wanted = requested(pod);
    let fit = seats
        .iter()
        .filter(|seat| reasons(pod, &wanted, seat).is_empty());
    let freest = fit.min_by_key(|seat| {
        let free: u64 = wanted.keys().map(|resource| seat.free(resource)).sum();
        (std::cmp::Reverse(free), seat.name())
    });
    match freest {
        Some(seat) => Ok(seat.name().to_owned()),
        None => Err(complaint(pod, &wanted, seats)),
    }
}

/// Why not this node: empty when it fits.
fn reasons(pod: &Pod, wanted: &Devices, seat: &Seat<'_>) -> Vec<Reason> {
    let constraints = pod.spec.as_ref().and_then(|spec| misfit(spec, seat.node));
    if let Some(misfit) = constraints {
        let text = match misfit {
            Misfit::Unschedulable => "node(s) were unschedulable".to_owned(),
            Misfit::Affinity => "node(s) didn't match Pod's node affinity/selector".to_owned(),
            Misfit::Taint(taint) => {
                let value = taint.value.unwrap_or_default();
                format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)
            }
        };
        return vec![Reason {
            text,
            may_pass: false,
        }];
    }
    let short = wanted
        .iter()
        .filter(|(resource, count)| seat.free(resource) < **count);
    short
        .map(|(resource, _)| Reason {
            text: format!("Insufficient {resource}"),
            may_pass: true,
        })
        .collect()
}

struct Reason {
    text: String,
    /// Whether it would if other pods went.
    may_pass: bool,
}

fn complaint(pod: &Pod, wanted: &Devices, seats: &[Seat<'_>]) -> String {
    if seats.is_empty() {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut counted = BTreeMap::<String, usize>::new();
    let mut helpless = 0;
    for seat in seats {
        let reasons = reasons(pod, wanted, seat);
        helpless += usize::from(reasons.iter().any(|r| !r.may_pass));
        for reason in reasons {
            *counted.entry(reason.text).or_default() += 1;
        }
    }
    let nodes = format!("0/{} nodes are available", seats.len());
    let preemption = [
        (
            "No preemption victims found for incoming pod",
            seats.len() - helpless,
        ),
        ("Preemption is not helpful for scheduling", helpless),
    ];
    let preemption = preemption.into_iter().filter(|(_, count)| *count > 0);
    format!(
        "{nodes}: {}. no new claims to deallocate, preemption: {nodes}: {}.",
        sentence(counted.iter().map(|(text, count)| (text.as_str(), *count))),
        sentence(preemption)
    )
}

/// `2 this, 3 that`, sorted as text: kube-scheduler sorts the finished phrases.
fn sentence<'a>(counts: impl Iterator<Item = (&'a str, usize)>) -> String {
    let mut phrases: Vec<String> = counts.map(|(text, n)| format!("{n} {text}")).collect();
    phrases.sort();
    phrases.join(", ")
}

fn is_device(resource: &str) -> bool {
    resource.contains('/') && !resource.contains("kubernetes.io/")
}

/// Devices come as whole numbers, which is all that the API server accepts for them.
fn count(quantity: &Quantity) -> Option<u64> {
    quantity.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::{Effect, NodeSpec};
    use serde_json::json;

    const GPU: &str = "nvidia.com/gpu";

    fn pod(gpus: u32) -> Pod {
        let limits = json!({GPU: gpus.to_string(), "cpu": "4"});
        let container = json!({"name": "server", "resources": {"limits": limits}});
        serde_json::from_value(json!({"spec": {"containers": [container]}})).unwrap()
    }

    fn nodes() -> Vec<Node> {
        [
            NodeSpec::with_gpus("a", "NVIDIA-L40S", 2),
            NodeSpec::with_gpus("b", "NVIDIA-L40S", 4),
            NodeSpec::with_gpus("c", "NVIDIA-L40S", 8).taint("spot", "", Effect::NoSchedule),
        ]
        .iter()
        .map(NodeSpec::object)
        .collect()
    }

    fn placed(gpus: u32, taken: [u64; 3]) -> Result<String, String> {
        let nodes = nodes();
        let seats: Vec<Seat<'_>> = nodes
            .iter()
            .zip(taken)
            .map(|(node, taken)| Seat {
                node,
                taken: Devices::from([(GPU.to_owned(), taken)]),
            })
            .collect();
        place(&pod(gpus), &seats)
    }

    #[test]
    fn the_node_with_most_free_devices_is_taken() {
        assert_eq!(placed(1, [0, 0, 0]).unwrap(), "b");
        assert_eq!(placed(1, [0, 3, 0]).unwrap(), "a");
        assert_eq!(placed(1, [1, 3, 0]).unwrap(), "a");
        assert_eq!(placed(0, [2, 4, 8]).unwrap(), "a");
        assert_eq!(placed(4, [0, 0, 0]).unwrap(), "b");
    }

    #[test]
    fn a_pod_without_a_node_is_told_why_as_kube_scheduler_would() {
        let expected = "0/3 nodes are available: 1 node(s) had untolerated taint {spot: }, \
             2 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/3 nodes are available: \
             1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod.";
        assert_eq!(placed(4, [0, 1, 0]).unwrap_err(), expected);
        let nobody = place(&pod(1), &[]).unwrap_err();
        assert_eq!(nobody, "no nodes available to schedule pods");
    }

    #[test]
    fn more_devices_taken_than_left_is_a_full_node() {
        placed(1, [7, 9, 0]).unwrap_err();
    }

    #[test]
    fn requests_add_up_and_init_containers_do_not() {
        let with = |gpus: &str| json!({"name": "c", "resources": {"requests": {GPU: gpus}}});
        let spec = json!({
            "containers": [with("2"), with("1")],
            "initContainers": [with("1"), with("4")],
        });
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        assert_eq!(requested(&pod), Devices::from([(GPU.to_owned(), 4)]));
        assert_eq!(requested(&Pod::default()), Devices::new());
    }
}
