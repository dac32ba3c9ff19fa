//! Scorers: how good each candidate is, from 0 to 1.
//!
//! A profile adds its scorers up: total = Σ weight · clamp01(score). Formulas are the upstream's where it has the scorer,
//! so that weights people have tuned keep their meaning. What is unknown of an endpoint (never scraped) scores 0, the
//! worst; when it is unknown of all, all are alike.

mod affinity;
mod latency;
mod load;

use crate::endpoint::Slot;
use crate::round::{Columns, Round};
pub use latency::{Headroom, LatencyWeights};

/// How good endpoints are.
#[derive(Debug, Clone, PartialEq)]
pub enum Scorer {
    /// Waiting requests: (max − x) / (max − min), 1 if equal.
    Queue,
    /// Running requests: (max − x) / (max − min), 1 if equal.
    Running,
    /// 1 − share of the KV cache in use.
    KvUsage,
    /// 0.5 · (1 − min(waiting, threshold) / threshold).
    LoadAware {
        /// Waiting requests that score 0.
        threshold: f64,
    },
    /// Matched blocks / blocks of the prompt.
    Prefix,
    /// Adapter active 1, slot to spare 0.8, waited for 0.6, else 0.
    Lora,
    /// Requests in flight from here: 1 up to `idle`, else (max − x) / max · `busy`.
    ActiveRequests {
        /// Requests up to which an endpoint counts as idle.
        idle: u32,
        /// Greatest score of one that is not.
        busy: f64,
    },
    /// 1 − min(1, tokens in flight from here / threshold).
    TokenLoad {
        /// Tokens that score 0.
        threshold: f64,
    },
    /// For a prompt that nobody holds: least recently given such a prompt first; 0.5 for all otherwise.
    NoHitLru,
    /// 1 for the pod that the session's token names, 0 for others.
    Session {
        /// Header with the token, in lower case.
        header: String,
    },
    /// SLO less predicted latency, by tiers: both bounds met first.
    Latency(LatencyWeights),
    /// Least predicted latency, relative to the SLO where there is one: best / this. Ours.
    Slo,
    /// Whether a label's range `min-max` contains the prompt's tokens.
    ContextLength {
        /// The label.
        label: String,
    },
    /// 1 where a label equals a header, else 0.
    HeaderLabel {
        /// The header, in lower case.
        header: String,
        /// The label.
        label: String,
    },
}

impl Scorer {
    /// Writes the candidates' scores, in their order.
    pub(crate) fn score(
        &self,
        round: &Round<'_>,
        of: &[Slot],
        columns: &mut Columns,
        out: &mut Vec<f64>,
    ) {
        out.clear();
        match self {
            Self::Queue => load::least(of, out, |s| round.waiting(s)),
            Self::Running => load::least(of, out, |s| round.running(s)),
            Self::KvUsage => out.extend(of.iter().map(|&s| 1.0 - round.kv_usage(s))),
            Self::LoadAware { threshold } => out.extend(of.iter().map(|&s| {
                let waiting = round.waiting(s);
                if waiting.is_nan() {
                    0.0
                } else {
                    0.5 * (1.0 - waiting.min(*threshold) / threshold)
                }
            })),
            Self::Prefix => out.extend(of.iter().map(|&s| round.matched_share(s))),
            Self::Lora => affinity::lora(round, of, out),
            Self::ActiveRequests { idle, busy } => load::active(round, of, *idle, *busy, out),
            Self::TokenLoad { threshold } => {
                out.extend(
                    of.iter()
                        .map(|&s| 1.0 - (round.own(s).tokens / threshold).min(1.0)),
                );
            }
            Self::NoHitLru => affinity::least_recently_cold(round, of, &mut columns.order, out),
            Self::Session { header } => affinity::session(round, of, header, out),
            Self::Latency(weights) => latency::headroom(round, of, weights, columns, out),
            Self::Slo => latency::slo(round, of, out),
            Self::ContextLength { label } => {
                let tokens = round.request.prompt_tokens;
                out.extend(
                    of.iter()
                        .map(|&s| affinity::range_score(round, s, label, tokens)),
                );
            }
            Self::HeaderLabel { header, label } => {
                affinity::header_label(round, of, header, label, out)
            }
        }
    }

    /// The request header it looks at.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Session { header } | Self::HeaderLabel { header, .. } => Some(header),
            _ => None,
        }
    }

    /// Whether it asks who holds the prompt's prefix.
    #[must_use]
    pub const fn needs_prefix(&self) -> bool {
        matches!(
            self,
            Self::Prefix | Self::NoHitLru | Self::Latency(_) | Self::Slo
        )
    }
}

pub(crate) use affinity::{in_range, session_pod, session_token};

/// The score between 0 and 1; 0 for what is no number.
pub(crate) fn clamp01(score: f64) -> f64 {
    if score > 0.0 { score.min(1.0) } else { 0.0 }
}
