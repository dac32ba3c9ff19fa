//! Decisions: bounded, stabilised targets with the reasons for them.

use serde::{Deserialize, Serialize};

/// What one cycle decided for one variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Variant name.
    pub variant: String,
    /// Model name.
    pub model: String,
    /// Accelerator name.
    pub accelerator: String,
    /// Time of the cycle.
    pub at: f64,
    /// Replicas asked for before this decision.
    pub current: u32,
    /// Replicas that the plan wants.
    pub planned: u32,
    /// Replicas to ask for now: the plan after stabilisation, rate limits and bounds.
    pub target: u32,
    /// Why, most important first; stable kebab-case codes with figures.
    pub reasons: Vec<Reason>,
}

/// One reason: a stable code and a sentence with the figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable kebab-case code: `demand-up`, `stabilising-down`, `stale-data`, `stock-out`, ...
    pub code: String,
    /// The figures, in words for people.
    pub text: String,
}

/// Traffic weights that routers should apply to one (model, class, bucket).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoutingShare {
    /// Model name.
    pub model: String,
    /// Class name.
    pub class: String,
    /// Variants of the route (one, or prefill then decode).
    pub variants: Vec<String>,
    /// Share of the class's requests, 0 to 1.
    pub share: f64,
}
