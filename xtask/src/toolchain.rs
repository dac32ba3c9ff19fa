//! The checks that Rust's own tools make: formatting, clippy, documentation.

use std::process::Command;

use anyhow::Context;

use crate::recipe::{Finding, Report};
use crate::workspace::{Workspace, capture, shown, succeeds};

/// `cargo fmt --check` on every package.
pub fn fmt(workspace: &Workspace, _arguments: &[String]) -> anyhow::Result<Report> {
    run(&mut workspace.cargo("fmt --all --check"), "cargo fmt --all")
}

/// Clippy on every target, warnings being errors.
pub fn clippy(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<Report> {
    let mut command = workspace.cargo("clippy --locked --keep-going --all-targets");
    command
        .args(packages(arguments))
        .args(["--", "-D", "warnings"]);
    run(&mut command, "follow the help lines above")
}

/// The documentation, warnings being errors.
pub fn doc(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<Report> {
    let mut command = workspace.cargo("doc --locked --keep-going --no-deps");
    command
        .args(packages(arguments))
        .env("RUSTDOCFLAGS", "-D warnings");
    run(&mut command, "mend the links and markup named above")
}

/// The arguments, which mean the whole workspace unless they choose a package.
pub fn packages(arguments: &[String]) -> Vec<String> {
    let chosen = arguments
        .iter()
        .any(|a| a.starts_with("-p") || a.starts_with("--package") || a == "--workspace");
    let all = (!chosen).then(|| "--workspace".to_owned());
    all.into_iter().chain(arguments.iter().cloned()).collect()
}

fn run(command: &mut Command, remedy: &str) -> anyhow::Result<Report> {
    let passed = succeeds(command)?;
    let finding = || Finding::new(shown(command), "failed, with the messages above", remedy);
    Ok(Report {
        findings: if passed { Vec::new() } else { vec![finding()] },
        ..Report::default()
    })
}

/// What is missing of the Rust toolchain: a compiler that is too old, rustfmt, clippy.
pub fn missing(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let required = required_version(&workspace.read("Cargo.toml")?)
        .context("Cargo.toml has no rust-version = \"MAJOR.MINOR\"")?;
    let mut findings = Vec::new();
    let rustc = capture(workspace.command("rustc").arg("--version"))?;
    if !recent_enough(&rustc, required) {
        findings.push(Finding::new(
            rustc.trim(),
            format!("Rust {}.{} or later is needed", required.0, required.1),
            "rustup update stable",
        ));
    }
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if capture(workspace.cargo(tool).arg("--version")).is_err() {
            findings.push(Finding::new(
                format!("cargo {tool}"),
                "is not installed",
                format!("rustup component add {component}"),
            ));
        }
    }
    Ok(findings)
}

/// `rust-version` of the workspace manifest.
fn required_version(manifest: &str) -> Option<(u32, u32)> {
    let line = manifest
        .lines()
        .find(|l| l.trim_start().starts_with("rust-version") && l.contains('"'))?;
    version(line.split('"').nth(1)?)
}

/// Whether `rustc 1.95.0 (…)` is at least the required version. What cannot be read is not.
fn recent_enough(rustc: &str, required: (u32, u32)) -> bool {
    let found = rustc.split_whitespace().nth(1).and_then(version);
    found.is_some_and(|v| v >= required)
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(|n| n.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_or_unreadable_compiler_is_refused() {
        let required = required_version("[workspace.package]\nrust-version = \"1.95\"\n").unwrap();
        assert_eq!(required, (1, 95));
        assert!(recent_enough(
            "rustc 1.95.0 (59807616e 2026-04-14)",
            required
        ));
        assert!(recent_enough("rustc 2.0.0", required));
        assert!(recent_enough("rustc 1.100.0-nightly (x)", required));
        assert!(!recent_enough("rustc 1.94.1 (x)", required));
        assert!(!recent_enough("rustc", required));
        assert_eq!(required_version("rust-version.workspace = true"), None);
    }

    #[test]
    fn a_chosen_package_replaces_the_whole_workspace() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(packages(&[]), ["--workspace"]);
        assert_eq!(packages(&words("capacity")), ["--workspace", "capacity"]);
        assert_eq!(packages(&words("-p wva-models")), ["-p", "wva-models"]);
        assert_eq!(packages(&words("--package=wva")), ["--package=wva"]);
    }

    #[test]
    fn a_failing_tool_is_a_finding() {
        let workspace = Workspace::here();
        let bad = run(&mut workspace.command("false"), "mend it").unwrap();
        assert_eq!(bad.findings[0].place, "false");
        let good = run(&mut workspace.command("true"), "").unwrap();
        assert!(good.findings.is_empty());
    }
}
