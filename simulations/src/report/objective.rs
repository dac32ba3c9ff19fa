//! Objectives of service classes in words, and which of a run's figures they speak of.

use wva_models::catalogue::Catalogue;
use wva_models::service_class::{Bound, Promise, ServiceClass, Slo, Statistic};

use super::figures::{digits, duration, latency};
use crate::result::LatencySummary;

/// The class of this name, exactly as results spell it.
pub(super) fn class<'a>(catalogue: &'a Catalogue, name: &str) -> Option<&'a ServiceClass> {
    catalogue.classes.iter().find(|c| c.name == name)
}

/// The bounds of an interactive class; none for other classes.
pub(super) fn slo(catalogue: &Catalogue, name: &str) -> Slo {
    let slo = class(catalogue, name).and_then(|c| c.slo().copied());
    slo.unwrap_or_default()
}

/// `p99`, `mean`.
pub(super) fn statistic(statistic: Statistic) -> String {
    match statistic {
        Statistic::Mean => "mean".to_owned(),
        Statistic::Quantile(q) => format!("p{}", digits(100.0 * q, 5)),
    }
}

/// `≤ 1 s + 300 ms per 1000 input tokens`.
pub(super) fn limit(bound: &Bound) -> String {
    let base = latency(bound.limit.get() * 1e3);
    let per_token = bound.per_input_token.get();
    if per_token > 0.0 {
        let more = latency(per_token * 1e6);
        format!("≤ {base} + {more} per 1000 input tokens")
    } else {
        format!("≤ {base}")
    }
}

/// A class's promise: `TTFT p99 ≤ 1 s, ITL p99 ≤ 75 ms`.
pub(super) fn promise(class: &ServiceClass) -> String {
    match &class.promise {
        Promise::Batch { deadline } => format!("finished within {}", duration(deadline.get())),
        Promise::Interactive(slo) => {
            let bounds = [("TTFT", slo.ttft), ("ITL", slo.itl), ("E2E", slo.e2e)];
            let words = bounds.iter().filter_map(|(name, bound)| {
                let b = bound.as_ref()?;
                Some(format!("{name} {} {}", statistic(b.statistic), limit(b)))
            });
            let words: Vec<String> = words.collect();
            if words.is_empty() {
                "best effort".to_owned()
            } else {
                words.join(", ")
            }
        }
    }
}

/// The figure that a bound speaks of, ms; `None` where the summary lacks that statistic.
pub(super) fn measured(summary: &LatencySummary, statistic: Statistic) -> Option<f64> {
    match statistic {
        Statistic::Mean => Some(summary.mean),
        Statistic::Quantile(q) => {
            let known = [
                (0.5, summary.p50),
                (0.9, summary.p90),
                (0.95, summary.p95),
                (0.99, summary.p99),
            ];
            known
                .iter()
                .find(|(k, _)| (k - q).abs() < 1e-9)
                .map(|k| k.1)
        }
    }
}
