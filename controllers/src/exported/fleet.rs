//! The variants as metrics, made at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use super::Naming;
use crate::published::{Direction, Published, PublishedVariant};

/// What is published, as metrics.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) published: watch::Receiver<Arc<Published>>,
    pub(super) naming: Naming,
}

/// A gauge that every variant has, or has where the value is known.
struct PerVariant {
    name: &'static str,
    help: &'static str,
    value: fn(&PublishedVariant) -> Option<f64>,
}

const fn per_variant(
    name: &'static str,
    help: &'static str,
    value: fn(&PublishedVariant) -> Option<f64>,
) -> PerVariant {
    PerVariant { name, help, value }
}

fn desired(v: &PublishedVariant) -> Option<f64> {
    Some(f64::from(v.report.desired))
}

fn current(v: &PublishedVariant) -> Option<f64> {
    Some(f64::from(v.report.current))
}

/// Desired / current; the desired replicas where there are none, as the predecessor had it.
fn ratio(v: &PublishedVariant) -> Option<f64> {
    Some(f64::from(v.report.desired) / f64::from(v.report.current.max(1)))
}

const REPLICAS: [PerVariant; 3] = [
    per_variant("wva_desired_replicas", "Replicas to ask for", desired),
    per_variant(
        "wva_current_replicas",
        "Replicas of the scale target",
        current,
    ),
    per_variant("wva_desired_ratio", "Desired over current replicas", ratio),
];

const LEGACY: [PerVariant; 3] = [
    per_variant(
        "inferno_desired_replicas",
        "As wva_desired_replicas",
        desired,
    ),
    per_variant(
        "inferno_current_replicas",
        "As wva_current_replicas",
        current,
    ),
    per_variant("inferno_desired_ratio", "As wva_desired_ratio", ratio),
];

const DETAILS: [PerVariant; 15] = [
    per_variant(
        "wva_hpa_value",
        "What an HPA with AverageValue 1 is told, so that it lands on the desired replicas",
        |v| Some(v.value.get()),
    ),
    per_variant("wva_ready_replicas", "Replicas that serve", |v| {
        Some(f64::from(v.report.ready))
    }),
    per_variant(
        "wva_planned_replicas",
        "Replicas of the plan, before stabilisation and limits",
        |v| Some(f64::from(v.report.planned)),
    ),
    per_variant(
        "wva_cost_dollars_per_hour",
        "Cost of the desired replicas",
        |v| v.report.cost_per_hour,
    ),
    per_variant(
        "wva_slo_margin_ratio",
        "1 - predicted / bound of the tightest objective; negative when missed",
        |v| v.report.slo_margin,
    ),
    per_variant(
        "wva_predicted_ttft_seconds",
        "Mean time to first token that the model expects",
        |v| v.report.predicted.ttft,
    ),
    per_variant(
        "wva_predicted_itl_seconds",
        "Mean gap between tokens that the model expects",
        |v| v.report.predicted.itl,
    ),
    per_variant(
        "wva_observed_ttft_seconds",
        "Mean time to first token measured",
        |v| v.report.observed.ttft,
    ),
    per_variant(
        "wva_observed_itl_seconds",
        "Mean gap between tokens measured",
        |v| v.report.observed.itl,
    ),
    per_variant(
        "wva_model_trust_ratio",
        "Trust in the fitted model, 0 to 1",
        |v| v.report.trust,
    ),
    per_variant(
        "wva_data_age_seconds",
        "Age of the newest telemetry at the last cycle",
        |v| v.report.data_age,
    ),
    per_variant(
        "wva_hpa_tolerance_ratio",
        "Largest tolerance of the HPA in front; absent where it is 0",
        |v| v.report.hpa_tolerance,
    ),
    per_variant(
        "wva_decision_timestamp_seconds",
        "Time of the decision that stands",
        |v| Some(v.decided_at),
    ),
    per_variant(
        "wva_in_control",
        "1 where the desired replicas are to be made; 0 where they are advice, paused or contested",
        |v| Some(f64::from(u8::from(v.report.in_control))),
    ),
    per_variant(
        "wva_decision_held",
        "1 where the last cycle decided nothing and an earlier decision stands",
        |v| Some(f64::from(u8::from(v.held.is_some()))),
    ),
];

