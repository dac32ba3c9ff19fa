//! `wva doctor`: is everything there that scaling needs, and if not, what is missing and what to do about it.
//!
//! ```text
//! Evidence (one look at the cluster) ─► one judge per area, each a pure function ─► findings, worst first
//! ```
//! Judges see plain data and never the cluster, so that each is tested on objects written down in a test.

mod controller;
mod evidence;
mod finding;
mod registration;
mod rights;
mod scalers;
mod telemetry;
mod variants;

use clap::Args;
use serde::Serialize;

use crate::cluster;
use crate::cluster::arguments::ClusterArguments;
use crate::console::{Answer, Console, Page};
use crate::failure::{Failure, Verdict};
use crate::figures::count;
use crate::table::{Table, Tone};
use evidence::Evidence;
use finding::{Area, Examination, Finding, Severity};

/// Find out why something is not scaled: inputs, names, owners, rights; with the fix for each finding
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva doctor                                   the whole installation
  wva doctor -n llm-d                          variants of one namespace only
  wva doctor --prometheus http://127.0.0.1:9090
  wva doctor -o json | jq '.findings[] | select(.severity == \"error\") | .fix'

Exit code 1 when anything is an error.")]
pub struct Doctor {
    /// Prometheus that the controller asks, as it is reached from here
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// Whose rights are judged, as NAMESPACE:SERVICEACCOUNT; absent: those of the controller found, else your own
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    account: Option<String>,
    /// Findings that are worth knowing but no trouble, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Diagnosis {
    scope: String,
    /// Seconds since the Unix epoch.
    at_s: f64,
    /// Version of the API server.
    kubernetes: String,
    errors: usize,
    warnings: usize,
    /// Worst first.
    findings: Vec<Finding>,
    /// What was looked at.
    checks: Vec<Area>,
    #[serde(skip)]
    everything: bool,
}

impl Doctor {
    /// Examines.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let arguments = self.cluster.everywhere();
        cluster::on(&arguments, async |cluster| {
            let evidence = Evidence::gather(
                &cluster,
                &arguments,
                self.account.as_deref(),
                self.prometheus.as_deref(),
            )
            .await?;
            let mut diagnosis = Diagnosis::of(&evidence, cluster.scope(), cluster.version);
            diagnosis.everything = self.all;
            console.answer(&diagnosis)?;
            Ok(if diagnosis.errors == 0 {
                Verdict::Done
            } else {
                Verdict::NotHeld
            })
        })
    }
}

fn account(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is not NAMESPACE:SERVICEACCOUNT")),
    }
}

impl Diagnosis {
    fn of(evidence: &Evidence, scope: String, kubernetes: String) -> Self {
        let mut exam = Examination::default();
        controller::judge(evidence, &mut exam);
        registration::judge(evidence, &mut exam);
        rights::judge(evidence, &mut exam);
        variants::judge(evidence, &mut exam);
        scalers::judge(evidence, &mut exam);
        telemetry::judge(evidence, &mut exam);
        let (findings, checks) = exam.finish();
        let of = |severity| findings.iter().filter(|f| f.severity == severity).count();
        Self {
            scope,
            at_s: evidence.look.at,
            kubernetes,
            errors: of(Severity::Error),
            warnings: of(Severity::Warning),
            findings,
            checks,
            everything: false,
        }
    }
}

impl Answer for Diagnosis {
    const VERB: &'static str = "doctor";

    fn describe(&self, page: &mut Page) {
        let all = self.everything || page.wide;
        for finding in &self.findings {
            if all || finding.severity != Severity::Info {
                finding.describe(page);
            }
        }
        let mut table = Table::new(&["CHECK", ">LOOKED AT", ">ERRORS", ">WARNINGS", "NOT DONE"]);
        for check in &self.checks {
            table.row(check.row());
        }
        page.title("Checks");
        page.table(&table);
        let (errors, warnings) = (
            count(self.errors, "error", "errors"),
            count(self.warnings, "warning", "warnings"),
        );
        let hidden = self.findings.len() - self.errors - self.warnings;
        let more = if hidden > 0 && !all {
            format!("; {} with --all", count(hidden, "remark", "remarks"))
        } else {
            String::new()
        };
        let tone = match (self.errors, self.warnings) {
            (0, 0) => Tone::Good,
            (0, _) => Tone::Strong,
            _ => Tone::Bad,
        };
        let sum = page.toned(&format!("{errors}, {warnings}"), tone);
        page.line(format!("\n{}: {sum}{more}", self.scope));
    }
}

#[cfg(test)]
mod tests;
