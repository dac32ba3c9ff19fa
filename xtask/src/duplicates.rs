//! One version of each big dependency, and no crypto library written in C.
//!
//! Two versions of kube or nalgebra do not only cost compile time: their types do not fit one another, and the
//! error comes far from the cause. What counts is what gets built, with all features of our own crates and
//! for every platform (`cargo tree`). The lock file would cry wolf: it also lists optional packages that no
//! feature switches on, such as the nalgebra of statrs.

use std::collections::{BTreeMap, BTreeSet};

use crate::recipe::{Finding, Report};
use crate::workspace::{Workspace, capture};

/// Of these there is one version only.
const SINGLE: &[&str] = &[
    "http",
    "hyper",
    "k8s-openapi",
    "kube",
    "nalgebra",
    "rustls",
    "tokio",
    "tonic",
];

/// These are not built at all, and what to use instead.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-sys", "rustls with the ring feature"),
    ("openssl-sys", "rustls with the ring feature"),
];

/// How one asks who wants a package.
const WHO: &str = "cargo tree --workspace --all-features --target all -i";

/// The versions of each package that gets built.
type Versions<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The check on this workspace.
pub fn run(workspace: &Workspace, _arguments: &[String]) -> anyhow::Result<Report> {
    let tree = "tree --locked --workspace --all-features --target all --prefix none";
    let tree = capture(&mut workspace.cargo(tree))?;
    let versions = versions(&tree);
    let mut findings = conflicts(&versions);
    findings.extend(banned(&versions));
    let twice: Vec<String> = versions
        .iter()
        .filter(|(_, v)| v.len() > 1)
        .map(|(name, v)| format!("{name} ({})", joined(v)))
        .collect();
    let mut notes = Vec::new();
    if !twice.is_empty() {
        notes.push(format!("in several versions: {}", twice.join(", ")));
    }
    let summary = format!(
        "{} packages, {} in several versions",
        versions.len(),
        twice.len()
    );
    Ok(Report {
        findings,
        notes,
        summary,
    })
}

/// What a `cargo tree` shows, one `name vVERSION …` a line.
fn versions(tree: &str) -> Versions<'_> {
    let mut found = Versions::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        if let Some(version) = words.next().and_then(|w| w.strip_prefix('v')) {
            found.entry(name).or_default().insert(version);
        }
    }
    found
}

/// Those of [`SINGLE`] that come in several versions.
fn conflicts(versions: &Versions<'_>) -> Vec<Finding> {
    SINGLE
        .iter()
        .filter_map(|&name| {
            let found = versions.get(name).filter(|v| v.len() > 1)?;
            let problem = format!("is built in {} versions: {}", found.len(), joined(found));
            let asked: Vec<String> = found.iter().map(|v| format!("{WHO} {name}@{v}")).collect();
            let remedy = format!("see who wants which: {}", asked.join("; "));
            Some(Finding::new(name, problem, remedy))
        })
        .collect()
}

/// Those of [`BANNED`] that are built.
fn banned(versions: &Versions<'_>) -> Vec<Finding> {
    BANNED
        .iter()
        .filter(|(name, _)| versions.contains_key(name))
        .map(|(name, instead)| {
            let remedy = format!("{instead}; see who wants it: {WHO} {name}");
            Finding::new(*name, "is built, and must not be", remedy)
        })
        .collect()
}

fn joined(versions: &BTreeSet<&str>) -> String {
    versions.iter().copied().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "wva v0.1.0 (/x)\nnalgebra v0.34.2\nrand v0.9.1\n\nrand v0.10.3\n\
                        serde_derive v1.0.229 (proc-macro)\nrand v0.9.1 (*)\n";

    #[test]
    fn versions_are_read_from_a_tree() {
        let found = versions(TREE);
        assert_eq!(found["nalgebra"], BTreeSet::from(["0.34.2"]));
        assert_eq!(found["rand"], BTreeSet::from(["0.9.1", "0.10.3"]));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn small_duplicates_pass() {
        assert!(conflicts(&versions(TREE)).is_empty());
    }

    #[test]
    fn a_second_version_of_each_big_one_is_found() {
        for name in SINGLE {
            let tree = format!("{name} v1.0.0\n{name} v2.0.0\n{name} v1.0.0 (*)\n");
            let found = conflicts(&versions(&tree));
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!(found[0].problem, "is built in 2 versions: 1.0.0, 2.0.0");
            assert!(found[0].remedy.ends_with(&format!("-i {name}@2.0.0")));
        }
    }

    #[test]
    fn banned_packages_are_found() {
        assert!(banned(&versions("ring v0.17.14\naws-lc-rs v1.0.0\n")).is_empty());
        let tree = "ring v0.17.14\naws-lc-sys v0.30.0\nopenssl-sys v0.9.1 (*)\n";
        let found = banned(&versions(tree));
        let names: Vec<_> = found.iter().map(|f| f.place.as_str()).collect();
        assert_eq!(names, ["aws-lc-sys", "openssl-sys"]);
    }
}
