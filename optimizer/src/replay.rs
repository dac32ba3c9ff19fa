//! Recording cycles and replaying them: one bundle, the same decisions bit for bit.
//!
//! A bundle is JSON lines. The first is the header: schema, the catalogue as YAML, the settings. Each further line is one
//! cycle: the snapshot and what was decided. Replaying runs [`step`] over the snapshots and compares: from an empty state,
//! or from the one that the header of a controller's bundle carries, with the catalogue as it was.

mod moment;

use std::io::BufRead;

use serde::{Deserialize, Serialize};
use wva_models::catalogue::{Catalogue, CatalogueError};

use crate::decision::Decision;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::step::{Autoscaler, Cycle, Settings, step};

use moment::Parts;
pub use moment::{MOMENT_SCHEMA, Moment};

/// Schema name of the header.
pub const BUNDLE_SCHEMA: &str = "wva.bundle/v1";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    schema: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    catalogue_yaml: String,
    settings: Settings,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resumed: Option<Resumed>,
}

/// What a bundle of a process that had run before begins with.
#[derive(Debug, Serialize, Deserialize)]
struct Resumed {
    catalogue: Parts,
    state: State,
}

/// One recorded cycle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded {
    /// What the cycle saw.
    pub snapshot: Snapshot,
    /// What it came to.
    pub cycle: Cycle,
}

/// Why a bundle cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The input could not be read.
    #[error("{origin}: {source}")]
    Read {
        /// Name of the input.
        origin: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error(
        "{origin}:{line}: not a {what} of a recorded bundle ({message}); record one with `wva simulate --record FILE`"
    )]
    Line {
        /// Name of the input.
        origin: String,
        /// Line number, from 1.
        line: usize,
        /// Header or cycle.
        what: &'static str,
        /// What went wrong.
        message: String,
    },
    /// The bundle's catalogue is not valid.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

/// The first decision that came out differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Line of the bundle.
    pub line: usize,
    /// Time of the cycle.
    pub at: f64,
    /// What was recorded; absent when there was no such decision.
    pub recorded: Option<Decision>,
    /// What came out now.
    pub replayed: Option<Decision>,
}

/// Outcome of a replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// Cycles replayed.
    pub cycles: usize,
    /// Whether every cycle came out the same.
    pub identical: bool,
    /// The first difference.
    pub first_difference: Option<Difference>,
}

/// First line of a bundle for this autoscaler.
#[must_use]
pub fn header(autoscaler: &Autoscaler) -> String {
    line(&Header {
        schema: BUNDLE_SCHEMA.to_owned(),
        catalogue_yaml: autoscaler.catalogue.to_yaml(),
        settings: autoscaler.settings.clone(),
        resumed: None,
    })
}

/// First line of a bundle that goes on from `state`, of a controller that decides its fleet part by part.
#[must_use]
pub fn resumed_header(autoscaler: &Autoscaler, state: &State) -> String {
    line(&Header {
        schema: BUNDLE_SCHEMA.to_owned(),
        catalogue_yaml: String::new(),
        settings: autoscaler.settings.clone(),
        resumed: Some(Resumed {
            catalogue: Parts::of(&autoscaler.catalogue),
            state: state.clone(),
        }),
    })
}

/// One line of a bundle.
#[must_use]
pub fn record(snapshot: &Snapshot, cycle: &Cycle) -> String {
    line(&Recorded {
        snapshot: snapshot.clone(),
        cycle: cycle.clone(),
    })
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data with string keys serialises")
}

/// A bundle being read: the autoscaler of its header, then its cycles, each with its line number.
pub struct Bundle<R> {
    /// What took the decisions.
    pub autoscaler: Autoscaler,
    /// What was remembered when it began.
    pub state: State,
    /// Whether a controller recorded it, which decides its fleet part by part.
    pub in_parts: bool,
    origin: String,
    lines: std::iter::Enumerate<std::io::Lines<R>>,
}

