//! Every dependency's licence is one we accept.
//!
//! All packages of the lock file are looked at, those for tests and for other platforms too: the sources are
//! on the machines of everybody who builds wva, whatever ends up in the binary.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::Value;

use crate::recipe::{Finding, Report};
use crate::spdx::satisfiable;
use crate::workspace::Workspace;

/// Licences that an Apache-2.0 program may be linked and shipped with.
const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The check on this workspace.
pub fn run(workspace: &Workspace, _arguments: &[String]) -> anyhow::Result<Report> {
    let metadata = workspace.metadata()?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for licence in packages.iter().filter_map(|p| p["license"].as_str()) {
        *count.entry(licence).or_default() += 1;
    }
    Ok(Report {
        findings: packages.iter().filter_map(judge).collect(),
        notes: Vec::new(),
        summary: format!(
            "{} packages under {} licence expressions",
            packages.len(),
            count.len()
        ),
    })
}

/// What is wrong with the licence of one package of `cargo metadata`, if anything.
fn judge(package: &Value) -> Option<Finding> {
    let text = |key: &str| package[key].as_str();
    let place = format!(
        "{} {}",
        text("name").unwrap_or("?"),
        text("version").unwrap_or("?")
    );
    let replace = "take another crate; a licence that is fine goes into ACCEPTED in \
                   xtask/src/licences.rs, with the reason in the commit";
    let problem = match (text("license"), text("license_file")) {
        (None, None) => "states no licence".to_owned(),
        (None, Some(file)) => format!("has its licence only as a text, {file}"),
        (Some(licence), _) => match satisfiable(licence, ACCEPTED) {
            Ok(true) => return None,
            Ok(false) => format!("its licence is not accepted: {licence}"),
            Err(error) => format!("its licence {licence:?} cannot be read: {error}"),
        },
    };
    Some(Finding::new(place, problem, replace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(licence: Value, file: Value) -> Option<String> {
        let package = serde_json::json!({
            "name": "sample", "version": "1.0.0", "license": licence, "license_file": file
        });
        let finding = judge(&package)?;
        assert_eq!(finding.place, "sample 1.0.0");
        Some(finding.problem)
    }

    #[test]
    fn accepted_licences_pass() {
        for licence in ACCEPTED {
            assert_eq!(problem((*licence).into(), Value::Null), None);
        }
        let usual = "MIT OR Apache-2.0 OR LGPL-2.1-or-later";
        assert_eq!(problem(usual.into(), Value::Null), None);
    }

    #[test]
    fn others_are_found() {
        let agpl = problem("AGPL-3.0-only".into(), Value::Null);
        assert!(agpl.is_some_and(|p| p.contains("not accepted: AGPL-3.0-only")));
        let partly = problem("MIT AND GPL-2.0-only".into(), Value::Null);
        assert!(partly.is_some());
    }

    #[test]
    fn no_licence_or_an_unreadable_one_is_found() {
        assert!(problem(Value::Null, Value::Null).is_some_and(|p| p == "states no licence"));
        assert!(problem(Value::Null, "EULA".into()).is_some_and(|p| p.contains("EULA")));
        assert!(
            problem("MIT OR".into(), Value::Null).is_some_and(|p| p.contains("cannot be read"))
        );
    }
}
