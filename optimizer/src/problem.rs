//! The problem that the solver sees: dense ordinals, no names to look up, everything linear.
//!
//! A *route* is one way to serve one demand: a single variant (aggregated serving), or a prefill variant and a decode
//! variant coupled by equal flow with the TTFT budget split between them. Enumerating the splits as routes beforehand
//! keeps the problem linear; one traffic share per route then loads all of the route's stages alike.
//!
//! ```text
//! min  Σ price·y                      lexicographically after unmet demand, priority by priority
//! s.t. Σ_routes share + unmet = 1                             for every demand
//!      Σ rate·share·load ≤ y                                  for every variant, batch included
//!      Σ_interactive rate·share·load ≤ fill·y                 for every variant
//!      min ≤ y ≤ max, Σ coefficient·y ≤ limit                 y integer, share ≥ 0, unmet ≥ 0
//! ```
//! Shares are continuous because routers split traffic by weights; slicing demand into indivisible pieces is both harder
//! to solve and more expensive to run.

use serde::{Deserialize, Serialize};

mod reconcile;
mod validation;

pub use reconcile::Contradiction;
pub use validation::ProblemError;

/// A variant as the solver sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantOption {
    /// Name, for reports.
    pub name: String,
    /// Price of one replica, $/h.
    pub price: f64,
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// Replicas today: starting and pending ones included, draining ones not.
    pub current: u32,
    /// Share of a replica that interactive demand may fill (ρmax), in (0, 1]; batch work may fill the rest.
    pub fill: f64,
}

/// One stream of requests: a model, a class and a bucket of shapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// Model name, for reports.
    pub model: String,
    /// Class name, for reports.
    pub class: String,
    /// Shape bucket within (model, class).
    pub bucket: usize,
    /// Importance, higher first.
    pub priority: i32,
    /// Requests per second.
    pub rate: f64,
    /// Whether the demand may use the share of a replica beyond `fill`.
    pub batch: bool,
}

/// One way to serve one demand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Ordinal of the demand.
    pub demand: usize,
    /// Variants it passes through, each with the replicas it occupies per (request/s): 1 / capacity.
    pub stages: Vec<Stage>,
}

/// A variant that a route passes through.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Ordinal of the variant.
    pub variant: usize,
    /// Replicas per (request/s): the reciprocal of one replica's capacity under the class's SLO.
    pub load: f64,
}

/// A linear limit on replicas: stock of an accelerator, a quota, a budget, power.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// What runs out: `stock:H100`, `quota:team-a/H100`, `budget`, `power`, `link:rack-1`.
    pub name: String,
    /// Greatest value of the sum.
    pub at_most: f64,
    /// (variant ordinal, use per replica).
    pub replicas: Vec<(usize, f64)>,
    /// (route ordinal, use per request/s): for limits on flows, such as a KV-transfer link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<(usize, f64)>,
}

/// The whole problem of one decision.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Problem {
    /// Variants.
    pub variants: Vec<VariantOption>,
    /// Demands.
    pub demands: Vec<Demand>,
    /// Ways to serve demands.
    pub routes: Vec<Route>,
    /// Limits.
    pub limits: Vec<Limit>,
    /// $/h that changing a variant by one replica is worth: a plan that differs from today's must save more than this.
    pub change_price: f64,
}
