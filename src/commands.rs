//! The verbs, one file each.

mod catalogue;
mod completions;
mod controller;
mod crds;
mod demo;
mod doctor;
mod emulate;
mod epp;
mod explain;
mod gateway;
mod migrate;
mod pause;
pub mod plan;
mod predict;
pub mod replay;
mod simulate;
pub mod status;
pub mod top;

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
    Status(status::Status),
    Top(top::Top),
    Doctor(doctor::Doctor),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Migrate(migrate::Migrate),
    Controller(controller::Controller),
    Crds(crds::Crds),
    Epp(epp::Epp),
    Gateway(gateway::Gateway),
    Emulate(emulate::Emulate),
    Demo(demo::Demo),
    Completions(completions::Completions),
}

impl Command {
    /// What is logged unless asked for otherwise: servers say what they do, answers speak for themselves.
    pub fn log_level(&self) -> &'static str {
        match self {
            Self::Controller(_) => "info",
            Self::Epp(verb) => verb.log_level(),
            Self::Gateway(verb) => verb.log_level(),
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
            Self::Status(verb) => verb.run(console),
            Self::Top(verb) => verb.run(console),
            Self::Doctor(verb) => verb.run(console),
            Self::Pause(verb) => verb.run(console),
            Self::Resume(verb) => verb.run(console),
            Self::Migrate(verb) => verb.run(console),
            Self::Controller(verb) => verb.run(),
            Self::Crds(verb) => verb.run(console),
            Self::Epp(verb) => verb.run(),
            Self::Gateway(verb) => verb.run(),
            Self::Emulate(verb) => verb.run(console),
            Self::Demo(verb) => verb.run(console),
            Self::Completions(verb) => verb.run(console),
        }
    }
}
