//! The Helm chart, linted and rendered with its default values and with each set of values that its tests use.
//!
//! The tests of the chart do far more, on a real API server; this is the quick look for whoever edits a template.

use std::path::Path;

use anyhow::Context;

use crate::components::{self, COMPONENTS};
use crate::recipe::{Finding, Report};
use crate::workspace::{Workspace, capture};

const CHART: &str = "charts/wva";

/// Prepares helm, lints, renders; further arguments go to `helm template`, whose output is then shown.
pub fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<Report> {
    let component = COMPONENTS.iter().find(|c| c.name == "helm");
    let component = component.context("helm is no component any more")?;
    let helm = component
        .prepare(workspace, &components::cache()?)?
        .join("helm");
    let mut report = Report::default();
    let sets = value_sets(&workspace.root.join(CHART).join("ci"))?;
    for values in &sets {
        for words in [&["lint", "--strict"][..], &["template", "wva"]] {
            let mut command = workspace.command(&helm.to_string_lossy());
            command.args(words).arg(CHART).args(values);
            match capture(&mut command) {
                Ok(_) => {}
                Err(error) => report.findings.push(Finding::new(
                    CHART,
                    format!("{error:#}"),
                    "mend the template or the values; values.yaml says what they mean",
                )),
            }
        }
    }
    if !arguments.is_empty() {
        let mut command = workspace.command(&helm.to_string_lossy());
        command.args(["template", "wva", CHART]).args(arguments);
        println!("{}", capture(&mut command)?);
    }
    report.summary = format!("{} sets of values", sets.len());
    Ok(report)
}

/// No values at all, and each file in the folder.
fn value_sets(folder: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<String> = entries
        .iter()
        .map(|entry| entry.path().display().to_string())
        .collect();
    files.sort();
    let given = files.into_iter().map(|f| vec!["--values".to_owned(), f]);
    Ok(std::iter::once(Vec::new()).chain(given).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_set_and_so_is_none() {
        let folder = Workspace::here().root.join(CHART).join("ci");
        let sets = value_sets(&folder).unwrap();
        assert_eq!(sets[0], Vec::<String>::new());
        assert!(sets.len() > 1 && sets[1..].iter().all(|s| s[1].ends_with("-values.yaml")));
    }
}
