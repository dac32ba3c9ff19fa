//! Endpoint pickers by what they call their metrics: offered load per flow.
//!
//! Names are those of the Inference Gateway's endpoint picker (source: llm-d's and the Gateway API Inference Extension's
//! metrics pages), in three generations: `llm_d_epp_*`, before it `inference_objective_*` with
//! `inference_extension_flow_control_*`, before it `inference_model_*`. Releases export two generations side by side; only
//! the newest that a quantity has is read.
//!
//! `request_total` counts a request when it is sent on. Offered load is more: what flow control still holds, and what was
//! refused before that (resource exhausted, service unavailable). The three together are arrivals; a request passes from
//! held to sent on or refused, and is counted once.

mod names;
pub mod settings;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::engine::histogram;
use super::exposition::{self, Census, LabelSet, Syntax};
use super::tally::Tally;

pub use names::{Facet, Field, NAMES, Quantity, field};

/// What distinguishes requests in a picker's metrics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// The model that was asked for.
    pub model: String,
    /// The model that it was rewritten to, where that is reported.
    pub target: Option<String>,
    /// Class or objective, where it is reported.
    pub label: Option<String>,
    /// Priority, where it is reported.
    pub priority: Option<i64>,
}

/// Counts and gauges of one flow.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FlowReading {
    /// Counters.
    pub tally: Tally,
    /// Requests held now.
    pub held: f64,
    /// Requests sent on that have not ended.
    pub running: f64,
}

/// One picker's metrics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouterReading {
    /// By flow.
    pub flows: BTreeMap<Flow, FlowReading>,
    /// When its process started.
    pub started_at: Option<f64>,
    /// Series that were read.
    pub series: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    field: Field,
    flow: Flow,
    le: f64,
    value: f64,
}

/// Collects the series of one picker.
#[derive(Debug, Default)]
pub struct RouterReader {
    entries: Vec<Entry>,
    alive: bool,
    started_at: Option<f64>,
    series: u64,
}

impl RouterReader {
    /// Reads a whole page; `None` when nothing on it is a picker's.
    #[must_use]
    pub fn of_page(page: &[u8], syntax: Syntax) -> (Option<RouterReading>, Census) {
        let mut reader = Self::default();
        let mut seen: HashSet<(&str, &str)> = HashSet::new();
        let want = |name: &str| match field(name) {
            Some(field) => Some(Some(field)),
            None => (name == super::engine::STARTED_AT).then_some(None),
        };
        let census = exposition::read(page, syntax, want, |field, series| {
            if !seen.insert((series.name, series.labels.as_str())) {
                return;
            }
            match field {
                Some(field) => reader.take(field, &series.labels, series.value),
                None => reader.started_at = Some(series.value).filter(|v| v.is_finite()),
            }
        });
        (reader.finish(), census)
    }

    /// Takes one series. Numbers that are none, or negative, are left out.
    pub fn take(&mut self, field: Field, labels: &impl LabelSet, value: f64) {
        self.series += 1;
        self.alive = true;
        if field.quantity == Quantity::Alive || !(value.is_finite() && value >= 0.0) {
            return;
        }
        if field.quantity == Quantity::Errors
            && !labels.label("error_code").is_some_and(|c| is_refusal(&c))
        {
            return;
        }
        let le = match (
            field.facet,
            labels.label("le").and_then(|le| exposition::number(&le)),
        ) {
            (Facet::Bucket, Some(le)) => le,
            (Facet::Bucket, None) => return,
            _ => f64::NAN,
        };
        let text = |names: &[&str]| {
            names
                .iter()
                .find_map(|n| labels.label(n))
                .map(|v| v.into_owned())
        };
        let flow = Flow {
            model: text(&["model_name", "model"]).unwrap_or_default(),
            target: text(&["target_model_name"]),
            label: text(&["class", "service_class", "objective", "objective_name"]),
            priority: labels.label("priority").and_then(|p| p.parse().ok()),
        };
        self.entries.push(Entry {
            field,
            flow,
            le,
            value,
        });
    }

    /// What was collected; `None` when there was nothing of a picker's.
    #[must_use]
    pub fn finish(self) -> Option<RouterReading> {
        if !self.alive {
            return None;
        }
        let mut newest: BTreeMap<Quantity, u8> = BTreeMap::new();
        for e in &self.entries {
            let g = newest.entry(e.field.quantity).or_insert(u8::MAX);
            *g = e.field.generation.min(*g);
        }
        let counts = |e: &&Entry| newest.get(&e.field.quantity) == Some(&e.field.generation);
        let entries: Vec<&Entry> = self.entries.iter().filter(counts).collect();
        let flows: BTreeSet<&Flow> = entries.iter().map(|e| &e.flow).collect();
        let flows = flows.into_iter().map(|flow| {
            let of: Vec<&Entry> = entries
                .iter()
                .copied()
                .filter(|e| e.flow == *flow)
                .collect();
            (flow.clone(), FlowReading::of(&of))
        });
        Some(RouterReading {
            flows: flows.collect(),
            started_at: self.started_at,
            series: self.series,
        })
    }
}

