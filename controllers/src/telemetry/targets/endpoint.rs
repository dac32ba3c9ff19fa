//! Where a pod's metrics are, by what its metadata says and what its engine does by default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::telemetry::engine::Dialect;

/// URL scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
}

/// Where metrics are served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// URL scheme.
    pub scheme: Scheme,
    /// Ports, one per data-parallel server in the pod; empty where the engine's default holds.
    pub ports: Vec<u16>,
    /// Path; the engine's default where absent.
    pub path: Option<String>,
    /// The pod asks not to be scraped.
    pub disabled: bool,
}

/// Most ports read of one pod.
const MOST_PORTS: usize = 64;

impl Endpoint {
    /// By annotations (`prometheus.io/scrape`, `/scheme`, `/port`, `/path`; `llm-d.ai/active-ports`, a comma list with one
    /// port per data-parallel rank), each also accepted as a label; else by container ports called `metrics`, then `http`.
    #[must_use]
    pub fn of_pod(
        annotations: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
        container_ports: &[(Option<&str>, u16)],
    ) -> Self {
        let said = |key: &str| annotations.get(key).or_else(|| labels.get(key));
        let listed = |key: &str| -> Vec<u16> {
            let list = said(key).map_or("", String::as_str);
            list.split(',')
                .filter_map(|p| p.trim().parse().ok())
                .filter(|&p| p > 0)
                .take(MOST_PORTS)
                .collect()
        };
        let named = |name: &str| {
            let port = container_ports.iter().find(|(n, _)| *n == Some(name));
            port.map(|&(_, port)| vec![port]).unwrap_or_default()
        };
        let candidates = [
            listed("prometheus.io/port"),
            listed("llm-d.ai/active-ports"),
            named("metrics"),
            named("http"),
        ];
        Self {
            scheme: match said("prometheus.io/scheme").map(String::as_str) {
                Some("https") => Scheme::Https,
                _ => Scheme::Http,
            },
            ports: candidates
                .into_iter()
                .find(|ports| !ports.is_empty())
                .unwrap_or_default(),
            path: said("prometheus.io/path")
                .filter(|p| p.starts_with('/'))
                .cloned(),
            disabled: said("prometheus.io/scrape").is_some_and(|s| s == "false"),
        }
    }

    /// URLs to read at `ip`, in order of the ports.
    #[must_use]
    pub fn urls(&self, ip: &str, engine: Option<Dialect>) -> Vec<String> {
        let defaults = [engine.map_or(8000, Dialect::default_port)];
        let ports: &[u16] = if self.ports.is_empty() {
            &defaults
        } else {
            &self.ports
        };
        let path = self
            .path
            .as_deref()
            .unwrap_or(engine.map_or("/metrics", Dialect::default_path));
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let host = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_owned()
        };
        ports
            .iter()
            .map(|port| format!("{scheme}://{host}:{port}{path}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    #[test]
    fn annotations_win_over_ports_and_defaults() {
        let e = Endpoint::of_pod(
            &map(&[
                ("prometheus.io/port", "8200"),
                ("prometheus.io/scheme", "https"),
                ("prometheus.io/path", "/m"),
            ]),
            &map(&[]),
            &[(Some("metrics"), 9400)],
        );
        assert_eq!(
            e.urls("10.0.0.1", Some(Dialect::Vllm)),
            ["https://10.0.0.1:8200/m"]
        );
        let e = Endpoint::of_pod(&map(&[]), &map(&[]), &[(None, 1), (Some("metrics"), 9400)]);
        assert_eq!(e.urls("fd00::1", None), ["http://[fd00::1]:9400/metrics"]);
    }

    #[test]
    fn each_rank_has_a_port_and_each_engine_its_default() {
        let e = Endpoint::of_pod(
            &map(&[]),
            &map(&[("llm-d.ai/active-ports", "8000, 8001,x")]),
            &[],
        );
        assert_eq!(e.ports, [8000, 8001]);
        let e = Endpoint::default();
        assert_eq!(
            e.urls("h", Some(Dialect::Triton)),
            ["http://h:8002/metrics"]
        );
        assert_eq!(
            e.urls("h", Some(Dialect::TrtLlm)),
            ["http://h:8000/prometheus/metrics"]
        );
        assert!(
            Endpoint::of_pod(&map(&[("prometheus.io/scrape", "false")]), &map(&[]), &[]).disabled
        );
    }
}
