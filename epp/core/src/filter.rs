//! Filters: which candidates may be picked at all.
//!
//! A filter that protects (against overload, against missing an SLO) leaves all if it would leave none: the least bad
//! endpoint is better than no answer. A filter that states a fact (a role, a label) may leave none.

mod selector;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::endpoint::{Roles, Slot};
use crate::request::Allowed;
use crate::round::Round;
use crate::saturation::Detector;
use crate::scorer::{in_range, session_pod};
pub use selector::{Requirement, Selector};

/// Header that conformance tests choose endpoints with.
pub const TESTING_HEADER: &str = "test-epp-endpoint-selection";

/// A condition on endpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Does one of these stages.
    Roles(Roles),
    /// Has these labels.
    Labels(Selector),
    /// Holds most of the prompt, where any does and is not much slower for it.
    PrefixAffinity(PrefixAffinity),
    /// Is predicted to meet the SLO, where any is.
    SloTier {
        /// Chance of looking at the others instead, so that what is known of them is renewed.
        explore: f64,
    },
    /// Is not beyond the detector's limit for one endpoint.
    NotSaturated(Detector),
    /// Is the pod that the session's token names, where it is a candidate.
    Session {
        /// Header with the token, in lower case.
        header: String,
    },
    /// Has a label range `min-max` that contains the prompt's tokens, or none.
    ContextLength {
        /// The label.
        label: String,
    },
    /// Is named by [`TESTING_HEADER`].
    Testing,
}

/// Parameters of [`Filter::PrefixAffinity`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrefixAffinity {
    /// Share of the prompt from which an endpoint counts as holding it.
    pub threshold: f64,
    /// Chance of not looking.
    pub explore: f64,
    /// Greatest TTFT in seconds that holding may cost; 0 for any.
    pub penalty_s: f64,
    /// Prompt tokens per second of an endpoint without a latency model.
    pub tokens_per_s: f64,
    /// Whether TTFT is predicted by the variant's model where there is one.
    pub predict: bool,
}

impl Filter {
    /// Leaves the candidates that fulfil the condition.
    pub(crate) fn apply(
        &self,
        round: &Round<'_>,
        left: &mut Vec<Slot>,
        random: &mut Xoshiro256PlusPlus,
    ) {
        match self {
            Self::Roles(roles) => {
                left.retain(|s| round.pool.members.roles[s.index()].any_of(*roles));
            }
            Self::Labels(selector) => {
                left.retain(|&s| {
                    round
                        .pool
                        .endpoint(s)
                        .is_some_and(|e| selector.matches(&e.labels))
                });
            }
            Self::PrefixAffinity(affinity) => affinity.apply(round, left, random),
            Self::SloTier { explore } => slo_tier(round, *explore, left, random),
            Self::NotSaturated(detector) => retain_if_any(left, |s| !detector.full(round, s)),
            Self::Session { header } => {
                let pod = session_pod(round, header);
                retain_if_any(left, |s| pod.contains(&s));
            }
            Self::ContextLength { label } => {
                let tokens = round.request.prompt_tokens;
                left.retain(|&s| in_range(round, s, label, tokens));
            }
            Self::Testing => {
                let named = Allowed::list(round.request.header(TESTING_HEADER).unwrap_or_default());
                left.retain(|&s| {
                    round
                        .pool
                        .endpoint(s)
                        .is_some_and(|e| allows(&named, e.address))
                });
            }
        }
    }

    /// The request header it looks at.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Session { header } => Some(header),
            Self::Testing => Some(TESTING_HEADER),
            _ => None,
        }
    }

    /// Whether it asks who holds the prompt's prefix.
    #[must_use]
    pub const fn needs_prefix(&self) -> bool {
        matches!(self, Self::PrefixAffinity(_) | Self::SloTier { .. })
    }
}

/// Whether a list of addresses names this one.
pub(crate) fn allows(allowed: &[Allowed], address: std::net::SocketAddr) -> bool {
    let names = |a: &Allowed| a.ip == address.ip() && a.port.is_none_or(|p| p == address.port());
    allowed.iter().any(names)
}

fn retain_if_any(left: &mut Vec<Slot>, keep: impl Fn(Slot) -> bool) {
    if left.iter().any(|&s| keep(s)) {
        left.retain(|&s| keep(s));
    }
}

fn slo_tier(
    round: &Round<'_>,
    explore: f64,
    left: &mut Vec<Slot>,
    random: &mut Xoshiro256PlusPlus,
) {
    let targets = round.request.targets;
    let meets = |s: Slot| {
        round.predicted(s).is_some_and(|p| {
            targets.ttft.is_none_or(|t| p.ttft <= t) && targets.tpot.is_none_or(|t| p.tpot <= t)
        })
    };
    if !targets.any() || left.len() < 2 {
        return;
    }
    let wanted = random.random::<f64>() >= explore;
    retain_if_any(left, |s| meets(s) == wanted);
}

impl PrefixAffinity {
    fn apply(&self, round: &Round<'_>, left: &mut Vec<Slot>, random: &mut Xoshiro256PlusPlus) {
        let holds = |s: Slot| round.matched_share(s) >= self.threshold;
        if self.explore > 0.0 && random.random::<f64>() < self.explore {
            return;
        }
        let fastest = |holding: bool| {
            let of = left.iter().filter(|&&s| holds(s) == holding);
            of.map(|&s| self.ttft(round, s))
                .fold(f64::INFINITY, f64::min)
        };
        if self.penalty_s > 0.0 && fastest(true) > fastest(false) + self.penalty_s {
            return;
        }
        retain_if_any(left, holds);
    }

    fn ttft(&self, round: &Round<'_>, slot: Slot) -> f64 {
        let predicted = if self.predict {
            round.predicted(slot)
        } else {
            None
        };
        predicted.map_or_else(|| round.own(slot).tokens / self.tokens_per_s, |p| p.ttft)
    }
}
