//! From what is published to metric values.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use super::selector::Selector;
use super::{GROUP, VERSION};
use crate::published::tolerance::Milli;
use crate::published::{Published, PublishedVariant};

/// A metric that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    name: &'static str,
    quantity: Quantity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    /// What takes an HPA with `AverageValue: "1"` to the desired replicas.
    Desired,
    /// `status.replicas` of the scale target.
    Current,
    /// Desired / current, for `Value: "1"`; the desired replicas where there are none.
    Ratio,
}

const METRICS: [Metric; 6] = [
    Metric {
        name: "wva_desired_replicas",
        quantity: Quantity::Desired,
    },
    Metric {
        name: "wva_current_replicas",
        quantity: Quantity::Current,
    },
    Metric {
        name: "wva_desired_ratio",
        quantity: Quantity::Ratio,
    },
    // As the predecessor called them before its 0.4: HPAs that ask for these names go on working.
    Metric {
        name: "inferno_desired_replicas",
        quantity: Quantity::Desired,
    },
    Metric {
        name: "inferno_current_replicas",
        quantity: Quantity::Current,
    },
    Metric {
        name: "inferno_desired_ratio",
        quantity: Quantity::Ratio,
    },
];

impl Metric {
    /// The metric of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        METRICS.into_iter().find(|metric| metric.name == name)
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        METRICS.into_iter().map(|metric| metric.name)
    }

    fn of(self, variant: &PublishedVariant) -> Milli {
        let report = &variant.report;
        match self.quantity {
            Quantity::Desired => variant.value,
            Quantity::Current => Milli::whole(report.current),
            // Rounded down, so that ratio · replicas, rounded up by the HPA, does not exceed what is desired.
            Quantity::Ratio => {
                Milli(Milli::whole(report.desired).0 / u64::from(report.current.max(1)))
            }
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Metric.
    pub metric: Metric,
    /// Which series.
    pub selector: &'a Selector,
    /// Value of the `controller_instance` label, if there is one.
    pub instance: Option<&'a str>,
}

/// `ExternalMetricValueList`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueList {
    kind: &'static str,
    api_version: String,
    metadata: Empty,
    /// The values.
    pub items: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Empty {}

/// `ExternalMetricValue`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Value {
    /// Name of the metric.
    pub metric_name: &'static str,
    /// Labels of the series.
    pub metric_labels: Labels,
    /// Time of the decision, RFC 3339.
    pub timestamp: String,
    /// The value as a quantity.
    pub value: String,
}

/// Labels of a series. Both generations of the predecessor's labels are there, so that selectors written for either match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Labels {
    variant_name: String,
    namespace: String,
    /// What Prometheus makes of `namespace` when it scrapes us in another one: selectors written for the adapter say so.
    exported_namespace: String,
    accelerator_type: String,
    model_name: String,
    target_name: String,
    target_kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    controller_instance: Option<String>,
}

impl Labels {
    fn of(variant: &PublishedVariant, instance: Option<&str>) -> Self {
        let report = &variant.report;
        Self {
            variant_name: report.key.name.clone(),
            namespace: report.key.namespace.clone(),
            exported_namespace: report.key.namespace.clone(),
            accelerator_type: report.accelerator.clone(),
            model_name: report.model.clone(),
            target_name: report.target.name.clone(),
            target_kind: report.target.kind.clone(),
            controller_instance: instance.map(str::to_owned),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        match name {
            "variant_name" => Some(&self.variant_name),
            "namespace" => Some(&self.namespace),
            "exported_namespace" => Some(&self.exported_namespace),
            "accelerator_type" => Some(&self.accelerator_type),
            "model_name" => Some(&self.model_name),
            "target_name" => Some(&self.target_name),
            "target_kind" => Some(&self.target_kind),
            "controller_instance" => self.controller_instance.as_deref(),
            _ => None,
        }
    }
}

/// The values asked for; none for a variant that was never decided, which the HPA takes as "unknown" and not as 0.
#[must_use]
pub fn values(published: &Published, ask: &Ask<'_>) -> ValueList {
    let items = published
        .variants
        .values()
        .filter(|variant| variant.report.key.namespace == ask.namespace)
        .map(|variant| (Labels::of(variant, ask.instance), variant))
        .filter(|(labels, _)| ask.selector.matches(|name| labels.get(name)))
        .map(|(metric_labels, variant)| Value {
            metric_name: ask.metric.name,
            metric_labels,
            timestamp: rfc3339(variant.decided_at),
            value: ask.metric.of(variant).to_string(),
        })
        .collect();
    ValueList {
        kind: "ExternalMetricValueList",
        api_version: format!("{GROUP}/{VERSION}"),
        metadata: Empty {},
        items,
    }
}

fn rfc3339(seconds: f64) -> String {
    DateTime::from_timestamp(seconds as i64, 0)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}