impl<R: BufRead> Bundle<R> {
    /// Reads the header; `origin` is the input's name in errors.
    ///
    /// # Errors
    /// [`ReplayError`] when the first line is not the header of a bundle.
    pub fn open(input: R, origin: &str) -> Result<Self, ReplayError> {
        let mut lines = input.lines().enumerate();
        let bad = |message: String| bad_line(origin, 1, "header", message);
        let (_, first) = lines
            .next()
            .ok_or_else(|| bad("the file is empty".into()))?;
        let first = first.map_err(|source| unreadable(origin, source))?;
        let header: Header = serde_json::from_str(&first).map_err(|e| bad(e.to_string()))?;
        if header.schema != BUNDLE_SCHEMA {
            return Err(bad(format!(
                "schema {}, expected {BUNDLE_SCHEMA}",
                header.schema
            )));
        }
        let in_parts = header.resumed.is_some();
        let (catalogue, state) = match header.resumed {
            Some(resumed) => (resumed.catalogue.catalogue().map_err(bad)?, resumed.state),
            None => (
                Catalogue::parse(&header.catalogue_yaml, origin)?,
                State::default(),
            ),
        };
        Ok(Self {
            autoscaler: Autoscaler {
                catalogue,
                settings: header.settings,
            },
            state,
            in_parts,
            origin: origin.to_owned(),
            lines,
        })
    }
}

impl<R: BufRead> Iterator for Bundle<R> {
    type Item = Result<(usize, Recorded), ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (i, text) = self.lines.next()?;
            let text = match text {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => text,
                Err(source) => return Some(Err(unreadable(&self.origin, source))),
            };
            let cycle = serde_json::from_str(&text);
            let cycle = cycle.map_err(|e| bad_line(&self.origin, i + 1, "cycle", e.to_string()));
            return Some(cycle.map(|c| (i + 1, c)));
        }
    }
}

fn bad_line(origin: &str, line: usize, what: &'static str, message: String) -> ReplayError {
    ReplayError::Line {
        origin: origin.to_owned(),
        line,
        what,
        message,
    }
}

fn unreadable(origin: &str, source: std::io::Error) -> ReplayError {
    ReplayError::Read {
        origin: origin.to_owned(),
        source,
    }
}

/// Runs the recorded snapshots through the autoscaler again. `each` sees every cycle as it comes out.
///
/// # Errors
/// [`ReplayError`] naming the line that is not part of a bundle.
pub fn replay(
    input: impl BufRead,
    origin: &str,
    each: impl FnMut(&Snapshot, &Cycle),
) -> Result<Replayed, ReplayError> {
    replay_by(Bundle::open(input, origin)?, step, each)
}

/// As [`replay`], deciding by `decide`.
///
/// # Errors
/// As [`replay`].
pub fn replay_by<R: BufRead>(
    mut bundle: Bundle<R>,
    mut decide: impl FnMut(&Autoscaler, &Snapshot, State) -> (State, Cycle),
    mut each: impl FnMut(&Snapshot, &Cycle),
) -> Result<Replayed, ReplayError> {
    let mut state = std::mem::take(&mut bundle.state);
    let mut outcome = Replayed {
        cycles: 0,
        identical: true,
        first_difference: None,
    };
    while let Some(next) = bundle.next() {
        let (line, recorded) = next?;
        let (after, cycle) = decide(&bundle.autoscaler, &recorded.snapshot, state);
        state = after;
        outcome.cycles += 1;
        if outcome.identical && cycle != recorded.cycle {
            outcome.identical = false;
            outcome.first_difference = Some(difference(line, &recorded, &cycle));
        }
        each(&recorded.snapshot, &cycle);
    }
    Ok(outcome)
}

fn difference(line: usize, recorded: &Recorded, replayed: &Cycle) -> Difference {
    let n = recorded.cycle.decisions.len().max(replayed.decisions.len());
    let differs = (0..n)
        .find(|&i| recorded.cycle.decisions.get(i) != replayed.decisions.get(i))
        .unwrap_or(n);
    Difference {
        line,
        at: recorded.snapshot.at,
        recorded: recorded.cycle.decisions.get(differs).cloned(),
        replayed: replayed.decisions.get(differs).cloned(),
    }
}
