//! The verbs, one file each.

mod catalogue;
mod completions;
mod controller;
mod crds;
mod emulate;
mod explain;
pub mod plan;
mod predict;
mod replay;
mod simulate;

use clap::Subcommand;

use crate::arguments::Common;
use crate::console::Console;
use crate::failure::{Failure, Verdict};

/// A verb with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    Catalogue(catalogue::CatalogueVerb),
    Predict(predict::Predict),
    Plan(plan::Plan),
    Simulate(simulate::Simulate),
    Explain(explain::Explain),
    Replay(replay::Replay),
    Controller(controller::Controller),
    Crds(crds::Crds),
    Emulate(emulate::Emulate),
    Completions(completions::Completions),
}

impl Command {
    /// What is logged unless asked for otherwise: servers say what they do, answers speak for themselves.
    pub fn log_level(&self) -> &'static str {
        match self {
            Self::Controller(_) => "info",
            _ => "warn",
        }
    }

    /// Runs the verb.
    pub fn run(&self, _common: &Common, console: &Console) -> Result<Verdict, Failure> {
        match self {
            Self::Catalogue(verb) => verb.run(console),
            Self::Predict(verb) => verb.run(console),
            Self::Plan(verb) => verb.run(console),
            Self::Simulate(verb) => verb.run(console),
            Self::Explain(verb) => verb.run(console),
            Self::Replay(verb) => verb.run(console),
            Self::Controller(verb) => verb.run(),
            Self::Crds(verb) => verb.run(console),
            Self::Emulate(verb) => verb.run(console),
            Self::Completions(verb) => verb.run(console),
        }
    }
}
