//! Findings, and what was looked at to make them.

use serde::Serialize;

use crate::console::Page;
use crate::diagnostic::split_remedy;
use crate::table::{Cell, Tone};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is not scaled, or would be scaled wrongly.
    Error,
    /// Something works less well than it could, or will break.
    Warning,
    /// Worth knowing.
    Info,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable code, UpperCamelCase.
    pub code: String,
    /// What it is about: `Kind namespace/name`.
    pub object: String,
    /// What is wrong.
    pub problem: String,
    /// What to do: a command, YAML, or a sentence; absent where there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// The finding for people.
    pub fn describe(&self, page: &mut Page) {
        let (word, tone) = match self.severity {
            Severity::Error => ("error", Tone::Bad),
            Severity::Warning => ("warning", Tone::Strong),
            Severity::Info => ("remark", Tone::Dim),
        };
        let word = page.toned(word, tone);
        let code = page.toned(&format!("[{}]", self.code), Tone::Dim);
        page.line(format!("{word}: {}: {} {code}", self.object, self.problem));
        for (i, line) in self.fix.iter().flat_map(|f| f.lines()).enumerate() {
            let lead = if i == 0 { "fix:" } else { "    " };
            let lead = page.toned(lead, Tone::Good);
            page.line(format!("  {lead} {line}"));
        }
    }
}

/// An area that was examined.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Area {
    /// Name.
    pub name: &'static str,
    /// Things that were looked at.
    pub looked_at: usize,
    /// Errors among them.
    pub errors: usize,
    /// Warnings among them.
    pub warnings: usize,
    /// Why nothing, or not everything, could be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_done: Option<String>,
}

impl Area {
    /// The row of the table.
    pub fn row(&self) -> Vec<Cell> {
        let number = |n: usize, tone| {
            let tone = if n > 0 { tone } else { Tone::Plain };
            Cell::toned(n.to_string(), tone)
        };
        vec![
            self.name.into(),
            self.looked_at.to_string().into(),
            number(self.errors, Tone::Bad),
            number(self.warnings, Tone::Strong),
            self.not_done.as_deref().unwrap_or("").into(),
        ]
    }
}

/// Findings as they are made, area by area.
#[derive(Debug, Default)]
pub struct Examination {
    findings: Vec<Finding>,
    areas: Vec<Area>,
}

impl Examination {
    /// What follows belongs to this area.
    pub fn area(&mut self, name: &'static str) {
        self.areas.push(Area {
            name,
            looked_at: 0,
            errors: 0,
            warnings: 0,
            not_done: None,
        });
    }

    fn current(&mut self) -> &mut Area {
        self.areas.last_mut().expect("a judge names its area first")
    }

    /// So many things were looked at.
    pub fn looked_at(&mut self, things: usize) {
        self.current().looked_at += things;
    }

    /// Something could not be looked at.
    pub fn not_done(&mut self, why: impl Into<String>) {
        self.current().not_done = Some(why.into());
    }

    /// Something is not scaled, or would be scaled wrongly.
    pub fn error(
        &mut self,
        code: &str,
        object: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.current().errors += 1;
        self.add(
            Severity::Error,
            code,
            object.into(),
            problem.into(),
            Some(fix.into()),
        );
    }

    /// Something works less well than it could, or will break.
    pub fn warning(
        &mut self,
        code: &str,
        object: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.current().warnings += 1;
        self.add(
            Severity::Warning,
            code,
            object.into(),
            problem.into(),
            Some(fix.into()),
        );
    }

    /// Worth knowing.
    pub fn info(
        &mut self,
        code: &str,
        object: impl Into<String>,
        problem: impl Into<String>,
        fix: Option<String>,
    ) {
        self.add(Severity::Info, code, object.into(), problem.into(), fix);
    }

    /// A text of the controller's: what is wrong, and after a semicolon what to do.
    pub fn told(
        &mut self,
        severity: Severity,
        code: &str,
        object: impl Into<String>,
        text: &str,
        otherwise: &str,
    ) {
        let (problem, fix) = split_remedy(text);
        let fix = fix.unwrap_or(otherwise).to_owned();
        match severity {
            Severity::Error => self.error(code, object, problem, fix),
            Severity::Warning => self.warning(code, object, problem, fix),
            Severity::Info => self.info(code, object, problem, Some(fix)),
        }
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &str,
        object: String,
        problem: String,
        fix: Option<String>,
    ) {
        self.findings.push(Finding {
            severity,
            code: code.to_owned(),
            object,
            problem,
            fix: fix.filter(|f| !f.is_empty()),
        });
    }

    /// The findings, worst first, and the areas.
    pub fn finish(mut self) -> (Vec<Finding>, Vec<Area>) {
        // Stable: within a severity the order of the areas stays, which goes from causes to effects.
        self.findings.sort_by_key(|f| f.severity);
        self.findings.dedup();
        (self.findings, self.areas)
    }

    /// What was found so far: (severity, code) pairs.
    #[cfg(test)]
    pub fn codes(&self) -> Vec<(Severity, &str)> {
        self.findings
            .iter()
            .map(|f| (f.severity, f.code.as_str()))
            .collect()
    }
}
