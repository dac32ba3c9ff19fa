//! The pool and the queue, as they are when somebody asks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::clock::Clock;
use crate::coupling::state::Phase;
use crate::server::admission::Admission;
use crate::store::Store;

/// Reads the pool and the queue.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub pool: Arc<str>,
    pub store: Arc<Store>,
    pub admission: Arc<Admission>,
    pub clock: Clock,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// Mean and standard deviation of what is known.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values.filter(|v| !v.is_nan()) {
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    if count == 0.0 {
        return [0.0, 0.0];
    }
    let mean: f64 = sum / count;
    [mean, f64::max(squares / count - mean * mean, 0.0).sqrt()]
}

impl Snapshot {
    /// How it stands with the controller.
    fn controller(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let status = self.store.controller();
        let (phase, learned_at) = status.phase();
        let mut gauge = |metric: &str, help: &str, series: &[(&str, &str, f64)]| {
            let mut encoder = encoder.encode_descriptor(metric, help, None, MetricType::Gauge)?;
            series.iter().try_for_each(|(label, name, value)| {
                let labels = [(*label, *name)];
                ConstGauge::new(*value).encode(encoder.encode_family(&labels)?)
            })
        };
        let holds = Phase::ALL.map(|p| ("state", p.name(), f64::from(u8::from(p == phase))));
        let help = "How it stands with the controller: 1 for the state that holds";
        gauge("wva_epp_controller_state", help, &holds)?;
        let (went_well, failed) = status.rounds();
        let rounds = [
            ("outcome", "success", went_well as f64),
            ("outcome", "failure", failed as f64),
        ];
        let help = "Rounds with the controller since the start, by outcome";
        gauge("wva_epp_controller_rounds", help, &rounds)?;
        let age = learned_at.map_or(f64::NAN, |at| self.clock.now() - at);
        let help = "Age of what the controller said last";
        gauge(
            "wva_epp_controller_age_seconds",
            help,
            &[("name", &*self.pool, age)],
        )
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.controller(&mut encoder)?;
        let pool = self.store.pool();
        let scraped: Vec<_> = pool.slots().filter_map(|slot| pool.scraped(slot)).collect();
        let columns = [
            ("queue_size", spread(scraped.iter().map(|s| s.waiting))),
            (
                "running_requests",
                spread(scraped.iter().map(|s| s.running)),
            ),
            (
                "kv_cache_utilization",
                spread(scraped.iter().map(|s| s.kv_usage)),
            ),
        ];
        let name = [("name", &*self.pool)];
        let mut one = |metric: &str, help: &str, labels: &[(&str, &str)], value: f64| {
            let mut encoder = encoder.encode_descriptor(metric, help, None, MetricType::Gauge)?;
            let labels: Vec<(String, String)> = labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)
        };
        for (column, [mean, deviation]) in columns {
            for prefix in ["llm_d_epp", "inference_pool"] {
                one(
                    &format!("{prefix}_average_{column}"),
                    "Mean over endpoints",
                    &name,
                    mean,
                )?;
            }
            one(
                &format!("llm_d_epp_std_dev_{column}"),
                "Standard deviation over endpoints",
                &name,
                deviation,
            )?;
        }
        let endpoints = pool.len() as f64;
        drop(pool);
        for metric in ["llm_d_epp_ready_endpoints", "inference_pool_ready_pods"] {
            one(metric, "Endpoints that take requests", &name, endpoints)?;
        }
        let saturation = self.admission.saturation(self.clock.now());
        for prefix in ["llm_d_epp", "inference_extension"] {
            let metric = format!("{prefix}_flow_control_pool_saturation");
            one(
                &metric,
                "Load over capacity: 1 is full",
                &[("inference_pool", &self.pool)],
                saturation,
            )?;
        }
        let (held, asleep) = self.admission.held();
        let held: usize = held.iter().map(|(_, requests, _)| requests).sum();
        let waits = if asleep { held } else { 0 };
        one(
            "wva_epp_held_requests",
            "Requests that wait",
            &[("inference_pool", &self.pool)],
            held as f64,
        )?;
        one(
            "wva_epp_held_without_endpoints",
            "Requests that wait for the first endpoint to start",
            &[("inference_pool", &self.pool)],
            waits as f64,
        )
    }
}
