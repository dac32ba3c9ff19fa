//! The `wva` policy: the production cycle, [`wva_optimizer::step`], fed with the simulator's scrapes.
//!
//! It knows the catalogue's priors and what scrapes show; the truth of the replicas it has to learn, as on a cluster.

use wva_models::iteration::ReplicaModel;
use wva_optimizer::replay;
use wva_optimizer::snapshot::Snapshot;
use wva_optimizer::state::State;
use wva_optimizer::step::{Autoscaler, Settings, step};

use super::{Actuation, Intent, Policy, World};
use crate::hpa::HpaSpec;

/// Receives the lines of a recorded bundle.
pub type Sink = Box<dyn FnMut(&str) + Send>;

/// The autoscaler as a simulated policy.
pub struct Wva {
    name: String,
    settings: Settings,
    autoscaler: Option<Autoscaler>,
    state: State,
    sink: Option<Sink>,
}

impl Wva {
    /// A policy of this name; `sink` receives the bundle that [`replay::replay`] reads, if wanted.
    #[must_use]
    pub fn new(name: impl Into<String>, settings: Settings, sink: Option<Sink>) -> Self {
        Self {
            name: name.into(),
            settings,
            autoscaler: None,
            state: State::default(),
            sink,
        }
    }

    fn write(&mut self, line: &str) {
        if let Some(sink) = &mut self.sink {
            sink(line);
        }
    }
}

impl Policy for Wva {
    fn name(&self) -> &str {
        &self.name
    }

    fn period(&self) -> f64 {
        self.settings.cycle_seconds
    }

    fn actuation(&self) -> Actuation {
        Actuation::Hpa(HpaSpec::transparent())
    }

    fn begin(&mut self, world: &World<'_>) {
        let autoscaler = Autoscaler {
            catalogue: world.catalogue.clone(),
            settings: self.settings.clone(),
        };
        let header = replay::header(&autoscaler);
        self.autoscaler = Some(autoscaler);
        self.state = State::default();
        self.write(&header);
    }

    fn learned(&self, variant: &str) -> Option<ReplicaModel> {
        let catalogue = &self.autoscaler.as_ref()?.catalogue;
        let named = catalogue.variants.iter().find(|v| v.name == variant)?;
        let law = self.state.variants.get(variant)?.fitted().law;
        Some(ReplicaModel {
            law,
            ..catalogue.replica_model(named)
        })
    }

    fn decide(&mut self, snapshot: &Snapshot) -> Intent {
        let Some(autoscaler) = &self.autoscaler else {
            return Intent::default();
        };
        let (state, cycle) = step(autoscaler, snapshot, std::mem::take(&mut self.state));
        self.state = state;
        if self.sink.is_some() {
            let line = replay::record(snapshot, &cycle);
            self.write(&line);
        }
        Intent {
            replicas: cycle
                .decisions
                .iter()
                .map(|d| (d.variant.clone(), d.target))
                .collect(),
            shares: cycle.shares,
            batch_limits: cycle.batch_limits,
            decisions: cycle.decisions,
        }
    }
}
