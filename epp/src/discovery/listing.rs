//! A list of endpoints in a file, YAML or JSON.
//!
//! ```yaml
//! endpoints:
//! - name: a                       # of the pod, or whatever runs there; its address where absent
//!   namespace: default
//!   address: 10.0.0.1             # or 10.0.0.1:8000
//!   port: 8000
//!   labels: {llm-d.ai/role: decode, llm-d.ai/engine-type: vllm}
//! ```

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use wva_epp_core::endpoint::Endpoint;
use wva_models::catalogue::{CatalogueError, from_yaml};

use super::pod::DRAIN;
use super::variants::Variants;
use crate::scrape::dialect::{ENGINE_LABELS, engine_of};

/// A list that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// It is not YAML, or not such a list.
    #[error(transparent)]
    Yaml(#[from] CatalogueError),
    /// An address that is none: names are not looked up, because the proxy connects to addresses.
    #[error(
        "{origin}: endpoint {number}: {text:?} is not an IP address, with or without a port; names are not looked up"
    )]
    Address {
        /// The file.
        origin: String,
        /// Place in the list, from 1.
        number: usize,
        /// What is written there.
        text: String,
    },
    /// An endpoint without a port, or with one that is none.
    #[error(
        "{origin}: endpoint {number}: it needs a port from 1 to 65535; write for example `port: 8000`"
    )]
    Port {
        /// The file.
        origin: String,
        /// Place in the list, from 1.
        number: usize,
    },
    /// An address that is listed twice.
    #[error("{origin}: endpoint {number}: {address} is listed twice; leave one out")]
    Twice {
        /// The file.
        origin: String,
        /// Place in the list, from 1.
        number: usize,
        /// The address.
        address: SocketAddr,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListText {
    endpoints: Vec<EndpointText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointText {
    name: Option<String>,
    namespace: Option<String>,
    address: String,
    port: Option<PortText>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Some write ports in quotes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum PortText {
    Number(u16),
    Text(String),
}

impl PortText {
    fn number(&self) -> Option<u16> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

impl EndpointText {
    fn address(&self, origin: &str, number: usize) -> Result<SocketAddr, ListingError> {
        let text = self.address.trim();
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address);
        }
        let Ok(ip) = text.parse::<IpAddr>() else {
            return Err(ListingError::Address {
                origin: origin.to_owned(),
                number,
                text: text.to_owned(),
            });
        };
        let port = self.port.as_ref().and_then(PortText::number);
        let port = port.filter(|p| *p != 0);
        let address = port.map(|port| SocketAddr::new(ip, port));
        address.ok_or_else(|| ListingError::Port {
            origin: origin.to_owned(),
            number,
        })
    }

    fn endpoint(self, address: SocketAddr, variants: &Variants) -> Endpoint {
        let name = self.name.unwrap_or_else(|| address.to_string());
        let namespace = self.namespace.unwrap_or_else(|| "default".to_owned());
        let engine = ENGINE_LABELS.iter().find_map(|l| self.labels.get(*l));
        Endpoint {
            engine: engine.map(|e| engine_of(e)).unwrap_or_default(),
            variant: variants.of_pod(&self.labels, None),
            draining: self.labels.get(DRAIN).is_some_and(|v| v == "true"),
            labels: self.labels,
            ..Endpoint::new(address, &namespace, &name)
        }
    }
}

/// Reads a list; `origin` names the file in errors. Endpoints of one name are the ranks of one pod, in their order.
///
/// # Errors
/// [`ListingError`].
pub fn read(
    text: &str,
    origin: &str,
    variants: &Variants,
) -> Result<HashMap<SocketAddr, Endpoint>, ListingError> {
    let list: ListText = from_yaml(text, origin)?;
    let mut ranks: HashMap<String, u16> = HashMap::new();
    let mut endpoints = HashMap::with_capacity(list.endpoints.len());
    for (number, entry) in (1..).zip(list.endpoints) {
        let address = entry.address(origin, number)?;
        let mut endpoint = entry.endpoint(address, variants);
        let rank = ranks.entry(endpoint.full_name()).or_default();
        endpoint.rank = *rank;
        *rank = rank.saturating_add(1);
        if endpoints.insert(address, endpoint).is_some() {
            let origin = origin.to_owned();
            return Err(ListingError::Twice {
                origin,
                number,
                address,
            });
        }
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use wva_epp_core::endpoint::{Engine, Roles};

    use super::*;

    fn of(text: &str) -> Result<HashMap<SocketAddr, Endpoint>, String> {
        read(text, "pods.yaml", &Variants::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn addresses_ports_and_labels() {
        let text = "endpoints:\n\
            - {name: a, namespace: ns, address: 10.0.0.1, port: \"8000\", labels: {llm-d.ai/role: prefill}}\n\
            - {name: a, namespace: ns, address: 10.0.0.1, port: 8001}\n\
            - {address: '[fd00::1]:80', labels: {llm-d.ai/engine-type: trtllm, llm-d.ai/variant: v}}\n";
        let all = of(text).unwrap();
        let at = |address: &str| &all[&address.parse().unwrap()];
        assert_eq!(at("10.0.0.1:8000").roles(), Roles::PREFILL);
        assert_eq!(at("10.0.0.1:8001").rank, 1);
        let last = at("[fd00::1]:80");
        assert_eq!((last.engine, last.variant), (Engine::TrtLlmServe, Some(0)));
        assert_eq!(last.full_name(), "default/[fd00::1]:80");
        let json = r#"{"endpoints": [{"address": "10.0.0.1", "port": 80}]}"#;
        assert_eq!(of(json).unwrap().len(), 1);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, said) in [
            (
                "endpoints: [{address: vllm.example, port: 80}]",
                "endpoint 1: \"vllm.example\"",
            ),
            (
                "endpoints: [{address: 10.0.0.1}]",
                "endpoint 1: it needs a port",
            ),
            (
                "endpoints: [{address: 10.0.0.1, port: 0}]",
                "endpoint 1: it needs a port",
            ),
            (
                "endpoints:\n- {address: 10.0.0.1:1}\n- {address: 10.0.0.1:1}",
                "endpoint 2: 10.0.0.1:1 is listed twice",
            ),
            ("endpoints: [{adress: 10.0.0.1}]", "adress"),
            ("{}", "endpoints"),
        ] {
            let error = of(text).unwrap_err();
            assert!(
                error.contains(said) && error.contains("pods.yaml"),
                "{error}"
            );
        }
    }
}
