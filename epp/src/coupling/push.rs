//! What arrives, as the controller is told: one stream for each model and class, from the flows that metrics know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use wva_models::exchange::{Counted, PUSH_VERSION, Push};

use crate::objectives::Objectives;
use crate::server::series::Series;
use crate::server::shared::Shared;

/// Numbers the pushes of one process.
#[derive(Debug)]
pub struct Pusher {
    identity: String,
    incarnation: u64,
    sequence: u64,
}

impl Pusher {
    /// Of this process, whose counters begin now.
    #[must_use]
    pub fn new(identity: String) -> Self {
        Self {
            identity,
            incarnation: since_epoch() as u64,
            sequence: 0,
        }
    }

    /// The next push: all that was counted so far. `fits_at` says whose word is gone by.
    pub fn push(&mut self, shared: &Shared, fits_at: Option<f64>) -> Push {
        self.sequence += 1;
        let at = since_epoch();
        Push {
            version: PUSH_VERSION,
            pusher: self.identity.clone(),
            incarnation: self.incarnation,
            sequence: self.sequence,
            at,
            streams: streams(&shared.metrics.flows(), &shared.store.objectives(), at),
            fits_at,
        }
    }
}

fn since_epoch() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |d| d.as_secs_f64())
}

/// Flows of one model and class, put together. A class is the objective that has the flow's priority; the first by name where
/// several have it.
fn streams(flows: &[Arc<Series>], objectives: &Objectives, at: f64) -> Vec<Counted> {
    let mut classes: BTreeMap<i32, &str> = BTreeMap::new();
    for (name, priority) in &objectives.priorities {
        let known = classes.entry(*priority).or_insert(name);
        *known = (*known).min(name);
    }
    let mut streams: BTreeMap<(&str, &str), Counted> = BTreeMap::new();
    let mut cached: BTreeMap<(&str, &str), [f64; 2]> = BTreeMap::new();
    for flow in flows.iter().filter(|f| !f.target().is_empty()) {
        let class = classes.get(&flow.priority()).copied().unwrap_or("");
        let stream = (flow.target(), class);
        let counted = streams.entry(stream).or_default();
        add(counted, flow);
        let cached = cached.entry(stream).or_default();
        cached[0] += flow.told.cached.sum();
        cached[1] += flow.told.prompted.sum();
    }
    let named = streams.into_iter().map(|((model, class), counted)| {
        let [cached, prompted] = cached.get(&(model, class)).copied().unwrap_or_default();
        Counted {
            model: model.to_owned(),
            class: class.to_owned(),
            at,
            prefix_hit: (prompted > 0.0).then(|| (cached / prompted).clamp(0.0, 1.0)),
            ..counted
        }
    });
    named.collect()
}

fn add(counted: &mut Counted, flow: &Series) {
    // Gauges first: whoever moves on meanwhile is counted once at least.
    counted.held += flow.queued.get().max(0) as f64;
    counted.running += flow.running.get().max(0) as f64;
    counted.missed += flow.told.lost.load(Relaxed) as f64;
    counted.arrivals += flow.told.arrivals.load(Relaxed) as f64;
    flow.told.input.add_to(&mut counted.input_tokens);
    flow.told.output.add_to(&mut counted.output_tokens);
    flow.told.first.add_to(&mut counted.ttft);
    flow.told.gap.add_to(&mut counted.tpot);
}
