//! `wva explain`: why the autoscaler decided what it did, what limited it, and what else it could have done.

mod answer;
mod moment;

use std::path::PathBuf;

use clap::Args;

use crate::console::Console;
use crate::failure::{Failure, Verdict};
use crate::input::Input;
use answer::Explained;
use moment::Moment;

/// Say why replicas were changed: reasons, what limits them, the runner-up, what would be cheaper
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva simulate examples/chat.yaml --policy wva --record run.jsonl
  wva explain run.jsonl                                   the last change
  wva explain run.jsonl --at 1800                         the decision in force half an hour in
  wva explain run.jsonl --variant h100 -o json

A bundle of `wva simulate --record` also tells what else could have been done; a log of decisions alone only why.")]
pub struct Explain {
    /// Bundle that `wva simulate --record` wrote, or a log with one decision a line; `-` for stdin
    decisions: PathBuf,
    /// The last decision at or before this time, in the log's seconds; absent: the last one that changed replicas
    #[arg(long, value_name = "SECONDS")]
    at: Option<f64>,
    /// Only this variant
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
}

impl Explain {
    /// Explains.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let input = Input::read(&self.decisions, "a bundle or a log of decisions")?;
        let wanted = moment::Wanted {
            at: self.at,
            variant: self.variant.as_deref(),
        };
        let moment = Moment::find(&input, &wanted)?;
        console.answer(&Explained::new(&moment, &wanted)?)?;
        Ok(Verdict::Done)
    }
}
