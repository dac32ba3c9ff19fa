//! `wva plan`: the cheapest fleet for given rates, and what limits it.

pub mod answer;
pub mod file;
mod tables;

use std::path::PathBuf;

use clap::Args;
use wva_optimizer::planner::{CapacityTable, PlanInput, Planned, plan};
use wva_optimizer::problem::ProblemError;
use wva_simulations::report::{Alternative, PlanReport};

use crate::condition::Condition;
use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use crate::input::Input;
use crate::report;
use answer::Answered;

/// Find the cheapest fleet that meets every SLO at given request rates
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva plan fleet.yaml                                    cheapest fleet, what limits it, what else would do
  wva plan fleet.yaml -o json | jq '.replicas[]'
  wva plan fleet.yaml --rate-scale 2                     and at twice the traffic?
  wva plan fleet.yaml --fail-if 'cost>$40'               stop a pipeline when the fleet gets dear
  wva plan fleet.yaml --report plan.html                 the same to look at

The file holds a catalogue and the demands:
  variants:
    - {model: llama-3.1-8b, accelerator: H100}
    - {model: llama-3.1-8b, accelerator: L40S, max_replicas: 8}
  classes:
    - {name: chat, priority: 10, ttft_ms: {p99: 500}, itl_ms: {mean: 40}}
  demands:
    - {model: llama-3.1-8b, class: chat, rate_rps: 25, shape: {input_tokens: {mean: 1155, cv: 1.2}, output_tokens: 211}}
  stock: {H100: 8}                # optional, as are current replicas, which count when changes cost something:
  current: {llama-3.1-8b-h100: 2}
  settings: {change_price_usd: 0.5, budget_per_hour_usd: 100}

Exit code 1 when not everything can be served: the plan shown is then the best that can be done.")]
pub struct Plan {
    /// YAML file with a catalogue and demands
    file: PathBuf,
    /// All demands times this
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = super::predict::positive)]
    rate_scale: f64,
    /// Exit with 1 if this holds, such as `cost>$40` or `gap>2%`
    #[arg(long, value_name = "CONDITION")]
    fail_if: Option<String>,
    /// Write an HTML report
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Plan {
    /// Plans.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let condition = self
            .fail_if
            .as_ref()
            .map(|text| Condition::parse(text, &answer::vocabulary()));
        let condition = condition.transpose()?;
        let input = Input::read(&self.file, "a plan file")?;
        let file = file::read(&input)?;
        let question = file.input(self.rate_scale);
        let unusable = |e: ProblemError| Diagnostic::new(format!("{}: {e}", input.name));
        let planned = plan(&question, &mut CapacityTable::default()).map_err(unusable)?;
        tracing::debug!(rung = ?planned.plan.rung, raised = planned.raised, "planned");
        let answer = Answered::new(&question, &planned).map_err(unusable)?;
        console.answer(&answer)?;
        if let Some(path) = &self.report {
            let page = page(&input.name, &question, &planned, &answer);
            report::write(console, path, &page)?;
        }
        let judged = console.judge(condition.as_ref(), &|q| answer.figure(&q.metric));
        Ok(if answer.is_feasible() {
            judged
        } else {
            Verdict::NotHeld
        })
    }
}

fn page(title: &str, input: &PlanInput<'_>, planned: &Planned, answer: &Answered) -> String {
    let alternative = |a: &answer::Other| Alternative {
        label: format!("without {}", a.without),
        cost_per_hour_usd: (a.unmet_rps <= 1e-6).then_some(a.cost_per_hour_usd),
        replicas: a
            .replicas
            .iter()
            .map(|r| (r.variant.clone(), r.replicas))
            .collect(),
    };
    wva_simulations::report::plan(&PlanReport {
        title: title.to_owned(),
        input,
        planned,
        alternatives: answer.alternatives.iter().map(alternative).collect(),
        command: report::command(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        notes: Vec::new(),
    })
}
