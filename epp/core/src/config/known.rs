//! Every plugin type that the upstream knows (llm-d-router and its predecessors, and gateway-api-inference-extension),
//! and what becomes of it here.

/// What becomes of a plugin type here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Works,
    /// It goes by an old name; this is the new one.
    Renamed(&'static str),
    /// It is accepted and does nothing, since what it is for happens anyway: why.
    Needless(&'static str),
    /// It is refused: what to use instead.
    Unsupported(&'static str),
}

use Standing::{Needless, Renamed, Unsupported, Works};

const PRECISE: &str = "use prefix-cache-scorer: it needs no tokenizer and no KV events";
const MULTI_CLUSTER: &str =
    "one pool is one cluster here: use the plugin of the same name without `multicluster-`";
const TOPOLOGY: &str = "use label-selector-filter on a zone label";
const ATTRIBUTE: &str =
    "use queue-scorer, running-requests-size-scorer or kv-cache-utilization-scorer";
const SESSION_DATA: &str = "use session-affinity-scorer, which reads the session's token itself";
const AGENTS: &str = "use round-robin-fairness-policy with a fairness id per program";
const MODELS: &str = "leave it out: /v1/models is passed on to a server";
const EVICTION: &str = "leave it out: running requests are never evicted; use priority bands";
const HOLDBACK: &str = "use static-usage-limit-policy and priority bands";
const PARSER: &str = "use openai-parser, or passthrough-parser for bodies that are not read";
const COUNTED: &str = "requests in flight are always counted";
const PREDICTED: &str = "latency is predicted from the variants' fitted models";

/// Type names and their standing, by kind.
const KNOWN: &[(&str, Standing)] = &[
    // Filters.
    ("decode-filter", Works),
    ("prefill-filter", Works),
    ("encode-filter", Works),
    ("label-selector-filter", Works),
    ("by-label-selector", Renamed("label-selector-filter")),
    ("by-label", Renamed("label-selector-filter")),
    ("prefix-cache-affinity-filter", Works),
    ("slo-headroom-tier-filter", Works),
    ("session-affinity-filter", Works),
    ("header-based-testing-filter", Works),
    (
        "utilization-filter",
        Unsupported("use utilization-detector, which filters too"),
    ),
    (
        "active-request-filter",
        Unsupported("use concurrency-detector, which filters too"),
    ),
    ("endpoint-attribute-filter", Unsupported(ATTRIBUTE)),
    ("topology-affinity-filter", Unsupported(TOPOLOGY)),
    (
        "lora-residency-filter",
        Unsupported("use lora-affinity-scorer"),
    ),
    (
        "served-model-filter",
        Unsupported("use one pool for each base model"),
    ),
    (
        "model-affinity-filter",
        Unsupported("use one pool for each base model"),
    ),
    (
        "multicluster-session-affinity-filter",
        Unsupported(MULTI_CLUSTER),
    ),
    (
        "low-queue",
        Unsupported("use utilization-detector, which filters too"),
    ),
    ("least-queue", Unsupported("use queue-scorer")),
    (
        "least-kv-cache",
        Unsupported("use kv-cache-utilization-scorer"),
    ),
    ("lora-affinity", Unsupported("use lora-affinity-scorer")),
    // Scorers.
    ("queue-scorer", Works),
    ("running-requests-size-scorer", Works),
    ("kv-cache-utilization-scorer", Works),
    ("kv-cache-scorer", Renamed("kv-cache-utilization-scorer")),
    ("load-aware-scorer", Works),
    ("prefix-cache-scorer", Works),
    ("lora-affinity-scorer", Works),
    ("active-request-scorer", Works),
    ("token-load-scorer", Works),
    ("no-hit-lru-scorer", Works),
    ("session-affinity-scorer", Works),
    ("latency-scorer", Works),
    ("slo-scorer", Works),
    ("context-length-aware", Works),
    ("header-label-affinity-scorer", Works),
    ("precise-prefix-cache-scorer", Unsupported(PRECISE)),
    ("endpoint-attribute-scorer", Unsupported(ATTRIBUTE)),
    ("metric-scorer", Unsupported(ATTRIBUTE)),
    ("topology-affinity-scorer", Unsupported(TOPOLOGY)),
    (
        "mm-cache-affinity-scorer",
        Unsupported("use prefix-cache-scorer"),
    ),
    ("predicted-latency-scorer", Renamed("latency-scorer")),
    ("slo-aware-routing", Renamed("latency-scorer")),
    ("multicluster-queue-scorer", Unsupported(MULTI_CLUSTER)),
    (
        "multicluster-kv-cache-utilization-scorer",
        Unsupported(MULTI_CLUSTER),
    ),
    (
        "multicluster-prefix-cache-scorer",
        Unsupported(MULTI_CLUSTER),
    ),
    // Pickers.
    ("max-score-picker", Works),
    ("random-picker", Works),
    ("weighted-random-picker", Works),
    (
        "load-aware-picker",
        Unsupported("use weighted-random-picker with load-aware-scorer"),
    ),
    // Profile handlers and deciders.
    ("single-profile-handler", Works),
    ("disagg-profile-handler", Works),
    ("pd-profile-handler", Renamed("disagg-profile-handler")),
    ("data-parallel-profile-handler", Works),
    (
        "header-profile-handler",
        Unsupported("use label-selector-filter and one pool for each header value"),
    ),
    (
        "header-phase-profile-handler",
        Unsupported("use disagg-profile-handler"),
    ),
    (
        "disagg-headers-handler",
        Needless("disagg-profile-handler sets the headers itself"),
    ),
    (
        "prefill-header-handler",
        Needless("disagg-profile-handler sets the headers itself"),
    ),
    ("prefix-based-pd-decider", Works),
    ("always-disagg-pd-decider", Works),
    ("always-disagg-multimodal-decider", Works),
    // Producers of data.
    ("approx-prefix-cache-producer", Works),
    ("inflight-load-producer", Needless(COUNTED)),
    ("predicted-latency-producer", Needless(PREDICTED)),
    (
        "token-producer",
        Needless("tokens are estimated from bytes"),
    ),
    ("tokenizer", Needless("tokens are estimated from bytes")),
    ("session-id-producer", Unsupported(SESSION_DATA)),
    (
        "mm-embeddings-cache-producer",
        Unsupported("use approx-prefix-cache-producer"),
    ),
    (
        "precise-prefix-cache-producer",
        Unsupported("use approx-prefix-cache-producer"),
    ),
    (
        "burst-prefix-cache-producer",
        Unsupported("use approx-prefix-cache-producer"),
    ),
    (
        "p2p-source-producer",
        Unsupported("use approx-prefix-cache-producer"),
    ),
    (
        "multicluster-approx-prefix-cache-producer",
        Unsupported(MULTI_CLUSTER),
    ),
    // Flow control.
    ("global-strict-fairness-policy", Works),
    ("round-robin-fairness-policy", Works),
    ("program-aware-fairness", Unsupported(AGENTS)),
    ("fcfs-ordering-policy", Works),
    ("edf-ordering-policy", Works),
    ("slo-deadline-ordering-policy", Works),
    ("static-usage-limit-policy", Works),
    ("priority-holdback-policy", Unsupported(HOLDBACK)),
    ("soft-reflective-ceiling-policy", Unsupported(HOLDBACK)),
    ("sheddable-eviction-filter", Unsupported(EVICTION)),
    (
        "priority-then-time-eviction-ordering",
        Unsupported(EVICTION),
    ),
    ("utilization-detector", Works),
    ("concurrency-detector", Works),
    ("slo-concurrency-detector", Works),
    // Admission.
    ("latency-slo-admitter", Works),
    (
        "probabilistic-admitter",
        Unsupported("use latency-slo-admitter"),
    ),
    // Data layer.
    ("metrics-data-source", Works),
    ("core-metrics-extractor", Works),
    ("file-discovery", Works),
    (
        "k8s-notification-source",
        Needless("pods are watched anyway"),
    ),
    (
        "endpoint-notification-source",
        Needless("pods are watched anyway"),
    ),
    ("models-data-source", Unsupported(MODELS)),
    ("model-server-protocol-models", Unsupported(MODELS)),
    ("models-responder", Unsupported(MODELS)),
    ("topology-extractor", Unsupported(TOPOLOGY)),
    ("dcgm-data-source", Unsupported(ATTRIBUTE)),
    ("dcgm-extractor", Unsupported(ATTRIBUTE)),
    (
        "multicluster-metrics-data-source",
        Unsupported(MULTI_CLUSTER),
    ),
    ("multicluster-metrics-extractor", Unsupported(MULTI_CLUSTER)),
    ("multicluster-file-discovery", Unsupported(MULTI_CLUSTER)),
    // Requests and responses.
    ("openai-parser", Works),
    ("anthropic-parser", Works),
    ("vllmhttp-parser", Works),
    ("passthrough-parser", Works),
    ("vllmgrpc-parser", Unsupported(PARSER)),
    ("sglanghttp-parser", Unsupported(PARSER)),
    ("vertexai-parser", Unsupported(PARSER)),
    (
        "request-attribute-reporter",
        Unsupported("use the exported metrics"),
    ),
    ("destination-endpoint-served-verifier", Works),
    ("agent-identity", Unsupported(AGENTS)),
    (
        "output-length-bucket",
        Unsupported("use the request's max_tokens"),
    ),
    (
        "disaggregatedset-rollout-screener",
        Unsupported("use label-selector-filter on the revision label"),
    ),
];

/// All plugin types that are known, and what becomes of each.
#[must_use]
pub const fn known_plugins() -> &'static [(&'static str, Standing)] {
    KNOWN
}

/// The standing of a type; `None` if nobody knows it.
pub(super) fn standing(name: &str) -> Option<Standing> {
    KNOWN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, standing)| *standing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_there_once_and_lead_to_ones_that_work() {
        for (i, (name, what)) in KNOWN.iter().enumerate() {
            assert!(
                KNOWN[i + 1..].iter().all(|(other, _)| other != name),
                "{name}"
            );
            if let Renamed(to) = what {
                assert_eq!(standing(to), Some(Works), "{name}");
            }
        }
    }
}
