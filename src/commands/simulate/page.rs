//! The HTML report of a comparison.

use std::path::{Path, PathBuf};

use clap::Args;
use wva_simulations::report::{Report, Traffic, render};
use wva_simulations::result::RunResult;
use wva_simulations::scenario::Scenario;

use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;

/// Where the report goes when nothing is said.
const DEFAULT: &str = "wva-report.html";

/// Whether and where a report is written.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Where to write the HTML report; absent: `wva-report.html`, with the table on a terminal or in a pipe
    #[arg(long, value_name = "FILE", conflicts_with = "no_report")]
    report: Option<PathBuf>,
    /// Write no report
    #[arg(long)]
    no_report: bool,
}

impl ReportArguments {
    /// Writes the report, if one is wanted. Only one that was asked for is worth failing over.
    pub fn write(&self, console: &Console, page: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.no_report || (self.report.is_none() && !console.for_people()) {
            return Ok(());
        }
        let path = self.report.as_deref().unwrap_or(Path::new(DEFAULT));
        let shown = path.display();
        match std::fs::write(path, page()) {
            Ok(()) => console.note(&format!("report: {shown}")),
            Err(e) if self.report.is_some() => {
                return Err(Diagnostic::new(format!("cannot write `{shown}`: {e}")).into());
            }
            Err(e) => console.note(&format!(
                "note: no report, since `{shown}` cannot be written: {e}"
            )),
        }
        Ok(())
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
    let words: Vec<String> = std::env::args().skip(1).map(|word| quoted(&word)).collect();
    render(&Report {
        title: scenario.name.clone(),
        catalogue: &scenario.catalogue,
        traffic: traffic.collect(),
        runs,
        oracle_cost_usd: None,
        command: format!("wva {}", words.join(" ")),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        notes: scenario.notes.clone(),
    })
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,=:@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_as_a_shell_needs() {
        for (word, shown) in [
            ("a.yaml", "a.yaml"),
            ("cost>5", "'cost>5'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
