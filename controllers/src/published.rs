//! What the last cycle decided, as plain data that everything facing outwards reads.
//!
//! ```text
//! cycle ─► Publisher::publish(Report) ─► watch::Receiver<Arc<Published>> ─┬─► external metrics API ─► HPA
//!                                                                        ├─► KEDA scaler
//!                                                                        └─► Prometheus export
//! ```
//! One immutable snapshot per cycle, replaced as a whole: a reader never sees half of one cycle and half of another, and
//! none of the readers can hold up the cycle. What is published is derived here and nowhere else, so the HPA, KEDA and
//! Prometheus cannot disagree. A variant whose data is held keeps its last value; one that was never decided has none, and
//! a variant that a report no longer names is gone.

pub mod tolerance;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;
use wva_models::variant::Role;
use wva_optimizer::decision::Reason;

use tolerance::{Milli, value_for_hpa};

/// Names one variant in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct VariantKey {
    /// Namespace of the variant.
    pub namespace: String,
    /// Name of the variant in its namespace.
    pub name: String,
}

/// The object whose replicas are scaled, in the variant's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScaleTarget {
    /// API group and version, as `apps/v1`.
    pub api_version: String,
    /// Kind, as `Deployment`.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// Mean latencies in seconds; absent where unknown.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Latencies {
    /// Mean arrival to first token, seconds.
    pub ttft: Option<f64>,
    /// Mean gap between output tokens, seconds.
    pub itl: Option<f64>,
}

/// What a cycle decided for one variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariantReport {
    /// Which variant.
    pub key: VariantKey,
    /// What is scaled.
    pub target: ScaleTarget,
    /// Model identifier.
    pub model: String,
    /// Accelerator name.
    pub accelerator: String,
    /// Part of serving that it does.
    pub role: Role,
    /// `status.replicas` of the scale target: what the HPA divides by.
    pub current: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas to ask for now.
    pub desired: u32,
    /// Replicas that the plan wants, before stabilisation and limits.
    pub planned: u32,
    /// Cost of `desired` replicas, $/h; absent where no price is known.
    pub cost_per_hour: Option<f64>,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
    /// 1 − latency / bound of the model's tightest objective, as measured in the last minutes: negative when it is missed;
    /// absent without an objective or without enough requests.
    pub slo_margin: Option<f64>,
    /// Latencies that the model expects at the planned load.
    pub predicted: Latencies,
    /// Latencies measured lately.
    pub observed: Latencies,
    /// Trust in the fitted model, 0 to 1.
    pub trust: Option<f64>,
    /// Age of the newest telemetry, seconds.
    pub data_age: Option<f64>,
    /// The largest tolerance that the HPA in front may apply; absent where its tolerance fields were kept as 0.
    pub hpa_tolerance: Option<f64>,
    /// Whether anybody is to act on it; not where it is advice, paused or contested.
    pub in_control: bool,
}

/// What a cycle says of one variant.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A decision.
    Decided(Box<VariantReport>),
    /// Nothing could be decided: the last value stands, if there is one.
    Held {
        /// Which variant.
        key: VariantKey,
        /// `status.replicas` of the scale target now.
        current: u32,
        /// Replicas that serve now.
        ready: u32,
        /// Age of the newest telemetry, seconds.
        data_age: Option<f64>,
        /// Why nothing was decided.
        reason: Reason,
    },
}

/// How the plan of a cycle was found.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Solver {
    /// Relative gap of the plan, 0 when proven optimal.
    pub gap: f64,
    /// Time that solving took, seconds.
    pub seconds: f64,
}

/// The whole outcome of a cycle, as the cycle hands it over.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Time of the cycle, seconds since the Unix epoch.
    pub at: f64,
    /// One entry for every variant that exists.
    pub entries: Vec<Entry>,
    /// How the plan was found; absent when nothing was planned.
    pub solver: Option<Solver>,
}

/// Direction of a change of the desired replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More replicas.
    Up,
    /// Fewer replicas.
    Down,
}

/// One variant as it is published.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PublishedVariant {
    /// The decision that stands, with replicas and age as of this cycle.
    pub report: VariantReport,
    /// What an HPA with `AverageValue: "1"` is told; see [`tolerance`].
    pub value: Milli,
    /// Time of the decision that stands, seconds since the Unix epoch.
    pub decided_at: f64,
    /// Why this cycle decided nothing, where the value is an earlier one.
    pub held: Option<Reason>,
    /// Changes of the desired replicas so far, by direction and leading reason code.
    pub scalings: BTreeMap<(Direction, String), u64>,
}

