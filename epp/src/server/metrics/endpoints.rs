//! What is known of each endpoint, of the prefix index and of this build, when somebody asks.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use wva_epp_core::endpoint::Slot;
use wva_epp_core::inflight::Load;
use wva_epp_core::saturation::Detector;

use super::snapshot::Snapshot;

/// Who counts, by the upstream's names for its parts.
const PRODUCER: &str = "inflight-load-producer";
const DETECTOR: &str = "utilization-detector";

/// Reads the endpoints one by one.
#[derive(Debug)]
pub(super) struct Endpoints(pub Snapshot);

/// Numbers of one endpoint.
struct Row {
    pod: String,
    namespace: String,
    waiting: f64,
    requests: f64,
    tokens: f64,
}

impl Endpoints {
    fn rows(&self) -> Vec<Row> {
        let (pool, state) = (self.0.store.pool(), self.0.store.state());
        let loads: Vec<_> = pool.slots().map(|s| (s, state.inflight.load(s))).collect();
        // Requests need it, and wait for no names to be copied.
        drop(state);
        let row = |(slot, load): (Slot, Load)| {
            let endpoint = pool.endpoint(slot)?;
            Some(Row {
                pod: endpoint.pod.clone(),
                namespace: endpoint.namespace.clone(),
                waiting: pool.scraped(slot).map_or(f64::NAN, |s| s.waiting),
                requests: f64::from(load.requests),
                tokens: load.tokens,
            })
        };
        loads.into_iter().filter_map(row).collect()
    }

    /// Endpoints whose metrics are missing or too old to go by; none where nobody goes by them.
    fn stale(&self) -> f64 {
        let Detector::Utilization { stale_s, .. } = self.0.store.picker().detector else {
            return 0.0;
        };
        let (pool, now) = (self.0.store.pool(), self.0.clock.now());
        let old = |slot: &_| pool.age(*slot, now).is_none_or(|age| age > stale_s);
        pool.slots().filter(old).count() as f64
    }
}

impl Collector for Endpoints {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let rows = self.rows();
        let pool = &*self.0.pool;
        let mut queues = |metric: &str, label: &str| {
            let help = "Requests that wait at an endpoint, as it says";
            let mut encoder = encoder.encode_descriptor(metric, help, None, MetricType::Gauge)?;
            rows.iter().try_for_each(|row| {
                let labels = [("name", pool), (label, &*row.pod)];
                ConstGauge::new(row.waiting).encode(encoder.encode_family(&labels)?)
            })
        };
        queues("llm_d_epp_per_endpoint_queue_size", "model_server_endpoint")?;
        queues("inference_pool_per_pod_queue_size", "model_server_pod")?;
        let mut flying = |metric: &str, help: &str, number: fn(&Row) -> f64| {
            let mut encoder = encoder.encode_descriptor(metric, help, None, MetricType::Gauge)?;
            rows.iter().try_for_each(|row| {
                let labels = [
                    ("endpoint_name", &*row.pod),
                    ("namespace", &*row.namespace),
                    ("producer_name", PRODUCER),
                ];
                ConstGauge::new(number(row)).encode(encoder.encode_family(&labels)?)
            })
        };
        let help = "Requests sent to an endpoint and not ended";
        flying("llm_d_epp_inflight_requests", help, |row| row.requests)?;
        let help =
            "Prompt and expected output tokens of the requests sent to an endpoint and not ended";
        flying("llm_d_epp_inflight_tokens", help, |row| row.tokens)?;
        let one = |encoder: &mut DescriptorEncoder,
                   metric: &str,
                   help: &str,
                   labels: &[(&str, &str)],
                   value: f64| {
            let mut encoder = encoder.encode_descriptor(metric, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)
        };
        let blocks = self.0.store.state().prefix.len() as f64;
        let build = [
            ("commit", ""),
            ("build_ref", concat!("wva-", env!("CARGO_PKG_VERSION"))),
        ];
        for prefix in ["llm_d_epp", "inference_extension"] {
            let metric = format!("{prefix}_prefix_indexer_size");
            let help = "Blocks in the prefix index";
            let descriptor = encoder.encode_descriptor(&metric, help, None, MetricType::Gauge)?;
            ConstGauge::new(blocks).encode(descriptor)?;
            one(
                &mut encoder,
                &format!("{prefix}_info"),
                "This build",
                &build,
                1.0,
            )?;
        }
        one(
            &mut encoder,
            "llm_d_epp_flow_control_stale_endpoints",
            "Endpoints whose metrics are missing or too old",
            &[("detector", DETECTOR)],
            self.stale(),
        )
    }
}
