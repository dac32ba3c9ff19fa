//! The verbs, one file each.

mod catalogue;
mod completions;
mod plan;
mod predict;

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
    Completions(completions::Completions),
}

impl Command {
    /// Runs the verb.
    pub fn run(&self, _common: &Common, console: &Console) -> Result<Verdict, Failure> {
        match self {
            Self::Catalogue(verb) => verb.run(console),
            Self::Predict(verb) => verb.run(console),
            Self::Plan(verb) => verb.run(console),
            Self::Completions(verb) => verb.run(console),
        }
    }
}
