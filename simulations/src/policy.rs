//! Scaling policies: what sees a snapshot of the fleet now and then, and says how many replicas it wants.
//!
//! A policy sees only what a scrape of real metrics shows: time comes from the snapshot, performance from the catalogue's
//! *prior* laws. It never sees the truth that the simulator runs on, nor the future.

pub mod deployment;
pub mod hpa_queue;
pub mod keda_slo;
mod scaled;
pub mod static_fleet;
pub mod wva;

use std::collections::BTreeMap;

use wva_models::catalogue::Catalogue;
use wva_models::iteration::ReplicaModel;
use wva_optimizer::decision::{Decision, RoutingShare};
use wva_optimizer::snapshot::Snapshot;

use crate::hpa::HpaSpec;
use crate::request::Stream;

/// What a policy is told before the first cycle.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// Accelerators, models, variants and classes.
    pub catalogue: &'a Catalogue,
    /// What the catalogue believes of each variant's replicas, in the order of its variants; the truth may differ.
    pub priors: &'a [ReplicaModel],
    /// Streams of requests.
    pub streams: &'a [Stream],
    /// Replicas of each variant that are ready at the start, in the order of the catalogue's variants.
    pub initial: &'a [u32],
    /// Seconds between scrapes of the metrics.
    pub scrape_interval_s: f64,
}

/// How what the policy asks for reaches the scale target.
#[derive(Debug, Clone, PartialEq)]
pub enum Actuation {
    /// The policy sets the scale target itself, in the cycle: for a policy that *is* an HPA on its own metric
    /// (it runs [`crate::hpa::Hpa`] inside), or that patches `/scale`.
    Direct,
    /// The policy publishes desired replicas as an external metric (AverageValue 1), and one HorizontalPodAutoscaler of
    /// this specification per variant follows it at its own pace.
    Hpa(HpaSpec),
}

/// What one cycle asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Intent {
    /// Desired replicas per variant name; a variant left out keeps what was asked for before.
    pub replicas: BTreeMap<String, u32>,
    /// Routing weights, all of them, each cycle; a (model, class) left out is routed over all ready replicas of its model.
    pub shares: Vec<RoutingShare>,
    /// B*: running sequences up to which batch work may fill a replica, per variant name; a variant left out keeps the
    /// gateway's own estimate.
    pub batch_limits: BTreeMap<String, u32>,
    /// What was decided and why, for the record; may be empty.
    pub decisions: Vec<Decision>,
}

/// A scaling policy.
pub trait Policy {
    /// Name in results.
    fn name(&self) -> &str;

    /// Seconds between two cycles.
    fn period(&self) -> f64;

    /// How replicas asked for reach the scale target.
    fn actuation(&self) -> Actuation {
        Actuation::Direct
    }

    /// Called once before the first cycle.
    fn begin(&mut self, world: &World<'_>) {
        let _ = world;
    }

    /// What it has learned of a variant's replicas by now, for a router that predicts; `None`: the prior stays.
    fn learned(&self, variant: &str) -> Option<ReplicaModel> {
        let _ = variant;
        None
    }

    /// One cycle, at `snapshot.at`.
    fn decide(&mut self, snapshot: &Snapshot) -> Intent;
}
