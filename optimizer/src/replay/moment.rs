//! One cycle with everything that it started from, as one JSON document: enough to plan it once more and to explain it.
//!
//! A bundle replays from an empty state, so a process that has run for weeks would need weeks of snapshots to explain its
//! last decision. Here the state comes along instead.

use serde::{Deserialize, Serialize};
use wva_models::catalogue::Catalogue;

use super::{ReplayError, bad_line, line};
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::step::{Autoscaler, Cycle, Settings};

/// Schema name of the document.
pub const MOMENT_SCHEMA: &str = "wva.cycle/v1";

/// One cycle and what it started from.
#[derive(Debug, Clone)]
pub struct Moment {
    /// What decided.
    pub autoscaler: Autoscaler,
    /// What it remembered before the cycle.
    pub state: State,
    /// What it saw.
    pub snapshot: Snapshot,
    /// What it came to.
    pub cycle: Cycle,
}

#[derive(Serialize, Deserialize)]
struct Document {
    schema: String,
    catalogue_yaml: String,
    settings: Settings,
    state: State,
    snapshot: Snapshot,
    cycle: Cycle,
}

impl Moment {
    /// The document, one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        line(&Document {
            schema: MOMENT_SCHEMA.to_owned(),
            catalogue_yaml: self.autoscaler.catalogue.to_yaml(),
            settings: self.autoscaler.settings.clone(),
            state: self.state.clone(),
            snapshot: self.snapshot.clone(),
            cycle: self.cycle.clone(),
        })
    }

    /// Reads the document; `origin` is the input's name in errors.
    ///
    /// # Errors
    /// [`ReplayError`] when it is not one.
    pub fn parse(json: &str, origin: &str) -> Result<Self, ReplayError> {
        let bad = |message: String| bad_line(origin, 1, "cycle", message);
        let document: Document = serde_json::from_str(json).map_err(|e| bad(e.to_string()))?;
        if document.schema != MOMENT_SCHEMA {
            return Err(bad(format!(
                "schema {}, expected {MOMENT_SCHEMA}",
                document.schema
            )));
        }
        Ok(Self {
            autoscaler: Autoscaler {
                catalogue: Catalogue::parse(&document.catalogue_yaml, origin)?,
                settings: document.settings,
            },
            state: document.state,
            snapshot: document.snapshot,
            cycle: document.cycle,
        })
    }
}
