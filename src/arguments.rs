//! What the command line may say.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};

use crate::commands::Command;

/// Keeps a fleet of LLM model servers at the cheapest size that still meets its latency objectives.
#[derive(Debug, Parser)]
#[command(
    name = "wva",
    version,
    about,
    max_term_width = 110,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done; 1 a --fail-if or check did not hold, or no feasible plan; 2 usage or bad input; 3 the cluster cannot be reached.\n\
                  `wva VERB --help` explains a verb, with examples."
)]
pub struct Arguments {
    /// Options of every verb.
    #[command(flatten)]
    pub common: Common,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Format of the answer on stdout: table, json, yaml or wide (table with everything)
    #[arg(
        short = 'o',
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "FORMAT"
    )]
    pub format: Format,
    /// No progress and no remarks on stderr, errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// What to log on stderr: `debug`, or by module: `info,wva_simulations=trace` [default: warn; of servers: info]
    #[arg(
        long,
        global = true,
        env = "RUST_LOG",
        hide_env_values = true,
        value_name = "FILTER"
    )]
    pub log: Option<String>,
}

/// Format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For scripts
    Json,
    /// For scripts and files
    Yaml,
    /// For people, with everything
    Wide,
}

/// The arguments of this process; prints and exits by itself on `--help`, `--version` and usage errors (code 2).
/// Started as `kubectl-wva`, the program calls itself `kubectl wva`, as kubectl does.
pub fn parse() -> Arguments {
    let words: Vec<OsString> = std::env::args_os().collect();
    let as_plugin = words
        .first()
        .and_then(|w| Path::new(w).file_stem())
        .is_some_and(|stem| stem == "kubectl-wva");
    let name = if as_plugin { "kubectl wva" } else { "wva" };
    let command = with_negative_numbers(Arguments::command());
    let matches = command.bin_name(name).get_matches_from(words);
    Arguments::from_arg_matches(&matches).unwrap_or_else(|e| e.exit())
}

/// Takes `--rate -3` for a wrong rate, of which its parser says what is right, rather than for two unknown options.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let options = command.mut_args(|a| {
        let numbers = !a.is_positional() && a.get_action().takes_values();
        a.allow_negative_numbers(numbers)
    });
    options.mut_subcommands(with_negative_numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        with_negative_numbers(Arguments::command()).debug_assert();
    }

    /// Help that shows no example teaches nothing.
    #[test]
    fn every_verb_shows_examples() {
        fn check(command: &clap::Command) {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("Examples:"), "{}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        Arguments::command().get_subcommands().for_each(check);
    }
}
