//! The HTML report of a comparison.

use std::path::{Path, PathBuf};

use clap::Args;
use wva_simulations::report::{Report, Traffic, render};
use wva_simulations::result::RunResult;
use wva_simulations::scenario::Scenario;

use crate::console::Console;
use crate::failure::Failure;
use crate::report;

/// Where the report goes when nothing is said.
const DEFAULT: &str = "wva-report.html";

/// Whether and where a report is written.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Where to write the HTML report; absent: `wva-report.html`, but nothing beside JSON or YAML
    #[arg(long, value_name = "FILE", conflicts_with = "no_report")]
    report: Option<PathBuf>,
    /// Write no report
    #[arg(long)]
    no_report: bool,
}

impl ReportArguments {
    /// Writes the report, if one is wanted. Only one that was asked for is worth failing over.
    pub fn write(&self, console: &Console, page: impl FnOnce() -> String) -> Result<(), Failure> {
        match &self.report {
            Some(path) => report::write(console, path, &page()),
            None if self.no_report || !console.for_people() => Ok(()),
            None => {
                if report::write(console, Path::new(DEFAULT), &page()).is_err() {
                    console.note(&format!(
                        "note: no report, since `{DEFAULT}` cannot be written"
                    ));
                }
                Ok(())
            }
        }
    }
}

/// The page of a scenario's runs.
pub fn page(scenario: &Scenario, runs: &[RunResult], trace: Option<&str>) -> String {
    let source = trace.map_or_else(
        || "as the scenario says".to_owned(),
        |t| format!("scenario, and trace {t}"),
    );
    let demand = scenario.demand(f64::INFINITY);
    let traffic = demand.into_iter().map(|d| Traffic {
        source: source.clone(),
        mean_rps: Some(d.rate),
        mean_input_tokens: Some(d.shape.mean_input()),
        mean_output_tokens: Some(d.shape.mean_output()),
        model: d.model,
        class: d.class,
    });
    render(&Report {
        title: scenario.name.clone(),
        catalogue: &scenario.catalogue,
        traffic: traffic.collect(),
        runs,
        oracle_cost_usd: None,
        command: report::command(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        notes: scenario.notes.clone(),
    })
}
