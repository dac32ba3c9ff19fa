//! `static`: the cheapest fleet that never changes and still attains, in hindsight.
//!
//! What a user gets by sizing for the peak, done perfectly: the whole trace is known, and the fleet is searched by
//! simulating candidates. Nobody can deploy it, since it takes hindsight; it is the bar for every autoscaler.

use serde::Deserialize;

/// Settings of `static`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StaticSettings {
    /// Least share of each class's requests that must attain.
    pub target_attainment: f64,
    /// Most simulations that the search may spend on one model.
    pub most_simulations: u32,
}

impl Default for StaticSettings {
    fn default() -> Self {
        Self {
            target_attainment: 0.99,
            most_simulations: 40,
        }
    }
}
