//! Why a scenario cannot be run: where, what, and what to do about it.

use wva_models::catalogue::{CatalogueError, Place, names};
use wva_models::shape::ShapeError;

use crate::workload::curve::CurveError;
use crate::workload::traffic_file::TrafficFileError;

/// Why a text is not a scenario.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// Not YAML, an unknown key or name, or a catalogue that contradicts itself.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A traffic file cannot be opened.
    #[error(
        "{place}: cannot open `{path}`: {message}; paths are relative to the scenario's folder"
    )]
    Open {
        /// Where it is named.
        place: Place,
        /// The path as written.
        path: String,
        /// What the operating system says.
        message: String,
    },
    /// A traffic file cannot be used.
    #[error(transparent)]
    TrafficFile(#[from] TrafficFileError),
    /// Arrivals that are not a rate over time.
    #[error("{place}: {source}")]
    Arrivals {
        /// Where.
        place: Place,
        /// Why not.
        source: CurveError,
    },
    /// A shape that contradicts itself.
    #[error("{place}: {source}")]
    Shape {
        /// Where.
        place: Place,
        /// Why not.
        source: ShapeError,
    },
    /// A number outside its domain.
    #[error("{place}: {what} must be {domain}, not {value}")]
    Invalid {
        /// Where.
        place: Place,
        /// Which number.
        what: &'static str,
        /// Its domain in words.
        domain: &'static str,
        /// The number.
        value: f64,
    },
    /// Something needed is not there.
    #[error("{place}: there is no {what}; {remedy}")]
    Missing {
        /// Where it is needed.
        place: Place,
        /// What is missing.
        what: &'static str,
        /// How to add it.
        remedy: &'static str,
    },
    /// Two parts of the scenario exclude each other.
    #[error("{place}: {what}; {remedy}")]
    Contradiction {
        /// Where the second part is.
        place: Place,
        /// What excludes what, with names and values.
        what: String,
        /// What to change.
        remedy: &'static str,
    },
}

impl ScenarioError {
    /// A name that nothing of its kind has.
    pub(super) fn unknown<'a>(
        place: Place,
        kind: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let nearest = names::nearest(name, known.iter().copied(), str::to_lowercase);
        Self::Catalogue(CatalogueError::Unknown {
            place,
            kind,
            name: name.to_owned(),
            nearest: nearest.map(Into::into),
            known: known.into_iter().map(str::to_owned).collect(),
        })
    }

    /// The place in the scenario's file, where the error has one.
    #[must_use]
    pub const fn place(&self) -> Option<&Place> {
        match self {
            Self::Open { place, .. }
            | Self::Arrivals { place, .. }
            | Self::Shape { place, .. }
            | Self::Invalid { place, .. }
            | Self::Missing { place, .. }
            | Self::Contradiction { place, .. } => Some(place),
            Self::Catalogue(_) | Self::TrafficFile(_) => None,
        }
    }
}
