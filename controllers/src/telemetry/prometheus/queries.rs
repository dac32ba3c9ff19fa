//! The queries of one batch.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::telemetry::engine::Dialect;
use crate::telemetry::targets::{Part, Targets};
use crate::telemetry::{gpu, router};

/// What a query asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// When each engine was scraped.
    Heartbeats,
    /// Counters and gauges of the engines.
    Engines,
    /// Histograms of whole models.
    Shapes,
    /// When each endpoint picker was scraped.
    RouterHeartbeats,
    /// Counters of the endpoint pickers.
    Routers,
    /// GPUs.
    Gpus,
}

impl Signal {
    /// Name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heartbeats => "engine heartbeats",
            Self::Engines => "engines",
            Self::Shapes => "shapes",
            Self::RouterHeartbeats => "endpoint picker heartbeats",
            Self::Routers => "endpoint pickers",
            Self::Gpus => "GPUs",
        }
    }
}

/// Labels that tell scrapes of one pod apart.
pub(super) const TARGET_LABELS: &str = "namespace, exported_namespace, pod, exported_pod, instance, job, endpoint, service, container, cluster, prometheus, prometheus_replica, replica";

/// More namespaces than this are not worth a matcher.
const MOST_NAMESPACES: usize = 64;

/// All queries about `targets`; `matchers` narrow every one of them.
#[must_use]
pub fn batch(targets: &Targets, matchers: &str) -> Vec<(Signal, String)> {
    let declared: BTreeSet<Option<Dialect>> = targets.pods.iter().map(|p| p.engine).collect();
    let asked = |d: &Dialect| declared.contains(&None) || declared.contains(&Some(*d));
    let dialects: Vec<Dialect> = Dialect::ALL.into_iter().filter(asked).collect();
    let extra = extra(targets, matchers);
    let anywhere = if matchers.trim().is_empty() {
        String::new()
    } else {
        format!(",{matchers}")
    };
    let mut out = vec![
        (
            Signal::RouterHeartbeats,
            heartbeats(&ROUTER_HEARTBEATS, &anywhere),
        ),
        (
            Signal::Routers,
            format!(
                "sum by (__name__, le, model_name, target_model_name, priority, class, service_class, objective, objective_name, error_code, {TARGET_LABELS}) ({})",
                selector(router::NAMES, &anywhere)
            ),
        ),
        (Signal::Gpus, selector(gpu::NAMES, &anywhere)),
    ];
    if dialects.is_empty() {
        return out;
    }
    let names: Vec<&str> = dialects.iter().flat_map(|d| d.names()).copied().collect();
    let beats: Vec<&str> = dialects.iter().map(|d| d.heartbeat()).collect();
    out.push((Signal::Heartbeats, heartbeats(&beats, &extra)));
    out.push((Signal::Engines, selector(&names, &extra)));
    let families: Vec<String> = dialects
        .iter()
        .flat_map(|d| d.bucket_names())
        .flat_map(|bucket| {
            let base = bucket.trim_end_matches("_bucket");
            ["bucket", "sum", "count"].map(|part| format!("{base}_{part}"))
        })
        .collect();
    let families: Vec<&str> = families.iter().map(String::as_str).collect();
    out.push((
        Signal::Shapes,
        format!(
            "sum by (__name__, le, model_name, namespace) ({})",
            selector(&families, &format!("{extra}{}", without_prefill(targets)))
        ),
    ));
    out
}

const ROUTER_HEARTBEATS: [&str; 5] = [
    "llm_d_epp_ready_endpoints",
    "inference_pool_ready_pods",
    "llm_d_epp_request_total",
    "inference_objective_request_total",
    "inference_model_request_total",
];

fn selector(names: &[&str], extra: &str) -> String {
    format!("{{__name__=~\"{}\"{extra}}}", names.join("|"))
}

fn heartbeats(names: &[&str], extra: &str) -> String {
    let extra = extra.trim_start_matches(',');
    let each: Vec<String> = names
        .iter()
        .map(|name| format!("timestamp({name}{{{extra}}})"))
        .collect();
    each.join(" or ")
}

/// The given matchers, and the namespaces of the pods; an empty alternative lets series through that have no such label.
fn extra(targets: &Targets, matchers: &str) -> String {
    let mut out = String::new();
    let namespaces: BTreeSet<&str> = targets.pods.iter().map(|p| p.namespace.as_str()).collect();
    if !namespaces.is_empty()
        && namespaces.len() <= MOST_NAMESPACES
        && !matchers.contains("namespace")
    {
        let list: Vec<String> = namespaces.iter().map(|n| quoted(n)).collect();
        let _ = write!(out, ",namespace=~\"{}|\"", list.join("|"));
    }
    if !matchers.trim().is_empty() {
        let _ = write!(out, ",{matchers}");
    }
    out
}

/// Prefill pods see the same prompts as decode pods do, and a single output token each.
fn without_prefill(targets: &Targets) -> String {
    let prefill = |name: &str| {
        targets
            .variant(name)
            .is_some_and(|v| v.part == Part::Prefill)
    };
    let pods: Vec<String> = targets
        .pods
        .iter()
        .filter(|p| prefill(&p.variant))
        .map(|p| quoted(&p.name))
        .collect();
    if pods.is_empty() {
        String::new()
    } else {
        format!(",pod!~\"{}\"", pods.join("|"))
    }
}

/// `text` as a literal inside a regular expression inside a PromQL string.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => out.push(c),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\\\\\"),
            _ => {
                out.push_str("\\\\");
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::targets::{PodTarget, VariantTarget};

    #[test]
    fn queries_name_what_is_needed_and_never_a_rate() {
        let targets = Targets {
            pods: vec![
                PodTarget {
                    name: "p-0.x".into(),
                    namespace: "ml".into(),
                    variant: "p".into(),
                    engine: Some(Dialect::Vllm),
                    ..PodTarget::default()
                },
                PodTarget {
                    name: "d-0".into(),
                    namespace: "ml".into(),
                    variant: "d".into(),
                    engine: Some(Dialect::Vllm),
                    ..PodTarget::default()
                },
            ],
            variants: vec![VariantTarget {
                name: "p".into(),
                part: Part::Prefill,
                ..VariantTarget::default()
            }],
            ..Targets::default()
        };
        let batch = batch(&targets, "cluster=\"a\"");
        let of = |s| &batch.iter().find(|(signal, _)| *signal == s).unwrap().1;
        assert_eq!(
            of(Signal::Heartbeats),
            "timestamp(vllm:num_requests_running{namespace=~\"ml|\",cluster=\"a\"})"
        );
        assert!(
            of(Signal::Shapes).ends_with("namespace=~\"ml|\",cluster=\"a\",pod!~\"p-0\\\\.x\"})")
        );
        assert!(!of(Signal::Engines).contains("sglang"));
        assert!(
            batch
                .iter()
                .all(|(_, q)| !q.contains("rate(") && !q.contains("increase("))
        );
    }
}
