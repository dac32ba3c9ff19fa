//! Replicas as Kubernetes sees them, and their variants.

use wva_models::catalogue::Catalogue;
use wva_models::iteration::ReplicaModel;
use wva_models::variant::Role;

use super::meter::Meter;
use super::router::Pace;
use crate::replica::{Replica, ReplicaSpec};
use crate::time::Time;

/// Where a replica is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodState {
    /// Asked for, without a device.
    Pending,
    /// Holds devices, loads.
    Starting,
    /// Serves.
    Ready,
    /// Finishes its requests, takes no new ones.
    Draining,
    /// Holds nothing any more.
    Gone,
}

/// One replica.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) variant: usize,
    pub(crate) state: PodState,
    /// When it was asked for.
    pub(crate) asked: Time,
    pub(crate) engine: Replica,
    /// Event that its engine waits for.
    pub(crate) wake: Time,
    /// Place in its variant's list of ready replicas.
    pub(crate) place: usize,
    /// Requests sent to it that have not ended, those on their way to it included.
    pub(crate) requests: u32,
    /// Input tokens of batch requests sent to it without a first token yet.
    pub(crate) batch_prefill: u64,
    /// When its outgoing link is free again.
    pub(crate) link_free: Time,
}

/// What the router knows of one ready replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    /// Input tokens of requests sent to it without a first token yet.
    pub(crate) prefill: u64,
    /// Requests sent to it that have not ended.
    pub(crate) requests: u32,
}

/// One variant's replicas.
#[derive(Debug, Clone)]
pub(crate) struct VariantState {
    pub(crate) model: usize,
    pub(crate) role: Role,
    /// What its replicas are.
    pub(crate) spec: ReplicaSpec,
    /// What the catalogue believes they are.
    pub(crate) prior: ReplicaModel,
    /// How fast they are, as the router believes.
    pub(crate) pace: Pace,
    /// Seconds to send one token's KV over the link.
    pub(crate) transfer_s: f64,
    pub(crate) price: f64,
    pub(crate) devices: u32,
    pub(crate) power_w: Option<f64>,
    /// Smallest input + output that does not fit.
    pub(crate) capacity: u64,
    pub(crate) bounds: (u32, u32),
    pub(crate) desired: u32,
    /// What the policy publishes for the HorizontalPodAutoscaler.
    pub(crate) published: Option<u32>,
    /// B*: running sequences up to which batch work may fill a replica, where the policy says so.
    pub(crate) batch_limit: Option<u32>,
    /// Waiting for a device, oldest first.
    pub(crate) pending: Vec<u32>,
    /// Loading, oldest first.
    pub(crate) starting: Vec<u32>,
    /// Serving, in no meaningful order, and what the router knows of each.
    pub(crate) ready: Vec<u32>,
    pub(crate) loads: Vec<Load>,
    pub(crate) draining: Vec<u32>,
    /// Starting, ready and draining.
    pub(crate) held: Meter,
    /// Ready and draining.
    pub(crate) serving: Meter,
    pub(crate) scalings: u64,
    /// Start-up times since the last snapshot.
    pub(crate) start_ups: Vec<f64>,
    /// Of replicas that are gone: seconds busy, requests finished, preemptions.
    pub(crate) past: (f64, u64, u64),
    /// Seconds busy at the end of accounting.
    pub(crate) busy_s: f64,
}

impl VariantState {
    pub(super) fn new(
        catalogue: &Catalogue,
        index: usize,
        model: usize,
        spec: ReplicaSpec,
        link_bytes_per_s: f64,
    ) -> Self {
        let variant = &catalogue.variants[index];
        let roofline = catalogue.roofline(variant);
        let prior = catalogue.replica_model(variant);
        let kv_bytes = roofline
            .model
            .kv_bytes_per_token(variant.engine.kv_precision);
        Self {
            model,
            role: variant.role,
            spec,
            prior,
            pace: Pace::of(&prior),
            transfer_s: kv_bytes / link_bytes_per_s,
            price: catalogue.price_per_replica(variant).get(),
            devices: variant.tensor_parallel,
            power_w: roofline.accelerator.power_w,
            capacity: spec.model.limits.kv_tokens.max(1.0) as u64,
            bounds: (
                variant.min_replicas,
                variant.max_replicas.unwrap_or(u32::MAX),
            ),
            desired: 0,
            published: None,
            batch_limit: None,
            pending: Vec::new(),
            starting: Vec::new(),
            ready: Vec::new(),
            loads: Vec::new(),
            draining: Vec::new(),
            held: Meter::default(),
            serving: Meter::default(),
            scalings: 0,
            start_ups: Vec::new(),
            past: (0.0, 0, 0),
            busy_s: 0.0,
        }
    }

    /// Whether a request of this size can run on its replicas.
    pub(super) fn can_hold(&self, input: u32, output: u32) -> bool {
        let output = if self.spec.prefill_only { 1 } else { output };
        u64::from(input) + u64::from(output) <= self.capacity
    }
}
