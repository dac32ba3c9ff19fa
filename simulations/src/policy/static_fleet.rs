//! `static`: the cheapest fleet that never changes and still attains, in hindsight.
//!
//! What a user gets by sizing for the peak, done perfectly: the whole trace is known, and the fleet is searched by
//! simulating candidates. Nobody can deploy it, since it takes hindsight; it is the bar for every autoscaler.

use serde::Deserialize;
use wva_optimizer::snapshot::Snapshot;

use super::{Intent, Policy, World};

pub mod search;

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

/// A fleet that never changes: the initial one.
#[derive(Debug, Clone, Default)]
pub struct StaticFleet {
    intent: Intent,
}

impl Policy for StaticFleet {
    fn name(&self) -> &str {
        "static"
    }

    fn period(&self) -> f64 {
        300.0
    }

    fn begin(&mut self, world: &World<'_>) {
        let variants = world.catalogue.variants.iter().zip(world.initial);
        self.intent.replicas = variants.map(|(v, &n)| (v.name.clone(), n)).collect();
    }

    fn decide(&mut self, _: &Snapshot) -> Intent {
        self.intent.clone()
    }
}
