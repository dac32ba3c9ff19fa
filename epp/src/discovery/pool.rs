//! What makes a pod a member of the pool, whichever way it is said.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde::Deserialize as _;

use crate::api::{InferencePoolSpec, LegacyInferencePoolSpec};

/// Most ports of a pool: as many ranks as a pod has devices.
pub const MOST_PORTS: usize = 8;

/// Which pods are meant, and on which ports they serve.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// A label selector as Kubernetes writes it; empty selects nothing.
    pub selector: String,
    /// One port for each data-parallel rank, in the order of the ranks.
    pub ports: Vec<u16>,
}

impl Membership {
    /// All of these labels, and these ports.
    ///
    /// # Errors
    /// What is wrong with the ports.
    pub fn new(labels: &BTreeMap<String, String>, ports: &[i32]) -> Result<Self, String> {
        let selector: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        Self::selecting(selector.join(","), ports)
    }

    /// This selector, and these ports.
    ///
    /// # Errors
    /// What is wrong with the ports.
    pub fn selecting(selector: String, ports: &[i32]) -> Result<Self, String> {
        if ports.is_empty() || ports.len() > MOST_PORTS {
            let number = ports.len();
            return Err(format!(
                "{number} target ports: there must be 1 to {MOST_PORTS}"
            ));
        }
        let mut numbers: Vec<u16> = Vec::with_capacity(ports.len());
        for port in ports {
            let number = u16::try_from(*port).ok().filter(|p| *p != 0);
            let number = number.ok_or_else(|| format!("{port} is not a port"))?;
            if numbers.contains(&number) {
                return Err(format!("port {port} is listed twice"));
            }
            numbers.push(number);
        }
        Ok(Self {
            selector,
            ports: numbers,
        })
    }

    /// What an `inference.networking.k8s.io/v1` pool says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_pool(object: &DynamicObject) -> Result<Self, String> {
        let spec = InferencePoolSpec::deserialize(&object.data["spec"]);
        let spec = spec.map_err(|e| format!("spec: {e}"))?;
        let ports: Vec<i32> = spec.target_ports.iter().map(|p| p.number).collect();
        Self::new(&spec.selector.match_labels, &ports)
    }

    /// What an `inference.networking.x-k8s.io/v1alpha2` pool says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_legacy_pool(object: &DynamicObject) -> Result<Self, String> {
        let spec = LegacyInferencePoolSpec::deserialize(&object.data["spec"]);
        let spec = spec.map_err(|e| format!("spec: {e}"))?;
        Self::new(&spec.selector, &[spec.target_port_number])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: Value) -> DynamicObject {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    #[test]
    fn both_groups_say_selector_and_ports() {
        let now = json!({
            "selector": {"matchLabels": {"app": "vllm", "a": "b"}},
            "targetPorts": [{"number": 8000}, {"number": 8001}],
            "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
        });
        let now = Membership::of_pool(&object(now)).unwrap();
        assert_eq!(
            (&*now.selector, &*now.ports),
            ("a=b,app=vllm", &[8000, 8001][..])
        );
        let before =
            json!({"selector": {"app": "vllm"}, "targetPortNumber": 80, "extensionRef": {}});
        let before = Membership::of_legacy_pool(&object(before)).unwrap();
        assert_eq!((&*before.selector, &*before.ports), ("app=vllm", &[80][..]));
    }

    #[test]
    fn ports_must_be_ports() {
        let with = |ports: &[i32]| Membership::selecting("a=b".to_owned(), ports);
        let eight: Vec<i32> = (8000..8008).collect();
        assert_eq!(with(&eight).unwrap().ports.len(), 8);
        let nine: Vec<i32> = (8000..8009).collect();
        for ports in [&[][..], &nine, &[0], &[-1], &[70_000], &[80, 80]] {
            with(ports).unwrap_err();
        }
        assert!(Membership::of_pool(&object(json!(null))).is_err());
    }
}
