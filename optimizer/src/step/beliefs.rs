//! What is believed of each variant now: its fitted law, the headroom that its trust calls for, and how many replicas can
//! be had.

use std::collections::BTreeMap;

use super::Autoscaler;
use crate::planner::VariantBelief;
use crate::snapshot::{Snapshot, VariantSample};
use crate::state::State;

/// Headroom at no trust at all: capacity is taken this much lower.
const UNTRUSTED: f64 = 0.15;
/// Windows of telemetry, two minutes of one replica's, after which half of what requests taught holds for a variant.
const HALF_KNOWN: f64 = 8.0;

pub(super) fn of(
    autoscaler: &Autoscaler,
    snapshot: &Snapshot,
    state: &State,
) -> Vec<VariantBelief> {
    let samples = Samples::of(snapshot);
    autoscaler
        .catalogue
        .variants
        .iter()
        .map(|variant| {
            let mut replica = autoscaler.catalogue.replica_model(variant);
            let (mut trust, mut experience, mut unsorted) = (0.2, 0.0, false);
            if let Some(learned) = state.variants.get(&variant.name) {
                let fitted = learned.fitted();
                replica.law = fitted.law;
                trust = fitted.trust;
                let windows = fitted.windows_used as f64;
                experience = windows / (windows + HALF_KNOWN);
                unsorted = learned.sorting.is_absent();
            }
            let sample = samples.get(&variant.name);
            VariantBelief {
                replica,
                margin: 1.0 - UNTRUSTED * (1.0 - trust.clamp(0.0, 1.0)),
                experience,
                current: sample.map_or(0, asked_for),
                available: sample
                    .filter(|s| stocked_out(autoscaler, s))
                    .map(with_device),
                unsorted,
            }
        })
        .collect()
}

/// A snapshot's variants by name; of several of the same name, the first.
#[derive(Debug)]
pub(super) struct Samples<'a>(BTreeMap<&'a str, &'a VariantSample>);

impl<'a> Samples<'a> {
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let mut by_name = BTreeMap::new();
        for sample in &snapshot.variants {
            by_name.entry(sample.name.as_str()).or_insert(sample);
        }
        Self(by_name)
    }

    /// The variant's sample, if the snapshot has one.
    pub fn get(&self, name: &str) -> Option<&'a VariantSample> {
        self.0.get(name).copied()
    }
}

/// Replicas that serve, load or wait for a device.
pub(super) fn asked_for(sample: &VariantSample) -> u32 {
    with_device(sample) + count(&sample.pending)
}

/// Replicas that have a device.
pub(super) fn with_device(sample: &VariantSample) -> u32 {
    sample.ready + count(&sample.starting)
}

/// Whether some replica has waited for a device for so long that none is to be had.
pub(super) fn stocked_out(autoscaler: &Autoscaler, sample: &VariantSample) -> bool {
    sample
        .pending
        .iter()
        .any(|&age| age >= autoscaler.settings.pending_too_long_seconds)
}

fn count(ages: &[f64]) -> u32 {
    u32::try_from(ages.len()).unwrap_or(u32::MAX)
}
