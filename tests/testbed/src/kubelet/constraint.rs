//! Whether a node suits a pod, devices aside: selectors, affinity, taints. As kube-scheduler's filters of these names.

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};

/// Why a node does not suit a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Misfit {
    /// Somebody closed it.
    Unschedulable,
    /// The first taint that the pod does not tolerate.
    Taint(Taint),
    /// It lacks labels that the pod asks for.
    Affinity,
}

/// The first filter of kube-scheduler's order that the node does not pass.
pub fn misfit(pod: &PodSpec, node: &Node) -> Option<Misfit> {
    let spec = node.spec.as_ref();
    if spec.is_some_and(|s| s.unschedulable == Some(true)) {
        return Some(Misfit::Unschedulable);
    }
    let taints = spec.and_then(|s| s.taints.as_ref()).into_iter().flatten();
    let untolerated = taints
        .filter(|taint| taint.effect != "PreferNoSchedule")
        .find(|taint| !tolerates(pod, taint));
    if let Some(taint) = untolerated {
        return Some(Misfit::Taint(taint.clone()));
    }
    (!is_selected(pod, node)).then_some(Misfit::Affinity)
}

/// Whether kube-scheduler is to place the pod now.
pub fn waits_for_a_node(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec
        .scheduler_name
        .as_ref()
        .is_none_or(|n| n == "default-scheduler");
    let gated = spec
        .scheduling_gates
        .as_ref()
        .is_some_and(|g| !g.is_empty());
    let deleted = pod.metadata.deletion_timestamp.is_some();
    spec.node_name.is_none() && ours && !gated && !deleted
}

fn tolerates(pod: &PodSpec, taint: &Taint) -> bool {
    let tolerations = pod.tolerations.as_ref();
    let mut tolerations = tolerations.into_iter().flatten();
    tolerations.any(|toleration| covers(toleration, taint))
}

/// An absent key or effect covers all of them.
fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let agrees = |field: &Option<String>, with: &str| {
        field.as_ref().is_none_or(|f| f.is_empty() || f == with)
    };
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = toleration.value.as_deref().unwrap_or_default();
    agrees(&toleration.key, &taint.key)
        && agrees(&toleration.effect, &taint.effect)
        && (exists || value == taint.value.as_deref().unwrap_or_default())
}

fn is_selected(pod: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let selector = pod.node_selector.as_ref();
    let by_selector = selector
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let required = pod
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| {
            a.required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    let by_affinity = required.is_none_or(|r| r.node_selector_terms.iter().any(|t| holds(t, node)));
    by_selector && by_affinity
}

/// All requirements of a term must hold; a term without any selects nothing.
fn holds(term: &NodeSelectorTerm, node: &Node) -> bool {
    let label = |key: &str| {
        let labels = node.metadata.labels.as_ref();
        labels.and_then(|l| l.get(key)).cloned()
    };
    let field = |key: &str| (key == "metadata.name").then(|| node.metadata.name.clone())?;
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|r| meets(r, label(&r.key)))
        && fields.iter().all(|r| meets(r, field(&r.key)))
}

