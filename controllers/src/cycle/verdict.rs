//! What is to become of one variant: a number of replicas, or nothing because not enough is known.

use wva_optimizer::decision::{Decision, Reason};

use super::memory::VariantMemory;
use crate::index::Finding;
use crate::index::fleet::{Path, VariantView};
use crate::telemetry::Missing;

/// The verdict on one variant.
pub(super) enum Verdict<'a> {
    /// A number of replicas.
    Decided {
        decision: &'a Decision,
        /// Replicas that are wanted.
        wanted: u32,
        /// Whether anybody acts on it.
        carried_out: bool,
    },
    /// Not enough is known: replicas stay.
    Held {
        /// Why.
        reason: Reason,
    },
}

/// Code of the optimizer's reason for holding.
const HELD: &str = "held";

impl<'a> Verdict<'a> {
    pub fn of(
        view: &VariantView,
        decision: Option<&'a Decision>,
        left_out: Option<&Finding>,
        missing: Option<&Missing>,
        memory: Option<&VariantMemory>,
        now: f64,
    ) -> Self {
        if let Some(finding) = left_out {
            return Self::held(kebab(finding.code), &finding.text);
        }
        let Some(decision) = decision else {
            return Self::held("not-planned".into(), "it took no part in the plan");
        };
        if let Some(held) = decision.reasons.iter().find(|r| r.code == HELD) {
            return match missing {
                // Why the numbers are missing says more than that they are.
                Some(missing) => Self::held(HELD.into(), &told(missing)),
                None => Self::Held {
                    reason: held.clone(),
                },
            };
        }
        let contested = memory.is_some_and(|m| m.contested(now));
        Self::Decided {
            decision,
            wanted: decision.target,
            carried_out: view.in_control() && !contested,
        }
    }

    /// The same, with this number of replicas for now.
    pub fn staying(self, replicas: u32) -> Self {
        match self {
            Self::Decided {
                decision,
                carried_out,
                ..
            } => Self::Decided {
                decision,
                wanted: replicas,
                carried_out,
            },
            held @ Self::Held { .. } => held,
        }
    }

    fn held(code: String, text: &str) -> Self {
        Self::Held {
            reason: Reason {
                code,
                text: text.to_owned(),
            },
        }
    }
}

/// What is missing, why, and what to do about it.
pub(super) fn told(missing: &Missing) -> String {
    let detail = if missing.detail.is_empty() {
        String::new()
    } else {
        format!(" ({})", missing.detail)
    };
    format!("{}{detail}: {}", missing.reason, missing.reason.fix())
}

/// Greatest tolerance that the HPA in front of a variant may apply.
pub(super) fn tolerance(view: &VariantView) -> Option<f64> {
    match view.path {
        Path::Hpa { tolerance, .. } => tolerance,
        // KEDA passes metrics on through an HPA with the default tolerance.
        Path::Keda { .. } => Some(0.1),
        Path::Scale | Path::Advice { .. } => None,
    }
}

/// `TargetNotFound` as `target-not-found`.
pub(super) fn kebab(code: &str) -> String {
    let mut out = String::with_capacity(code.len() + 4);
    for (i, c) in code.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
