//! Prometheus metrics under the upstream's names, so that its dashboards, alerts and autoscalers read these too.
//!
//! Each is there under its name of today (`llm_d_epp_…`) and under the one that came before it (`inference_objective_…`,
//! `inference_pool_…`, `inference_extension_…`): two names for one number, not two numbers. What the pool and the queue
//! look like is read when somebody asks (`Snapshot`). The number of flows is bounded, since clients choose model names.

mod endpoints;
mod snapshot;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::admission::Admission;
use super::series::Series;
use super::tally::Told;
use crate::clock::Clock;
use crate::store::Store;
use endpoints::Endpoints;
use snapshot::Snapshot;

/// Flows with metrics of their own; further ones share one.
const MOST_FLOWS: usize = 1000;

/// Labels of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Flow {
    pub model_name: String,
    pub target_model_name: String,
    pub fairness_id: String,
    pub priority: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FlowError {
    #[prometheus(flatten)]
    flow: Flow,
    error_code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FlowStreaming {
    #[prometheus(flatten)]
    flow: Flow,
    streaming: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FlowPool {
    #[prometheus(flatten)]
    flow: Flow,
    inference_pool: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    status: &'static str,
    target_model_name: String,
    endpoint_name: String,
    namespace: String,
    port: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unserved {
    reason: &'static str,
}

type Histograms<S> = Family<S, Histogram, fn() -> Histogram>;

fn histograms<S: Clone + Eq + Hash>(make: fn() -> Histogram) -> Histograms<S> {
    Family::new_with_constructor(make)
}

fn of(buckets: &[f64]) -> Histogram {
    Histogram::new(buckets.iter().copied())
}

fn seconds() -> Histogram {
    of(&[
        0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
        10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 600.0, 1200.0, 1800.0,
        2700.0, 3600.0,
    ])
}

fn short_seconds() -> Histogram {
    of(&[
        1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1,
    ])
}

fn per_token() -> Histogram {
    of(&[
        5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4, 0.5,
        0.6, 0.8, 1.0, 2.0, 5.0, 10.0,
    ])
}

fn waits() -> Histogram {
    of(&[
        1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
        120.0, 300.0, 600.0,
    ])
}

fn tokens() -> Histogram {
    Histogram::new(std::iter::once(1.0).chain((3..=20).map(|power| f64::from(1_u32 << power))))
}

fn bytes() -> Histogram {
    Histogram::new((6..=30).map(|power| f64::from(1_u32 << power)))
}

/// All metrics.
pub struct Metrics {
    registry: Registry,
    pool_name: Arc<str>,
    flows: RwLock<HashMap<u64, Arc<Series>>>,
    requests: Family<Flow, Counter>,
    errors: Family<FlowError, Counter>,
    running: Family<Flow, Gauge>,
    duration: Histograms<Flow>,
    request_size: Histograms<Flow>,
    response_size: Histograms<Flow>,
    input: Histograms<Flow>,
    output: Histograms<Flow>,
    cached: Histograms<Flow>,
    normalized: Histograms<Flow>,
    first_token: Histograms<FlowStreaming>,
    per_token: Histograms<Flow>,
    queued: Family<FlowPool, Gauge>,
    queued_bytes: Family<FlowPool, Gauge>,
    wait: Histograms<FlowPool>,
    attempts: Family<Attempt, Counter>,
    unserved: Family<Unserved, Counter>,
    /// Deciding, seconds: the body has come, the answer is made.
    pub decision: Histogram,
    /// Streams that are open; of the gateway, requests without an answer.
    pub streams: Gauge,
}

impl Metrics {
    /// Metrics of the pool of this name.
    #[must_use]
    pub fn new(pool: &str, store: Arc<Store>, admission: Arc<Admission>, clock: Clock) -> Self {
        let pool_name: Arc<str> = pool.into();
        let mut metrics = Self {
            registry: Registry::default(),
            flows: RwLock::default(),
            requests: Family::default(),
            errors: Family::default(),
            running: Family::default(),
            duration: histograms(seconds),
            request_size: histograms(bytes),
            response_size: histograms(bytes),
            input: histograms(tokens),
            output: histograms(tokens),
            cached: histograms(tokens),
            normalized: histograms(per_token),
            first_token: histograms(seconds),
            per_token: histograms(per_token),
            queued: Family::default(),
            queued_bytes: Family::default(),
            wait: histograms(waits),
            attempts: Family::default(),
            unserved: Family::default(),
            decision: short_seconds(),
            streams: Gauge::default(),
            pool_name: Arc::clone(&pool_name),
        };
        metrics.register();
        let snapshot = Snapshot {
            pool: pool_name,
            store,
            admission,
            clock,
        };
        let endpoints = Endpoints(snapshot.clone());
        metrics.registry.register_collector(Box::new(endpoints));
        metrics.registry.register_collector(Box::new(snapshot));
        metrics
    }

    fn register(&mut self) {
        let mut both =
            |names: [&str; 2], help: &str, metric: &dyn Fn(&mut Registry, &str, &str)| {
                for name in names.into_iter().filter(|n| !n.is_empty()) {
                    metric(&mut self.registry, name, help);
                }
            };
        fn add<M: Metric + Clone>(metric: &M) -> impl Fn(&mut Registry, &str, &str) {
            let metric = metric.clone();
            move |registry, name, help| registry.register(name, help, metric.clone())
        }
        both(
            ["llm_d_epp_request", "inference_objective_request"],
            "Requests",
            &add(&self.requests),
        );
        both(
            [
                "llm_d_epp_request_error",
                "inference_objective_request_error",
            ],
            "Requests that failed or were refused",
            &add(&self.errors),
        );
        both(
            [
                "llm_d_epp_request_running",
                "inference_objective_running_requests",
            ],
            "Requests sent and not ended",
            &add(&self.running),
        );
        both(
            [
                "llm_d_epp_request_duration_seconds",
                "inference_objective_request_duration_seconds",
            ],
            "Arrival to the end of the answer",
            &add(&self.duration),
        );
        both(
            [
                "llm_d_epp_request_size_bytes",
                "inference_objective_request_sizes",
            ],
            "Size of request bodies",
            &add(&self.request_size),
        );
        both(
            [
                "llm_d_epp_response_size_bytes",
                "inference_objective_response_sizes",
            ],
            "Size of answers",
            &add(&self.response_size),
        );
        both(
            [
                "llm_d_epp_request_input_tokens",
                "inference_objective_input_tokens",
            ],
            "Prompt tokens, as the server counts them",
            &add(&self.input),
        );
        both(
            [
                "llm_d_epp_request_output_tokens",
                "inference_objective_output_tokens",
            ],
            "Output tokens, as the server counts them",
            &add(&self.output),
        );
        both(
            [
                "llm_d_epp_request_cached_tokens",
                "inference_objective_prompt_cached_tokens",
            ],
            "Prompt tokens from the prefix cache, as the server counts them",
            &add(&self.cached),
        );
        both(
            [
                "llm_d_epp_request_ntpot_seconds",
                "inference_objective_normalized_time_per_output_token_seconds",
            ],
            "Duration over output tokens",
            &add(&self.normalized),
        );
        both(
            [
                "llm_d_epp_request_ttft_seconds",
                "inference_objective_request_ttft_seconds",
            ],
            "Arrival to the first byte of the answer's body",
            &add(&self.first_token),
        );
        both(
            ["llm_d_epp_request_streaming_tpot_seconds", ""],
            "Time per output token after the first of streams",
            &add(&self.per_token),
        );
        both(
            [
                "llm_d_epp_flow_control_queue_size",
                "inference_extension_flow_control_queue_size",
            ],
            "Requests that are held back",
            &add(&self.queued),
        );
        both(
            [
                "llm_d_epp_flow_control_queue_bytes",
                "inference_extension_flow_control_queue_bytes",
            ],
            "Bytes of requests that are held back",
            &add(&self.queued_bytes),
        );
        both(
            [
                "llm_d_epp_flow_control_request_queue_duration_seconds",
                "inference_extension_flow_control_request_queue_duration_seconds",
            ],
            "Time that requests were held back",
            &add(&self.wait),
        );
        both(
            [
                "llm_d_epp_scheduler_attempts",
                "inference_extension_scheduler_attempts",
            ],
            "Choices by outcome and endpoint",
            &add(&self.attempts),
        );
        both(
            [
                "llm_d_epp_scheduler_e2e_duration_seconds",
                "inference_extension_scheduler_e2e_duration_seconds",
            ],
            "Time from a whole request to its choice",
            &add(&self.decision),
        );
        both(
            ["wva_gateway_unserved_attempts", ""],
            "Requests that a server did not take, whether or not another one did",
            &add(&self.unserved),
        );
        both(
            ["llm_d_epp_extproc_streams_inflight", ""],
            "Streams from the proxy that are open",
            &add(&self.streams),
        );
    }

    /// The metrics of a flow.
    pub fn flow(&self, model: &str, target: &str, fairness: &str, priority: i32) -> Arc<Series> {
        let mut hasher = DefaultHasher::new();
        (model, target, fairness, priority).hash(&mut hasher);
        let key = hasher.finish();
        let flows = self.flows.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = flows.get(&key) {
            return Arc::clone(series);
        }
        let room = flows.len() < MOST_FLOWS;
        drop(flows);
        let name = |name: &str| if room { name } else { "other" }.to_owned();
        let labels = Flow {
            model_name: name(model),
            target_model_name: name(target),
            fairness_id: name(fairness),
            priority: if room { priority } else { 0 },
        };
        let series = Arc::new(self.series(&labels));
        if room {
            let mut flows = self.flows.write().unwrap_or_else(PoisonError::into_inner);
            return Arc::clone(flows.entry(key).or_insert(series));
        }
        series
    }

    /// All flows that have metrics of their own.
    #[must_use]
    pub fn flows(&self) -> Vec<Arc<Series>> {
        let flows = self.flows.read().unwrap_or_else(PoisonError::into_inner);
        flows.values().cloned().collect()
    }

    fn series(&self, flow: &Flow) -> Series {
        let pool = FlowPool {
            flow: flow.clone(),
            inference_pool: Arc::clone(&self.pool_name),
        };
        let streaming = |streaming| FlowStreaming {
            flow: flow.clone(),
            streaming,
        };
        let [bytes_per_token, output_tokens] = Series::unknown();
        Series {
            labels: flow.clone(),
            requests: self.requests.get_or_create_owned(flow),
            running: self.running.get_or_create_owned(flow),
            duration: self.duration.get_or_create_owned(flow),
            request_size: self.request_size.get_or_create_owned(flow),
            response_size: self.response_size.get_or_create_owned(flow),
            input: self.input.get_or_create_owned(flow),
            output: self.output.get_or_create_owned(flow),
            cached: self.cached.get_or_create_owned(flow),
            normalized: self.normalized.get_or_create_owned(flow),
            first_token: [
                self.first_token.get_or_create_owned(&streaming("false")),
                self.first_token.get_or_create_owned(&streaming("true")),
            ],
            per_token: self.per_token.get_or_create_owned(flow),
            queued: self.queued.get_or_create_owned(&pool),
            queued_bytes: self.queued_bytes.get_or_create_owned(&pool),
            wait: self.wait.get_or_create_owned(&pool),
            bytes_per_token,
            output_tokens,
            told: Told::default(),
        }
    }

    /// Counts a request that failed or was refused.
    pub fn failed(&self, series: &Series, error_code: &'static str) {
        let flow = series.labels.clone();
        let labels = FlowError { flow, error_code };
        self.errors.get_or_create(&labels).inc();
        // Not what the client did: mistaken requests, and those that it broke off.
        if matches!(
            error_code,
            "ResourceExhausted" | "ServiceUnavailable" | "ModelServerError"
        ) {
            series.told.lost.fetch_add(1, Relaxed);
        }
    }

    /// Counts a choice. `endpoint` is (name, namespace, port) of the chosen one.
    pub fn attempted(&self, series: &Series, endpoint: Option<(&str, &str, u16)>) {
        let (name, namespace, port) = endpoint.map_or_else(
            || (String::new(), String::new(), String::new()),
            |(name, namespace, port)| (name.to_owned(), namespace.to_owned(), port.to_string()),
        );
        let labels = Attempt {
            status: if endpoint.is_some() {
                "success"
            } else {
                "failure"
            },
            target_model_name: series.labels.target_model_name.clone(),
            endpoint_name: name,
            namespace,
            port,
        };
        self.attempts.get_or_create(&labels).inc();
    }

    /// Counts a request that a server did not take.
    pub fn unserved(&self, reason: &'static str) {
        self.unserved.get_or_create(&Unserved { reason }).inc();
    }

    /// All of them, as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
