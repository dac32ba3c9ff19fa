//! `wva replay`: recorded cycles once more, to see whether the same is decided.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use wva_controllers::cycle::components::{self, Capacities};
use wva_optimizer::decision::Decision;
use wva_optimizer::replay::{Bundle, Difference, replay_by};
use wva_optimizer::snapshot::Snapshot;
use wva_optimizer::state::State;
use wva_optimizer::step::{Autoscaler, Cycle, step};

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
  wva controller --record cycles                          a live controller; wva demo --record cycles
  wva replay cycles/cycles-1790000000.jsonl               its last cycles

Exit code 1 when a decision comes out differently.")]
pub struct Replay {
    /// Bundle that `wva simulate`, `wva demo` or `wva controller` wrote with --record; `-` for stdin
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

/// Decides as whoever recorded a bundle did: a controller decides its fleet part by part.
pub struct Decider {
    in_parts: bool,
    capacities: Capacities,
}

impl Decider {
    /// As this bundle was recorded.
    pub fn of<R>(bundle: &Bundle<R>) -> Self {
        Self {
            in_parts: bundle.in_parts,
            capacities: Capacities::default(),
        }
    }

    /// One cycle.
    pub fn decide(
        &mut self,
        autoscaler: &Autoscaler,
        snapshot: &Snapshot,
        state: State,
    ) -> (State, Cycle) {
        if self.in_parts {
            components::decide(autoscaler, snapshot, state, &mut self.capacities)
        } else {
            step(autoscaler, snapshot, state)
        }
    }
}

impl Replay {
    /// Replays.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let bundle = input::name_of(&self.bundle);
        let reader = input::open(&self.bundle, "a bundle")?;
        let mut changed = 0;
        let opened =
            Bundle::open(reader, &bundle).map_err(|e| Diagnostic::placed(&e.to_string()))?;
        let mut decider = Decider::of(&opened);
        let decide =
            |autoscaler: &_, snapshot: &_, state| decider.decide(autoscaler, snapshot, state);
        let outcome = replay_by(opened, decide, |_, cycle| {
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
