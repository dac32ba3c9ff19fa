//! What is remembered between cycles, and how much of it survives a restart.
//!
//! All of it may be lost at any time: the optimizer then takes today's replicas for what was recommended, events are told
//! once more, and nothing is scaled down for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use wva_models::catalogue::Catalogue;
use wva_models::iteration::ReplicaModel;
use wva_models::variant::Variant;
use wva_optimizer::state::State;

use super::components::Capacities;
use super::effects::{WriteOutcome, Written};
use super::margin::Seen;
use super::observed::Counters;
use super::predicted::Predictions;
use crate::index::fleet::{Fleet, PodState};
use crate::snapshot;
use crate::telemetry::Gathered;
use crate::telemetry::targets::{Bounds, Targets};

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// What the optimizer learned.
    pub optimizer: State,
    /// Per variant.
    pub variants: BTreeMap<String, VariantMemory>,
    /// When each model was last asked something; its first sight counts as a request.
    pub last_request: BTreeMap<String, f64>,
    /// Arrivals per stream as last counted.
    arrivals: BTreeMap<String, f64>,
    /// Replicas that were ready in the last cycle, by UID; `None` before the first.
    pub ready: Option<BTreeSet<String>>,
    /// Capacities found, by part of the fleet.
    pub(super) capacities: Capacities,
    /// When findings about objects that are no variants were told last.
    pub(super) told: BTreeMap<String, f64>,
    /// Latencies per stream as seen a while ago.
    pub(super) latencies: Seen,
    /// Latency counters per replica as last seen.
    pub(super) counters: Counters,
    /// Latencies as last predicted.
    pub(super) predictions: Predictions,
    /// What a replica of each variant can do at most.
    bounds: BTreeMap<String, Bounds>,
}

/// What is remembered of one variant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VariantMemory {
    /// Replicas decided last.
    pub decided: Option<u32>,
    /// What it was made of when its law was fitted.
    pub shape: String,
    /// Replicas that were asked for last, and when.
    pub asked: Option<(u32, f64)>,
    /// Whether the target was seen to ask for them.
    pub acknowledged: bool,
    /// When somebody else changed what was asked for.
    pub undone: VecDeque<f64>,
    /// When each event was told last, by reason.
    pub told: BTreeMap<String, f64>,
    /// When the status was written last.
    pub status_at: f64,
    /// Why the replicas that are asked for could not be written.
    pub failure: Option<(String, String)>,
    /// Why the status could not be written, which a status cannot tell of itself.
    pub untold: Option<(String, String)>,
    /// Pods that leave next, by UID, with the time since which that is told.
    pub leaving: BTreeMap<String, f64>,
}

/// Time for which a foreign change is remembered, seconds.
const FOREIGN_S: f64 = 900.0;
/// Foreign changes within that time that make a second writer.
const FOREIGN_MOST: usize = 3;

impl Memory {
    /// What an earlier process kept of its memory.
    #[must_use]
    pub fn restored(
        optimizer: State,
        variants: BTreeMap<String, VariantMemory>,
        last_request: BTreeMap<String, f64>,
    ) -> Self {
        Self {
            optimizer,
            variants,
            last_request,
            ..Self::default()
        }
    }

    /// What the optimizer remembers, with the capacities that are kept beside it.
    #[must_use]
    pub fn whole(&self) -> State {
        State {
            capacities: self.capacities.whole(),
            ..self.optimizer.clone()
        }
    }

    /// What telemetry should gather for this fleet, and what can be true of it.
    #[must_use]
    pub fn targets(&self, fleet: &Fleet) -> Targets {
        let mut targets = snapshot::targets(fleet);
        for variant in &mut targets.variants {
            variant.bounds = self.bounds.get(&variant.name).copied();
        }
        targets
    }

    /// Notes what replicas can do by the laws as they are believed now, the catalogue's or the fitted, whichever is faster.
    pub(super) fn note_bounds(&mut self, catalogue: &Catalogue) {
        let of = |variant: &Variant| {
            let prior = catalogue.replica_model(variant);
            let fitted = self.optimizer.variants.get(&variant.name)?.fitted().law;
            let fitted = ReplicaModel {
                law: fitted,
                ..prior
            };
            let bounds = Bounds::of(&prior).or(Bounds::of(&fitted));
            Some((variant.name.clone(), bounds))
        };
        self.bounds = catalogue.variants.iter().filter_map(of).collect();
    }

