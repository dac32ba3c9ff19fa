//! The benchmarks, all of them or those with certain words in their names.

use serde_json::Value;

use crate::recipe::{Finding, Report};
use crate::toolchain::packages;
use crate::workspace::{Workspace, shown, succeeds};

/// `cargo bench` of the benchmark targets; words that are not for cargo go to the benchmarks as filters.
pub fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<Report> {
    let targets = targets(&workspace.metadata()?);
    if targets.is_empty() {
        return Ok(Report {
            summary: "there are no benchmarks yet".to_owned(),
            ..Report::default()
        });
    }
    // Only benchmark targets: the test harness of a library does not know what divan's options mean.
    let mut command = workspace.cargo("bench --locked --bench *");
    let (cargo, filters) = split(arguments);
    command.args(packages(cargo)).arg("--").args(filters);
    let passed = succeeds(&mut command)?;
    let finding = || Finding::new(shown(&command), "failed", "see the messages above");
    Ok(Report {
        findings: if passed { Vec::new() } else { vec![finding()] },
        notes: Vec::new(),
        summary: targets.join(", "),
    })
}

/// `-p PACKAGE` at the beginning is for cargo, the rest for the benchmarks.
fn split(arguments: &[String]) -> (&[String], &[String]) {
    let mut end = 0;
    while let Some(argument) = arguments.get(end) {
        end += match argument.as_str() {
            "-p" | "--package" => 2,
            a if a.starts_with("--package=") => 1,
            _ => break,
        };
    }
    arguments.split_at(end.min(arguments.len()))
}

/// The benchmark targets of `cargo metadata`, as package/target.
fn targets(metadata: &Value) -> Vec<String> {
    let of = |json: &Value, key: &str| json[key].as_array().cloned().unwrap_or_default();
    let members = of(metadata, "workspace_members");
    let mut found = Vec::new();
    for package in of(metadata, "packages") {
        if !members.contains(&package["id"]) {
            continue;
        }
        for target in of(&package, "targets") {
            if of(&target, "kind").contains(&"bench".into()) {
                let name = |v: &Value| v["name"].as_str().unwrap_or("?").to_owned();
                found.push(format!("{}/{}", name(&package), name(&target)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_go_to_cargo_and_words_to_the_benchmarks() {
        let arguments: Vec<String> = ["-p", "wva-models", "capacity", "--sample-count", "9"]
            .map(str::to_owned)
            .into();
        let (cargo, filters) = split(&arguments);
        assert_eq!(cargo, ["-p", "wva-models"]);
        assert_eq!(filters, ["capacity", "--sample-count", "9"]);
        assert_eq!(split(&arguments[..1]).0.len(), 1);
    }

    #[test]
    fn benchmark_targets_of_members_are_listed() {
        let metadata = serde_json::json!({
            "workspace_members": ["m"],
            "packages": [
                {"id": "m", "name": "wva-models", "targets": [
                    {"name": "wva_models", "kind": ["lib"]}, {"name": "queue", "kind": ["bench"]}]},
                {"id": "x", "name": "stranger", "targets": [{"name": "b", "kind": ["bench"]}]}]
        });
        assert_eq!(targets(&metadata), ["wva-models/queue"]);
    }
}