impl FlowReading {
    fn of(entries: &[&Entry]) -> Self {
        let total = |quantity, facet| {
            let of = entries
                .iter()
                .filter(|e| (e.field.quantity, e.field.facet) == (quantity, facet));
            of.map(|e| e.value).sum::<f64>()
        };
        let value = |quantity| total(quantity, Facet::Value);
        let histogram = |quantity| {
            let buckets = entries
                .iter()
                .filter(|e| (e.field.quantity, e.field.facet) == (quantity, Facet::Bucket))
                .map(|e| (e.le, e.value));
            histogram(
                buckets.collect(),
                value(quantity),
                total(quantity, Facet::Sum),
            )
        };
        let (refused, held) = (value(Quantity::Errors), value(Quantity::Held));
        let input = histogram(Quantity::Input);
        let cached = entries.iter().any(|e| e.field.quantity == Quantity::Cached);
        Self {
            tally: Tally {
                arrivals: value(Quantity::Requests) + refused + held,
                refused,
                cached: total(Quantity::Cached, Facet::Sum),
                prompted: if cached { input.sum } else { 0.0 },
                input,
                output: histogram(Quantity::Output),
                ttft: histogram(Quantity::Ttft),
                tpot: histogram(Quantity::Tpot),
                ..Tally::default()
            },
            held,
            running: value(Quantity::Running),
        }
    }

    /// Adds another flow of the same stream.
    pub fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.held += other.held;
        self.running += other.running;
    }
}

/// Whether an error means that the request was turned away before it was sent on.
fn is_refusal(code: &str) -> bool {
    matches!(code, "429" | "503")
        || ["ResourceExhausted", "ServiceUnavailable", "TooManyRequests"]
            .iter()
            .any(|c| code.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_sent_on_held_and_refused_together() {
        let page = "llm_d_epp_request_total{fairness_id=\"a\",model_name=\"m\",priority=\"5\",target_model_name=\"t\"} 90\n\
            llm_d_epp_request_total{fairness_id=\"b\",model_name=\"m\",priority=\"5\",target_model_name=\"t\"} 10\n\
            inference_objective_request_total{model_name=\"m\",target_model_name=\"t\"} 100\n\
            llm_d_epp_request_error_total{error_code=\"InferencePoolResourceExhausted\",model_name=\"m\",priority=\"5\",target_model_name=\"t\"} 4\n\
            llm_d_epp_request_error_total{error_code=\"ModelServerError\",model_name=\"m\",priority=\"5\",target_model_name=\"t\"} 50\n\
            llm_d_epp_flow_control_queue_size{model_name=\"m\",priority=\"5\",target_model_name=\"t\",inference_pool=\"p\"} 6\n";
        let r = RouterReader::of_page(page.as_bytes(), Syntax::Text)
            .0
            .unwrap();
        let (flow, reading) = r.flows.iter().next().unwrap();
        assert_eq!(
            (r.flows.len(), flow.priority, flow.target.as_deref()),
            (1, Some(5), Some("t"))
        );
        assert_eq!(
            (reading.tally.arrivals, reading.tally.refused, reading.held),
            (110.0, 4.0, 6.0)
        );
    }

    #[test]
    fn older_generations_are_read_where_newer_ones_are_not() {
        let page = "inference_model_request_total{model_name=\"m\",target_model_name=\"m\"} 7\n\
            inference_objective_input_tokens_bucket{model_name=\"m\",target_model_name=\"m\",le=\"64\"} 3\n\
            inference_objective_input_tokens_bucket{model_name=\"m\",target_model_name=\"m\",le=\"+Inf\"} 5\n\
            inference_objective_input_tokens_sum{model_name=\"m\",target_model_name=\"m\"} 300\n\
            inference_objective_input_tokens_count{model_name=\"m\",target_model_name=\"m\"} 5\n\
            inference_model_input_tokens_count{model_name=\"m\",target_model_name=\"m\"} 5\n";
        let r = RouterReader::of_page(page.as_bytes(), Syntax::Text)
            .0
            .unwrap();
        let tally = &r.flows.values().next().unwrap().tally;
        assert_eq!(
            (tally.arrivals, tally.input.count, tally.input.sum),
            (7.0, 5.0, 300.0)
        );
        assert_eq!(tally.input.bounds, [64.0]);
    }

    #[test]
    fn an_idle_picker_is_alive_and_a_stranger_is_none() {
        let idle =
            RouterReader::of_page(b"llm_d_epp_ready_endpoints{name=\"p\"} 3\n", Syntax::Text).0;
        assert!(idle.unwrap().flows.is_empty());
        assert!(
            RouterReader::of_page(b"vllm:num_requests_running 3\n", Syntax::Text)
                .0
                .is_none()
        );
        for name in NAMES {
            assert!(field(name).is_some(), "{name}");
        }
    }
}