/// Labels of one series.
type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Fleet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let published = Arc::clone(&self.published.borrow());
        let legacy: &[PerVariant] = if self.naming.legacy { &LEGACY } else { &[] };
        for metric in REPLICAS.iter().chain(legacy).chain(&DETAILS) {
            let series = published.variants.values().filter_map(|variant| {
                let value = (metric.value)(variant).filter(|value| value.is_finite())?;
                Some((self.labels(variant), ConstGauge::new(value)))
            });
            family(
                &mut encoder,
                (metric.name, metric.help),
                MetricType::Gauge,
                series,
            )?;
        }
        self.reasons(&mut encoder, &published)?;
        self.scalings(&mut encoder, &published)?;
        whole(&mut encoder, &published)
    }
}

impl Fleet {
    fn labels<'a>(&'a self, variant: &'a PublishedVariant) -> Labels<'a> {
        let mut labels = vec![
            ("variant_name", variant.report.key.name.as_str()),
            ("namespace", variant.report.key.namespace.as_str()),
            ("accelerator_type", variant.report.accelerator.as_str()),
        ];
        labels.extend(
            self.naming
                .instance
                .as_deref()
                .map(|i| ("controller_instance", i)),
        );
        labels
    }

    fn reasons(&self, encoder: &mut DescriptorEncoder<'_>, published: &Published) -> fmt::Result {
        let series = published.variants.values().flat_map(|variant| {
            variant.reason_codes().into_iter().map(|code| {
                let mut labels = self.labels(variant);
                labels.push(("reason", code));
                (labels, ConstGauge::new(1_i64))
            })
        });
        let named = (
            "wva_decision_reason",
            "1 for each reason of the decision that stands",
        );
        family(encoder, named, MetricType::Gauge, series)
    }

    fn scalings(&self, encoder: &mut DescriptorEncoder<'_>, published: &Published) -> fmt::Result {
        let legacy = self.naming.legacy.then_some("inferno_replica_scaling");
        for name in ["wva_replica_scaling"].into_iter().chain(legacy) {
            let series = published.variants.values().flat_map(|variant| {
                variant.scalings.iter().map(|((direction, reason), count)| {
                    let mut labels = self.labels(variant);
                    let direction = match direction {
                        Direction::Up => "up",
                        Direction::Down => "down",
                    };
                    labels.extend([("direction", direction), ("reason", reason.as_str())]);
                    (labels, ConstCounter::new(*count))
                })
            });
            let named = (name, "Changes of the desired replicas");
            family(encoder, named, MetricType::Counter, series)?;
        }
        Ok(())
    }
}

/// What concerns the fleet as a whole.
fn whole(encoder: &mut DescriptorEncoder<'_>, published: &Published) -> fmt::Result {
    let facts = [
        (
            ("wva_variants", "Variants with a decision"),
            Some(published.variants.len() as f64),
        ),
        (
            (
                "wva_fleet_variants",
                "Variants that exist, decided about or not",
            ),
            Some(published.found as f64),
        ),
        (
            ("wva_last_cycle_timestamp_seconds", "Time of the last cycle"),
            published.at,
        ),
        (
            (
                "wva_solver_gap_ratio",
                "Relative gap of the last plan, 0 when proven optimal",
            ),
            published.solver.map(|solver| solver.gap),
        ),
        (
            ("wva_solver_seconds", "Time that the last plan took"),
            published.solver.map(|solver| solver.seconds),
        ),
    ];
    for ((name, help), value) in facts {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
    }
    Ok(())
}

fn family<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&'static str, &'static str),
    kind: MetricType,
    series: impl IntoIterator<Item = (Labels<'a>, M)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in series {
        value.encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}
