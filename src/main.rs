//! `wva`: keeps a fleet of LLM model servers at the cheapest size that still meets its latency objectives.
//!
//! This binary is edges only: arguments, files, terminals and exit codes. Every figure it prints comes from the
//! libraries, so that the command line, the simulator and the controller cannot disagree.

mod arguments;
mod cluster;
mod commands;
mod condition;
mod console;
mod diagnostic;
mod ending;
mod failure;
mod figures;
mod fleet;
mod input;
mod progress;
mod report;
mod table;
mod telemetry;

use std::process::ExitCode;

use console::Console;
use failure::Verdict;

fn main() -> ExitCode {
    let arguments = arguments::parse();
    let console = Console::new(&arguments.common);
    let outcome = telemetry::start(&arguments.common, arguments.command.log_level())
        .and_then(|()| arguments.command.run(&arguments.common, &console));
    match outcome {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::NotHeld) => ExitCode::from(1),
        Err(failure) => failure.report(&console),
    }
}
