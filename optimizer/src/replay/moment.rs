//! One cycle with everything that it started from, as one JSON document: enough to plan it once more and to explain it.
//!
//! A bundle replays from an empty state, so a process that has run for weeks would need weeks of snapshots to explain its
//! last decision. Here the state comes along instead, and the catalogue as it is: a file's would be merged with what is
//! built in, by which a model of a cluster, called after its namespace and id, would become the built-in one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wva_models::accelerator::Accelerator;
use wva_models::catalogue::Catalogue;
use wva_models::model::Model;
use wva_models::service_class::ServiceClass;
use wva_models::variant::Variant;

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
    catalogue: Parts,
    settings: Settings,
    state: State,
    snapshot: Snapshot,
    cycle: Cycle,
}

/// A catalogue as plain data.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Parts {
    accelerators: Vec<Accelerator>,
    models: Vec<Model>,
    variants: Vec<Variant>,
    classes: Vec<ServiceClass>,
    stock: BTreeMap<String, u32>,
}

impl Parts {
    pub(super) fn of(catalogue: &Catalogue) -> Self {
        Self {
            accelerators: catalogue.accelerators.clone(),
            models: catalogue.models.clone(),
            variants: catalogue.variants.clone(),
            classes: catalogue.classes.clone(),
            stock: catalogue.stock.clone(),
        }
    }

    /// The catalogue, if every variant's model and accelerator are in it.
    pub(super) fn catalogue(self) -> Result<Catalogue, String> {
        for variant in &self.variants {
            let model = self.models.iter().any(|m| m.name == variant.model);
            let accelerator = self
                .accelerators
                .iter()
                .any(|a| a.name == variant.accelerator);
            if !(model && accelerator) {
                return Err(format!(
                    "variant {} names a model or accelerator that is not there",
                    variant.name
                ));
            }
        }
        Ok(Catalogue {
            accelerators: self.accelerators,
            models: self.models,
            variants: self.variants,
            classes: self.classes,
            stock: self.stock,
        })
    }
}

impl Moment {
    /// The document, one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        line(&Document {
            schema: MOMENT_SCHEMA.to_owned(),
            catalogue: Parts::of(&self.autoscaler.catalogue),
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
        let bad = |message| bad_line(origin, 1, "cycle", message);
        let document: Document = serde_json::from_str(json).map_err(|e| bad(e.to_string()))?;
        if document.schema != MOMENT_SCHEMA {
            return Err(bad(format!(
                "schema {}, expected {MOMENT_SCHEMA}",
                document.schema
            )));
        }
        Ok(Self {
            autoscaler: Autoscaler {
                catalogue: document.catalogue.catalogue().map_err(bad)?,
                settings: document.settings,
            },
            state: document.state,
            snapshot: document.snapshot,
            cycle: document.cycle,
        })
    }
}
