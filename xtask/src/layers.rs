//! Dependencies point downwards, and the pure crates stay pure.
//!
//! Three rules. A member of the workspace depends only on the members below it. The packages that a pure
//! crate pulls in, at any depth, hold no I/O: this is asked of `cargo tree` for each pure crate by itself,
//! since `cargo metadata` unites the features of all members and would blame one crate for another's. And
//! each pure crate has the clippy.toml that forbids clocks, files and the thread's random numbers.

use std::collections::BTreeSet;

use anyhow::Context;
use serde_json::Value;

use crate::recipe::{Finding, Report};
use crate::workspace::{Workspace, capture};

/// A member of the workspace and where it stands.
struct Member {
    package: &'static str,
    pure: bool,
    may_use: &'static [&'static str],
}

impl Member {
    const fn pure(package: &'static str, may_use: &'static [&'static str]) -> Self {
        let pure = true;
        Self {
            package,
            pure,
            may_use,
        }
    }

    const fn doing_io(package: &'static str, may_use: &'static [&'static str]) -> Self {
        let pure = false;
        Self {
            package,
            pure,
            may_use,
        }
    }
}

/// The house plan of ARCHITECTURE.md, lowest layer first.
const MEMBERS: &[Member] = &[
    Member::pure("wva-models", &[]),
    Member::pure("wva-optimizer", &["wva-models"]),
    Member::pure("wva-epp-core", &["wva-models"]),
    Member::pure(
        "wva-simulations",
        &["wva-models", "wva-optimizer", "wva-epp-core"],
    ),
    Member::doing_io("wva-epp", &["wva-models", "wva-epp-core"]),
    Member::doing_io("wva-controllers", &["wva-models", "wva-optimizer"]),
    Member::doing_io("wva-emulator", &["wva-models", "wva-simulations"]),
    Member::doing_io("wva-testbed", &["wva-emulator", "wva-models"]),
    Member::doing_io(
        "wva",
        &[
            "wva-emulator",
            "wva-models",
            "wva-optimizer",
            "wva-epp-core",
            "wva-simulations",
            "wva-epp",
            "wva-controllers",
        ],
    ),
    Member::doing_io("xtask", &[]),
];

/// Packages that do I/O: none of them may be anywhere below a pure crate.
const IMPURE: &[&str] = &[
    "axum",
    "h2",
    "hyper",
    "k8s-openapi",
    "kube",
    "mio",
    "reqwest",
    "rustls",
    "socket2",
    "tokio",
    "tonic",
];

/// Packages that a pure crate may not name itself, though one of its dependencies may.
const NOT_NAMED: &[(&str, &str)] = &[
    ("anyhow", "one thiserror enum per pure crate"),
    ("log", "pure crates return explanations and do not log"),
    ("tracing", "pure crates return explanations and do not log"),
];

/// What a pure crate's clippy.toml disallows at least.
const DISALLOWED: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "chrono::Utc::now",
    "rand::rng",
    "rand::random",
    "std::fs::File::open",
    "std::fs::read",
    "std::fs::read_to_string",
    "std::fs::write",
    "std::env::var",
];

/// The check on this workspace.
pub fn run(workspace: &Workspace, _arguments: &[String]) -> anyhow::Result<Report> {
    let metadata = workspace.metadata()?;
    let packages = members(&metadata)?;
    let mut findings = membership(&metadata);
    let mut pure = 0;
    for package in &packages {
        findings.extend(edges(package));
        if !MEMBERS.iter().any(|m| m.pure && m.package == package.name) {
            continue;
        }
        pure += 1;
        let tree = "tree --locked -e normal --target all --prefix none --package";
        let tree = capture(workspace.cargo(tree).arg(&package.name))?;
        findings.extend(purity(&package.name, &tree));
        let path = format!("{}/clippy.toml", package.folder);
        findings.extend(clippy_toml(&path, workspace.read(&path).ok().as_deref()));
    }
    Ok(Report {
        findings,
        notes: Vec::new(),
        summary: format!("{} members, {pure} of them pure", packages.len()),
    })
}

/// A workspace member as cargo describes it.
#[derive(Debug)]
struct Package {
    name: String,
    /// Relative to the root.
    folder: String,
    /// What it depends on outside tests and benchmarks, other members and strangers alike.
    uses: Vec<String>,
}

fn members(metadata: &Value) -> anyhow::Result<Vec<Package>> {
    let ids: BTreeSet<&str> = strings(&metadata["workspace_members"]);
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let here = packages
        .iter()
        .filter(|p| p["id"].as_str().is_some_and(|id| ids.contains(id)));
    Ok(here.map(|p| package(p, root)).collect())
}

fn package(json: &Value, root: &str) -> Package {
    let manifest = json["manifest_path"].as_str().unwrap_or_default();
    let folder = manifest.strip_prefix(root).unwrap_or(manifest);
    let folder = folder.trim_end_matches("Cargo.toml");
    let dependencies = json["dependencies"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    Package {
        name: json["name"].as_str().unwrap_or_default().to_owned(),
        folder: folder.trim_matches(['/', '\\']).to_owned(),
        uses: dependencies
            .iter()
            .filter(|d| d["kind"].as_str() != Some("dev"))
            .filter_map(|d| d["name"].as_str().map(str::to_owned))
            .collect(),
    }
}

fn strings(array: &Value) -> BTreeSet<&str> {
    array
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Every member is a default member: `cargo build` and `cargo test` leave nobody out.
fn membership(metadata: &Value) -> Vec<Finding> {
    let default = strings(&metadata["workspace_default_members"]);
    strings(&metadata["workspace_members"])
        .difference(&default)
        .map(|id| {
            let name = id.rsplit('/').next().unwrap_or(id);
            let problem = "is a member but not a default member";
            Finding::new(name, problem, "add it to default-members in Cargo.toml")
        })
        .collect()
}

/// The dependencies of one member that it may not name.
fn edges(package: &Package) -> Vec<Finding> {
    let Some(member) = MEMBERS.iter().find(|m| m.package == package.name) else {
        return vec![Finding::new(
            format!("{}/Cargo.toml", package.folder),
            format!("{} has no place in the layers", package.name),
            "give it one: the table MEMBERS in xtask/src/layers.rs, and ARCHITECTURE.md",
        )];
    };
    let place = format!("{}/Cargo.toml", package.folder);
    let mut findings = Vec::new();
    for used in package.uses.iter().map(String::as_str) {
        let is_member = MEMBERS.iter().any(|m| m.package == used);
        if is_member && !member.may_use.contains(&used) {
            let problem = format!("{} may not depend on {used}", package.name);
            let remedy = "move the shared type into models/, or pass the service in as an argument";
            findings.push(Finding::new(&place, problem, remedy));
        }
        if let Some((_, why)) = NOT_NAMED.iter().find(|(n, _)| member.pure && *n == used) {
            let problem = format!("{} is pure and may not name {used}", package.name);
            findings.push(Finding::new(&place, problem, *why));
        }
    }
    findings
}

/// What does I/O in the `cargo tree` of a pure crate (one `name vVERSION` a line).
fn purity(package: &str, tree: &str) -> Vec<Finding> {
    let names: BTreeSet<&str> = tree
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    let impure = |n: &&&str| IMPURE.contains(*n) || n.starts_with("kube-");
    names
        .iter()
        .filter(impure)
        .map(|name| {
            let problem = format!("is pure, but depends on {name}");
            let remedy = format!(
                "see how it got there: cargo tree -p {package} -e normal --target all -i {name}"
            );
            Finding::new(package, problem, remedy)
        })
        .collect()
}

/// What the clippy.toml of a pure crate leaves out; `None` if there is no such file.
fn clippy_toml(path: &str, text: Option<&str>) -> Vec<Finding> {
    let Some(text) = text else {
        let remedy = "copy models/clippy.toml there";
        return vec![Finding::new(path, "a pure crate has this file", remedy)];
    };
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    DISALLOWED
        .iter()
        .filter(|method| {
            let quoted = format!("\"{method}\"");
            !lines
                .iter()
                .any(|l| !l.starts_with('#') && l.contains(&quoted))
        })
        .map(|method| {
            let problem = format!("does not disallow {method}");
            Finding::new(path, problem, "keep it equal to models/clippy.toml")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, uses: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            folder: "folder".to_owned(),
            uses: uses.iter().map(|&u| u.to_owned()).collect(),
        }
    }

    fn problems(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|f| f.problem.as_str()).collect()
    }

    #[test]
    fn the_plan_has_no_cycle() {
        for (level, member) in MEMBERS.iter().enumerate() {
            for used in member.may_use {
                let below = MEMBERS[..level].iter().find(|m| m.package == *used);
                let below = below.unwrap_or_else(|| panic!("{} uses {used}", member.package));
                assert!(below.pure || !member.pure, "{} uses {used}", member.package);
            }
        }
    }

    #[test]
    fn an_edge_upwards_is_found() {
        assert!(edges(&sample("wva-optimizer", &["wva-models", "serde"])).is_empty());
        let bad = edges(&sample("wva-models", &["wva-optimizer"]));
        assert_eq!(
            problems(&bad),
            ["wva-models may not depend on wva-optimizer"]
        );
        let bad = edges(&sample("wva-epp", &["wva", "wva-optimizer"]));
        assert_eq!(bad.len(), 2);
    }

    #[test]
    fn a_member_outside_the_plan_is_found() {
        let bad = edges(&sample("wva-common", &[]));
        assert_eq!(problems(&bad), ["wva-common has no place in the layers"]);
    }

    #[test]
    fn a_pure_crate_that_logs_is_found() {
        assert_eq!(
            edges(&sample("wva-models", &["tracing", "anyhow"])).len(),
            2
        );
        assert!(edges(&sample("wva", &["tracing", "anyhow"])).is_empty());
    }

    #[test]
    fn io_at_any_depth_of_a_pure_crate_is_found() {
        let good = "wva-models v0.1.0 (/x/models)\nserde v1.0.229\nserde v1.0.229 (*)\n";
        assert!(purity("wva-models", good).is_empty());
        let bad = format!("{good}tokio v1.54.1\nkube-client v5.0.0\ntokio v1.54.1 (*)\n");
        let bad = purity("wva-models", &bad);
        let expected = [
            "is pure, but depends on kube-client",
            "is pure, but depends on tokio",
        ];
        assert_eq!(problems(&bad), expected);
        assert!(bad[0].remedy.ends_with("-i kube-client"));
    }

    #[test]
    fn a_missing_or_weakened_clippy_toml_is_found() {
        let full = include_str!("../../models/clippy.toml");
        assert!(clippy_toml("models/clippy.toml", Some(full)).is_empty());
        assert_eq!(clippy_toml("models/clippy.toml", None).len(), 1);
        let weak = full.replace(
            "  { path = \"std::fs::write\"",
            "  # { path = \"std::fs::write\"",
        );
        let bad = clippy_toml("models/clippy.toml", Some(&weak));
        assert_eq!(problems(&bad), ["does not disallow std::fs::write"]);
    }

    #[test]
    fn metadata_is_read_without_strangers_and_test_dependencies() {
        let metadata = serde_json::json!({
            "workspace_root": "/w",
            "workspace_members": ["path+file:///w/epp/core#wva-epp-core@0.1.0"],
            "workspace_default_members": [],
            "packages": [
                {"id": "registry+x#serde@1.0.0", "name": "serde"},
                {"id": "path+file:///w/epp/core#wva-epp-core@0.1.0", "name": "wva-epp-core",
                 "manifest_path": "/w/epp/core/Cargo.toml", "dependencies": [
                    {"name": "tokio", "kind": null},
                    {"name": "cc", "kind": "build"},
                    {"name": "proptest", "kind": "dev"}]}]
        });
        let found = members(&metadata).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].folder, "epp/core");
        assert_eq!(found[0].uses, ["tokio", "cc"]);
        assert_eq!(membership(&metadata).len(), 1);
    }
}
