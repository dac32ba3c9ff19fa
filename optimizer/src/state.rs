//! What the autoscaler remembers between cycles: plain data, serialisable, the same after the same snapshots.

pub mod answers;
pub mod headroom;
pub mod prompts;
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
    /// The streams of a model with their classes, in the classes' order.
    pub fn streams_of<'a>(
        &'a self,
        model: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a StreamState)> {
        let streams = self.streams.range(stream_key(model, "")..);
        let streams = streams.map_while(move |(key, stream)| Some((class_in(key, model)?, stream)));
        streams.filter(|(class, _)| !class.contains('/'))
    }

    /// As [`State::streams_of`], to change them.
    pub fn streams_of_mut<'a>(
        &'a mut self,
        model: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a mut StreamState)> {
        let streams = self.streams.range_mut(stream_key(model, "")..);
        let streams = streams.map_while(move |(key, stream)| Some((class_in(key, model)?, stream)));
        streams.filter(|(class, _)| !class.contains('/'))
    }
}

/// What follows the model's name in a key. Names of models have slashes, too: where the rest has one, it is another model's.
fn class_in<'a>(key: &'a str, model: &str) -> Option<&'a str> {
    key.strip_prefix(model)?.strip_prefix('/')
}

/// Key of a stream in [`State::streams`].
#[must_use]
pub fn stream_key(model: &str, class: &str) -> String {
    format!("{model}/{class}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wva_models::forecast::ForecastSettings;

    #[test]
    fn models_whose_names_begin_alike_have_streams_of_their_own() {
        let mut state = State::default();
        for key in [
            "a/m-1/chat",
            "a/m-1/code",
            "a/m-10/chat",
            "a/m-1/x/chat",
            "a/m/chat",
        ] {
            let stream = StreamState::new(ForecastSettings::default());
            state.streams.insert(key.into(), stream);
        }
        let classes = |model: &str| -> Vec<String> {
            state
                .streams_of(model)
                .map(|(class, _)| class.to_owned())
                .collect()
        };
        assert_eq!(classes("a/m-1"), ["chat", "code"]);
        assert_eq!(classes("a/m-10"), ["chat"]);
        assert_eq!(classes("a/m-1/x"), ["chat"]);
        assert!(classes("a").is_empty() && classes("").is_empty());
    }
}
