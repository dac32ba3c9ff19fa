//! `wva replay`: recorded cycles once more, to see whether the same is decided.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use wva_optimizer::decision::Decision;
use wva_optimizer::replay::{Difference, replay};

use crate::console::{Answer, Console, Page};
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use crate::figures::{count, seconds};
use crate::input;
use crate::table::Tone;

/// Run recorded snapshots through the autoscaler again and compare the decisions
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva simulate examples/chat.yaml --policy wva --record run.jsonl
  wva replay run.jsonl                                    does this build still decide the same?
  wva replay run.jsonl -o json | jq .first_difference

Exit code 1 when a decision comes out differently.")]
pub struct Replay {
    /// Bundle that `wva simulate --record` wrote; `-` for stdin
    bundle: PathBuf,
}

/// Whether the decisions came out the same.
#[derive(Debug, Serialize)]
struct Replayed {
    bundle: String,
    identical: bool,
    cycles: usize,
    changed_decisions: usize,
    first_difference: Option<Difference>,
}

impl Replay {
    /// Replays.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let bundle = input::name_of(&self.bundle);
        let reader = input::open(&self.bundle, "a bundle")?;
        let mut changed = 0;
        let outcome = replay(reader, &bundle, |_, cycle| {
            changed += cycle
                .decisions
                .iter()
                .filter(|d| d.target != d.current)
                .count();
        });
        let outcome = outcome.map_err(|e| Diagnostic::placed(&e.to_string()))?;
        let identical = outcome.identical;
        console.answer(&Replayed {
            bundle,
            identical,
            cycles: outcome.cycles,
            changed_decisions: changed,
            first_difference: outcome.first_difference,
        })?;
        Ok(if identical {
            Verdict::Done
        } else {
            Verdict::NotHeld
        })
    }
}

impl Answer for Replayed {
    const VERB: &'static str = "replay";

    fn describe(&self, page: &mut Page) {
        let cycles = count(self.cycles, "cycle", "cycles");
        let changes = count(self.changed_decisions, "change", "changes");
        let outcome = if self.identical {
            page.toned("identical", Tone::Good)
        } else {
            page.toned("different", Tone::Bad)
        };
        page.line(format!(
            "{}: {outcome}: {cycles}, {changes} of replicas",
            self.bundle
        ));
        let Some(difference) = &self.first_difference else {
            return;
        };
        page.line(format!(
            "first difference at {} (line {}):",
            seconds(difference.at),
            difference.line
        ));
        page.line(format!(
            "  recorded: {}",
            decided(difference.recorded.as_ref())
        ));
        page.line(format!(
            "  replayed: {}",
            decided(difference.replayed.as_ref())
        ));
    }
}

fn decided(decision: Option<&Decision>) -> String {
    let Some(d) = decision else {
        return "every decision is the same, but not what led to them".to_owned();
    };
    let reasons: Vec<&str> = d.reasons.iter().map(|r| r.text.as_str()).collect();
    format!(
        "{} {} → {} (plan {}): {}",
        d.variant,
        d.current,
        d.target,
        d.planned,
        reasons.join("; ")
    )
}