fn meets(requirement: &NodeSelectorRequirement, value: Option<String>) -> bool {
    let wanted = requirement.values.as_deref().unwrap_or_default();
    let among = value.as_ref().is_some_and(|v| wanted.contains(v));
    let number = || value.as_ref()?.parse::<i64>().ok();
    let bound = || wanted.first()?.parse::<i64>().ok();
    match requirement.operator.as_str() {
        "In" => among,
        "NotIn" => !among,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number().zip(bound()).is_some_and(|(n, b)| n > b),
        "Lt" => number().zip(bound()).is_some_and(|(n, b)| n < b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::{Effect, NodeSpec};
    use serde_json::{Value, json};

    fn pod(fields: Value) -> PodSpec {
        let mut spec = json!({"containers": []});
        for (key, value) in fields.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn h100() -> NodeSpec {
        NodeSpec::with_gpus("h100-a", "NVIDIA-H100-80GB-HBM3", 8)
    }

    fn suits(fields: Value, node: &NodeSpec) -> bool {
        misfit(&pod(fields), &node.object()).is_none()
    }

    #[test]
    fn labels_are_selected() {
        let node = h100();
        assert!(suits(json!({}), &node));
        let product = |p: &str| json!({"nodeSelector": {"nvidia.com/gpu.product": p}});
        assert!(suits(product("NVIDIA-H100-80GB-HBM3"), &node));
        assert!(!suits(product("NVIDIA-L40S"), &node));
    }

    #[test]
    fn affinity_terms_are_alternatives_and_expressions_are_not() {
        let affinity = |terms: Value| {
            let required = "requiredDuringSchedulingIgnoredDuringExecution";
            json!({"affinity": {"nodeAffinity": {required: {"nodeSelectorTerms": terms}}}})
        };
        let expression = |key: &str, operator: &str, values: Value| json!({"key": key, "operator": operator, "values": values});
        let fits = |terms: Value| suits(affinity(terms), &h100());
        let no = expression("nvidia.com/gpu.product", "In", json!(["NVIDIA-L40S"]));
        let yes = expression("nvidia.com/gpu.count", "Gt", json!(["4"]));
        let term = |e: &[&Value]| json!({"matchExpressions": e});
        assert!(fits(json!([term(&[&no]), term(&[&yes])])));
        assert!(!fits(json!([term(&[&no, &yes])])));
        assert!(!fits(json!([{}])));
        let name = expression("metadata.name", "NotIn", json!(["h100-a"]));
        assert!(!fits(json!([{"matchFields": [name]}])));
        for (operator, holds) in [("Exists", true), ("DoesNotExist", false), ("Like", false)] {
            let present = expression("nvidia.com/gpu.present", operator, Value::Null);
            assert_eq!(fits(json!([term(&[&present])])), holds, "{operator}");
        }
    }

    #[test]
    fn taints_keep_away_those_who_do_not_tolerate_them() {
        let node = h100().taint("nvidia.com/gpu", "present", Effect::NoSchedule);
        let tolerating = |toleration: Value| suits(json!({"tolerations": [toleration]}), &node);
        let misfit = misfit(&pod(json!({})), &node.object());
        assert!(matches!(misfit, Some(Misfit::Taint(t)) if t.key == "nvidia.com/gpu"));
        assert!(tolerating(
            json!({"key": "nvidia.com/gpu", "operator": "Exists"})
        ));
        assert!(tolerating(json!({"operator": "Exists"})));
        assert!(tolerating(
            json!({"key": "nvidia.com/gpu", "value": "present"})
        ));
        assert!(!tolerating(
            json!({"key": "nvidia.com/gpu", "value": "absent"})
        ));
        assert!(!tolerating(json!({"key": "spot", "operator": "Exists"})));
        let other = json!({"operator": "Exists", "effect": "NoExecute"});
        assert!(!tolerating(other));
    }

    #[test]
    fn a_closed_node_takes_nobody() {
        let mut node = h100().object();
        node.spec.as_mut().unwrap().unschedulable = Some(true);
        let all = pod(json!({"tolerations": [{"operator": "Exists"}]}));
        assert_eq!(misfit(&all, &node), Some(Misfit::Unschedulable));
    }

    #[test]
    fn bound_gated_deleted_and_foreign_pods_are_left_alone() {
        let waits = |metadata: Value, spec: Value| {
            let pod = json!({"metadata": metadata, "spec": spec});
            waits_for_a_node(&serde_json::from_value(pod).unwrap())
        };
        let plain = json!({"containers": []});
        assert!(waits(json!({}), plain.clone()));
        let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert!(!waits(deleted, plain));
        for (key, value) in [
            ("nodeName", json!("a")),
            ("schedulerName", json!("volcano")),
            ("schedulingGates", json!([{"name": "quota"}])),
        ] {
            let mut spec = json!({"containers": []});
            spec[key] = value;
            assert!(!waits(json!({}), spec), "{key}");
        }
    }
}