/// Most distinct reasons that are counted for one variant; further ones count as [`OTHER`].
const MOST_REASONS: usize = 32;
/// Stands for reasons that are no stable codes.
const OTHER: &str = "other";

/// The code, where it is one (lower-case words joined by hyphens, at most 40 characters); `other` for any other text, which
/// must not become the label of a series.
fn stable_code(code: &str) -> &str {
    let kebab = code
        .bytes()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    if kebab && (1..=40).contains(&code.len()) {
        code
    } else {
        OTHER
    }
}

impl PublishedVariant {
    /// The distinct codes of the reasons that stand, those for holding first.
    #[must_use]
    pub fn reason_codes(&self) -> Vec<&str> {
        let mut codes = Vec::new();
        for reason in self.held.iter().chain(&self.report.reasons) {
            let code = stable_code(&reason.code);
            if !codes.contains(&code) && codes.len() < MOST_REASONS {
                codes.push(code);
            }
        }
        codes
    }
}

/// What the last cycle decided.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Published {
    /// Time of the last cycle, seconds since the Unix epoch; absent before the first.
    pub at: Option<f64>,
    /// Every variant that has a value.
    pub variants: BTreeMap<VariantKey, PublishedVariant>,
    /// How the last plan was found.
    pub solver: Option<Solver>,
    /// Variants that exist, with a value or without.
    pub found: usize,
}

impl Published {
    /// What is published after `report`, given what was published before.
    #[must_use]
    pub fn next(&self, report: Report) -> Self {
        let found = report.entries.len();
        let variants = report
            .entries
            .into_iter()
            .filter_map(|entry| self.advance(report.at, entry))
            .map(|variant| (variant.report.key.clone(), variant))
            .collect();
        Self {
            at: Some(report.at),
            variants,
            found,
            solver: report.solver.or(self.solver),
        }
    }

    /// The variant of this name, if it has a value.
    #[must_use]
    pub fn variant(&self, namespace: &str, name: &str) -> Option<&PublishedVariant> {
        self.variants.get(&VariantKey {
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    fn advance(&self, at: f64, entry: Entry) -> Option<PublishedVariant> {
        match entry {
            Entry::Decided(report) => Some(self.decide(at, *report)),
            Entry::Held {
                key,
                current,
                ready,
                data_age,
                reason,
            } => {
                // The value stays what it was even where `current` moved: recomputing it could scale down on no data.
                let mut variant = self.variants.get(&key)?.clone();
                variant.report.current = current;
                variant.report.ready = ready;
                variant.report.data_age = data_age;
                variant.held = Some(reason);
                Some(variant)
            }
        }
    }

    fn decide(&self, at: f64, report: VariantReport) -> PublishedVariant {
        let before = self.variants.get(&report.key);
        let mut scalings = before.map(|v| v.scalings.clone()).unwrap_or_default();
        let previous = before.map_or(report.current, |v| v.report.desired);
        let direction = match report.desired.cmp(&previous) {
            std::cmp::Ordering::Greater => Some(Direction::Up),
            std::cmp::Ordering::Less => Some(Direction::Down),
            std::cmp::Ordering::Equal => None,
        };
        if let Some(direction) = direction {
            let reason = report
                .reasons
                .first()
                .map_or("none", |r| stable_code(&r.code));
            let known = scalings.contains_key(&(direction, reason.to_owned()));
            let reason = if known || scalings.len() < MOST_REASONS {
                reason
            } else {
                OTHER
            };
            *scalings.entry((direction, reason.to_owned())).or_default() += 1;
        }
        PublishedVariant {
            value: value_for_hpa(
                report.current,
                report.desired,
                report.hpa_tolerance.unwrap_or(0.0),
            ),
            report,
            decided_at: at,
            held: None,
            scalings,
        }
    }
}

/// The writing end: one per process, owned by the cycle.
#[derive(Debug)]
pub struct Publisher(watch::Sender<Arc<Published>>);

impl Publisher {
    /// A publisher that has published nothing, and the end that readers clone.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Arc<Published>>) {
        let (sender, receiver) = watch::channel(Arc::default());
        (Self(sender), receiver)
    }

    /// Replaces what is published by what follows from `report`.
    pub fn publish(&self, report: Report) {
        self.0
            .send_modify(|published| *published = Arc::new(published.next(report)));
    }
}