    /// Takes note of what became of earlier writes.
    pub(super) fn learn(&mut self, written: &[Written], now: f64) {
        for write in written {
            let Some(memory) = self.variants.get_mut(&write.variant.to_string()) else {
                continue;
            };
            if let (Some(replicas), WriteOutcome::Done) = (write.scale, &write.outcome) {
                memory.asked = Some((replicas, now));
                memory.acknowledged = false;
            }
            let trouble = match &write.outcome {
                WriteOutcome::Done => None,
                WriteOutcome::Conflict | WriteOutcome::NotLeader => continue,
                WriteOutcome::Gone => Some(("TargetNotFound".into(), "it is gone".into())),
                WriteOutcome::Forbidden(text) => Some(("Forbidden".into(), text.clone())),
                WriteOutcome::Failed(text) => Some(("WriteFailed".into(), text.clone())),
            };
            match write.scale {
                Some(_) => memory.failure = trouble,
                None => memory.untold = trouble,
            }
        }
    }

    /// Notes which models were asked something since the last cycle.
    pub(super) fn note_requests(&mut self, gathered: &Gathered, now: f64) {
        for stream in &gathered.streams {
            self.last_request.entry(stream.model.clone()).or_insert(now);
            let Some(sample) = stream.outcome.sample() else {
                continue;
            };
            let key = wva_optimizer::state::stream_key(&stream.model, &stream.class);
            let before = self.arrivals.insert(key, sample.arrivals);
            let busy = sample.held > 0.0 || sample.running > 0.0;
            if busy || before.is_some_and(|b| sample.arrivals > b) {
                self.last_request.insert(stream.model.clone(), now);
            }
        }
    }

    /// Forgets the fit of variants that are no longer what they were when it was made.
    pub(super) fn forget_what_changed(&mut self, catalogue: &Catalogue) {
        for variant in &catalogue.variants {
            let now = shape(variant);
            let memory = self.variants.entry(variant.name.clone()).or_default();
            if memory.shape != now {
                if !memory.shape.is_empty() {
                    self.optimizer.variants.remove(&variant.name);
                }
                memory.shape = now;
            }
        }
    }

    /// Forgets what is no longer there, and notes which replicas are ready.
    pub(super) fn keep_only(&mut self, fleet: &Fleet) {
        let names: BTreeSet<String> = fleet.variants.iter().map(|v| v.name()).collect();
        let models: BTreeSet<String> = fleet
            .model_classes
            .keys()
            .map(ToString::to_string)
            .collect();
        self.variants.retain(|name, _| names.contains(name));
        self.predictions.retain(|name, _| names.contains(name));
        self.optimizer
            .variants
            .retain(|name, _| names.contains(name));
        self.optimizer
            .history
            .retain(|name, _| names.contains(name));
        self.optimizer
            .settled
            .retain(|model, _| models.contains(model));
        self.optimizer
            .carried
            .retain(|model, _| models.contains(model));
        self.last_request.retain(|model, _| models.contains(model));
        // Stream keys are `model/class`, and classes have no slash.
        let of_model = |key: &String| {
            key.rsplit_once('/')
                .is_some_and(|(m, _)| models.contains(m))
        };
        self.optimizer.streams.retain(|key, _| of_model(key));
        self.arrivals.retain(|key, _| of_model(key));
        let ready = fleet.variants.iter().flat_map(|v| &v.pods);
        let ready = ready.filter(|p| matches!(p.state, PodState::Ready { .. }));
        self.ready = Some(ready.map(|p| p.uid.clone()).collect());
    }
}

impl VariantMemory {
    /// Takes in what the target asks for now; notes when it is not what was asked last.
    pub(super) fn see(&mut self, desired: u32, now: f64) {
        self.undone.retain(|at| now - at < FOREIGN_S);
        let Some((asked, _)) = self.asked else { return };
        if desired == asked {
            self.acknowledged = true;
        } else if self.acknowledged {
            self.undone.push_back(now);
            self.asked = None;
            self.acknowledged = false;
        }
    }

    /// Whether somebody else keeps writing what this controller writes.
    #[must_use]
    pub fn contested(&self, now: f64) -> bool {
        self.undone
            .iter()
            .filter(|at| now - **at < FOREIGN_S)
            .count()
            >= FOREIGN_MOST
    }
}

/// What a variant is made of: another text means another law. KV cache is rounded, since engines report it anew.
pub(super) fn shape(variant: &Variant) -> String {
    let engine = &variant.engine;
    let kv = engine.kv_cache_tokens.map(|t| f64::from(t).log2().round());
    format!(
        "{} {} {} {:?} {} {} {:?} {:?} {kv:?}",
        variant.model,
        variant.accelerator,
        variant.tensor_parallel,
        variant.role,
        engine.max_num_seqs,
        engine.max_num_batched_tokens,
        engine.precision,
        engine.kv_precision,
    )
}
