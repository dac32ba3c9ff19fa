//! What a recipe is, what it reports, and how the report is shown.
//!
//! A checker is a pure function from text to findings; a recipe gathers that text and calls the checker. So
//! every checker is tested on samples, without a workspace around it.

use std::fmt;
use std::time::{Duration, Instant};

use crate::workspace::Workspace;

/// One thing that `cargo xtask` can do.
#[derive(Clone, Copy)]
pub struct Recipe {
    /// The word on the command line.
    pub name: &'static str,
    /// What it is for, in one line.
    pub purpose: &'static str,
    /// Does it. An error means that the recipe could not be carried out, which counts as failed.
    pub run: fn(&Workspace, &[String]) -> anyhow::Result<Report>,
}

/// One broken rule: where, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A file (with its line where there is one), a crate or a command.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// A finding from its three parts.
    pub fn new(
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}\n      remedy: {}",
            self.place, self.problem, self.remedy
        )
    }
}

/// What a recipe found. It passed if there are no findings.
#[derive(Debug, Default)]
pub struct Report {
    /// Broken rules.
    pub findings: Vec<Finding>,
    /// Worth knowing, but not a failure.
    pub notes: Vec<String>,
    /// What was looked at, in a few words: a check that looked at nothing should be seen to.
    pub summary: String,
}

impl Recipe {
    /// Runs the recipe, prints what it found and how long it took; true if it passed.
    pub fn perform(&self, workspace: &Workspace, arguments: &[String]) -> bool {
        println!("== {}: {}", self.name, self.purpose);
        let start = Instant::now();
        let report = (self.run)(workspace, arguments).unwrap_or_else(|error| Report {
            findings: vec![Finding::new(
                format!("cargo xtask {}", self.name),
                format!("could not be carried out: {error:#}"),
                "see the message; then run it again",
            )],
            ..Report::default()
        });
        self.show(&report, start.elapsed());
        report.findings.is_empty()
    }

    fn show(&self, report: &Report, took: Duration) {
        for note in &report.notes {
            println!("   note: {note}");
        }
        for finding in &report.findings {
            println!("   FAILED: {finding}");
        }
        let verdict = if report.findings.is_empty() {
            "ok".to_owned()
        } else {
            format!("FAILED ({})", report.findings.len())
        };
        let summary = match report.summary.as_str() {
            "" => String::new(),
            text => format!(", {text}"),
        };
        println!(
            "== {}: {verdict}, {:.1} s{summary}",
            self.name,
            took.as_secs_f64()
        );
    }
}

/// Performs all the recipes, also after a failure, and reports which of them failed.
pub fn perform_all(
    recipes: &[Recipe],
    workspace: &Workspace,
    arguments: &[String],
) -> anyhow::Result<Report> {
    let failed: Vec<&Recipe> = recipes
        .iter()
        .filter(|r| !r.perform(workspace, arguments))
        .collect();
    Ok(Report {
        findings: failed
            .iter()
            .map(|r| {
                Finding::new(
                    r.name,
                    "failed, see above",
                    format!("cargo xtask {}", r.name),
                )
            })
            .collect(),
        notes: Vec::new(),
        summary: format!(
            "{} of {} passed",
            recipes.len() - failed.len(),
            recipes.len()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(_: &Workspace, _: &[String]) -> anyhow::Result<Report> {
        Ok(Report::default())
    }

    fn finds(_: &Workspace, _: &[String]) -> anyhow::Result<Report> {
        Ok(Report {
            findings: vec![Finding::new("a.rs:1", "bad", "mend it")],
            ..Report::default()
        })
    }

    fn breaks(_: &Workspace, _: &[String]) -> anyhow::Result<Report> {
        anyhow::bail!("no such tool")
    }

    fn recipe(
        name: &'static str,
        run: fn(&Workspace, &[String]) -> anyhow::Result<Report>,
    ) -> Recipe {
        Recipe {
            name,
            purpose: "a sample",
            run,
        }
    }

    #[test]
    fn a_finding_and_an_error_both_fail_and_do_not_stop_the_rest() {
        let steps = [
            recipe("finds", finds),
            recipe("breaks", breaks),
            recipe("passes", passes),
        ];
        let report = perform_all(&steps, &Workspace::here(), &[]).unwrap();
        let failed: Vec<_> = report.findings.iter().map(|f| f.place.as_str()).collect();
        assert_eq!(failed, ["finds", "breaks"]);
        assert_eq!(report.summary, "1 of 3 passed");
    }

    #[test]
    fn a_finding_names_place_problem_and_remedy() {
        let text = Finding::new("a.rs:1", "bad", "mend it").to_string();
        assert_eq!(text, "a.rs:1: bad\n      remedy: mend it");
    }
}
