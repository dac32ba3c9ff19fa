//! Scenarios: the YAML of `wva simulate`: a catalogue, traffic, a fleet, policies to compare, and what goes wrong.
//!
//! ```yaml
//! name: chat
//! duration_minutes: 60                 # absent: as long as the longest trace, rate file or ramp
//! models: [{name: llama-3.1-8b}]       # with accelerators, variants, classes, stock: the catalogue's keys
//! variants: [{model: llama-3.1-8b, accelerator: L40S}]
//! classes: [{name: chat, ttft_ms: {p99: 1500}}]
//! traffic:
//!   - {model: llama-3.1-8b, class: chat, arrivals: {poisson: {rps: 5}}, shape: {input_tokens: 1000, output_tokens: 200}}
//! policies: [wva, static, hpa-queue, keda-slo]
//! ```
//! Every key is written out in [`text`]. A scenario is parsed whole and checked whole before anything runs: unknown
//! names, contradictions and objectives below physical floors are errors with file, line, column, value and remedy.
//! Nothing here opens files: the caller passes a function that does, so the module is pure and tests need no disk.

use std::io::BufRead;

use wva_models::catalogue::{Catalogue, Place, from_yaml};
use wva_models::iteration::ReplicaModel;

use crate::fault::Fault;
use crate::fleet::Router;
use crate::workload::Workload;
use crate::workload::statistics::StreamDemand;
use crate::workload::traffic_file::OnBadLine;

mod build;
mod error;
mod fault;
mod fleet;
pub mod policies;
pub mod text;
mod traffic;
mod truth;

pub use error::ScenarioError;
pub use fleet::Fleet;
pub use policies::{PolicyChoice, PolicySettings};

/// A scenario, checked and ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name, for reports.
    pub name: String,
    /// Seed of everything random in it.
    pub seed: u64,
    /// Accelerators, models, variants, classes and stock.
    pub catalogue: Catalogue,
    /// All traffic; its [`Workload::end`] is the length of the run in seconds.
    pub workload: Workload,
    /// How the fleet starts and is watched.
    pub fleet: Fleet,
    /// How the gateway picks among ready replicas.
    pub router: Router,
    /// How far the true laws may be from the catalogue's, as a fraction; see [`Scenario::truth`].
    pub off_by: f64,
    /// Policies to compare, at least one.
    pub policies: Vec<PolicyChoice>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What the user should know: odd lines of traces, objectives that recorded requests cannot meet.
    pub notes: Vec<String>,
}

/// What the command line changes about a scenario.
#[derive(Default)]
pub struct Overrides<'a> {
    /// Traffic that replaces the scenario's for one model and class: the file's name and its open content. Its own length
    /// then is the length of the run.
    pub trace: Option<(&'a str, Box<dyn BufRead + 'a>)>,
    /// Model of the trace; absent: that of the first traffic.
    pub model: Option<&'a str>,
    /// Class of the trace; absent: the first one that the model has traffic of, else the first one of the catalogue.
    pub class: Option<&'a str>,
    /// All traffic this many times as often; absent: 1.
    pub rate_scale: Option<f64>,
    /// Seed instead of the scenario's.
    pub seed: Option<u64>,
    /// Name of the router instead of the scenario's.
    pub router: Option<&'a str>,
    /// Names of policies instead of the scenario's; those that the scenario lists keep their settings.
    pub policies: &'a [String],
    /// What to do about bad lines in traffic files.
    pub on_bad_line: OnBadLine,
}

/// Opens a file that a scenario names, by the path as it is written there (relative to the scenario's own folder).
pub type Open<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<Box<dyn BufRead>>;

impl Scenario {
    /// Reads a scenario. `origin` is the file's name in messages.
    ///
    /// # Errors
    /// [`ScenarioError`], with the place in the file where there is one.
    pub fn parse(
        yaml: &str,
        origin: &str,
        overrides: Overrides<'_>,
        open: Open<'_>,
    ) -> Result<Self, ScenarioError> {
        let text: text::ScenarioText = from_yaml(yaml, origin)?;
        build::build(text, origin, overrides, open)
    }

    /// What the simulated replicas really do, per variant in the catalogue's order: the catalogue's laws, each parameter
    /// off by up to [`Scenario::off_by`] either way. No policy is told.
    #[must_use]
    pub fn truth(&self) -> Vec<ReplicaModel> {
        truth::laws(&self.catalogue, self.off_by, self.seed)
    }

    /// Average demand of each stream that has any in the first `seconds`: what a fleet that is ready for the start of
    /// the run has to carry. Over the whole run: what somebody who sizes it in advance knows.
    #[must_use]
    pub fn demand(&self, seconds: f64) -> Vec<StreamDemand> {
        let until = seconds.min(self.workload.end());
        StreamDemand::of(&self.workload, self.seed, until)
    }
}

/// Line and column of a value.
fn place<T>(origin: &str, value: &wva_models::catalogue::Spanned<T>) -> Place {
    let at = value.referenced;
    Place::at(origin, at.line(), at.column())
}
