//! What the autoscaler remembers between cycles: plain data, serialisable, the same after the same snapshots.

pub mod headroom;
pub mod sorting;
pub mod stream;
pub mod variant;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::planner::CapacityTable;
use crate::stabilise::History;
use stream::StreamState;
use variant::VariantState;

/// Everything learned so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// Per (model, class), keyed `model/class`.
    pub streams: BTreeMap<String, StreamState>,
    /// Per variant name.
    pub variants: BTreeMap<String, VariantState>,
    /// Recommendations and changes per variant name, for stabilisation.
    pub history: BTreeMap<String, History>,
    /// Since when each model's replicas have all had devices; absent while some wait for one.
    pub settled: BTreeMap<String, f64>,
    /// Requests/s of each model's mix that its serving replicas carried at the last cycle, as far as is known.
    #[serde(default)]
    pub carried: BTreeMap<String, f64>,
    /// Capacities found so far.
    pub capacities: CapacityTable,
}

impl State {
    /// The streams of a model, in the order of their classes.
    pub fn streams_of<'a>(&'a self, model: &'a str) -> impl Iterator<Item = &'a StreamState> {
        let of_model = move |key: &str| key.rsplit_once('/').is_some_and(|(m, _)| m == model);
        self.streams
            .iter()
            .filter(move |(key, _)| of_model(key))
            .map(|(_, stream)| stream)
    }

    /// As [`State::streams_of`], to change them.
    pub fn streams_of_mut<'a>(
        &'a mut self,
        model: &'a str,
    ) -> impl Iterator<Item = &'a mut StreamState> {
        let of_model = move |key: &str| key.rsplit_once('/').is_some_and(|(m, _)| m == model);
        self.streams
            .iter_mut()
            .filter(move |(key, _)| of_model(key))
            .map(|(_, stream)| stream)
    }
}

/// Key of a stream in [`State::streams`].
#[must_use]
pub fn stream_key(model: &str, class: &str) -> String {
    format!("{model}/{class}")
}
