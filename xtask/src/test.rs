//! All tests: what they need is prepared, `cargo test` runs them (documentation tests included), and a summary
//! says what passed, what failed and what was left out.
//!
//! A test whose component is missing (no `WVA_COMPONENT_<NAME>`, or it does not start) does one of two things.
//! In CI (`CI=true`) it panics and names the component: nothing is left out in silence. On a user's machine it
//! returns, after adding the line `test name: reason` to the file that `WVA_SKIPPED_TESTS` names; the
//! summary shows those lines.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::components::{self, Component};
use crate::recipe::{Finding, Report};
use crate::test_output::Tally;
use crate::toolchain;
use crate::workspace::{Workspace, shown};

/// Names the file in which tests report that they were skipped.
const SKIPPED_TESTS: &str = "WVA_SKIPPED_TESTS";

/// Prepares, tests and sums up. Arguments go to `cargo test`.
pub fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<Report> {
    let findings = toolchain::missing(workspace)?;
    if !findings.is_empty() {
        return Ok(Report {
            findings,
            ..Report::default()
        });
    }
    let components = if components::needed(&workspace.metadata()?, arguments) {
        prepare(workspace, components::COMPONENTS, &components::cache()?)
    } else {
        Prepared::default()
    };
    let skipped = SkippedTests::new();
    let mut command = workspace.cargo("test --locked --no-fail-fast");
    command
        .args(toolchain::packages(arguments))
        .envs(components.ready)
        .env(SKIPPED_TESTS, &skipped.file);
    let (tally, passed) = watched(&mut command)?;
    let mut report = verdict(&tally, passed, &shown(&command));
    if arguments.is_empty() && may_be_chance(&tally) && pass_alone(workspace, &command, &tally)? {
        report.findings.clear();
        let told = |name| format!("unsteady: {name} failed beside the others and passed alone");
        report.notes.extend(tally.failures.iter().map(told));
    }
    for (name, reason) in components.failed {
        report.absent(workspace.ci, &name, &reason);
    }
    for line in skipped.lines() {
        let (name, reason) = line.split_once(": ").unwrap_or((&line, "no reason given"));
        report.absent(workspace.ci, name, reason);
    }
    Ok(report)
}

/// Tests that start real programs and wait for them. They poll with generous limits; what a busy machine still does to one
/// of them says little, so a whole run gives it a second try, and tells of it either way. No other test gets one.
const REAL_PROGRAMS: [&str; 5] = ["chart", "cli", "cluster", "coupling", "epp"];
/// Most failures of one run that may be chance.
const FEW: usize = 2;

/// Whether nothing failed but a few tests: no binary that died, nothing that did not compile.
fn may_be_chance(tally: &Tally) -> bool {
    let failed = tally.failures.len();
    (1..=FEW).contains(&failed) && failed == tally.failed && tally.binaries == tally.started
}

/// Whether those that failed are tests with real programs, and all of them pass with nothing beside them.
fn pass_alone(workspace: &Workspace, whole: &Command, tally: &Tally) -> anyhow::Result<bool> {
    // Of the whole workspace: alone, the package would be compiled once more, with fewer features of what it uses.
    let mut command = workspace.cargo("test --locked --no-fail-fast --workspace");
    for name in REAL_PROGRAMS {
        command.args(["--test", name]);
    }
    command.args(["--", "--test-threads=1", "--exact"]);
    command.args(&tally.failures);
    command.envs(
        whole
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let (again, passed) = watched(&mut command)?;
    Ok(passed && again.failed == 0 && again.passed == tally.failures.len())
}

/// What became of the components.
#[derive(Default)]
struct Prepared {
    /// Variables that tell the tests where each one lies.
    ready: Vec<(String, PathBuf)>,
    /// Names of those that could not be prepared, with the reason.
    failed: Vec<(String, String)>,
}

fn prepare(workspace: &Workspace, components: &[Component], cache: &Path) -> Prepared {
    let mut prepared = Prepared::default();
    for component in components {
        match component.prepare(workspace, cache) {
            Ok(folder) => prepared.ready.push((component.variable(), folder)),
            Err(error) => {
                let name = format!("{} {}", component.name, component.version);
                prepared.failed.push((name, format!("{error:#}")));
            }
        }
    }
    prepared
}

impl Report {
    /// Records something that could not be tested: a failure in CI, a note elsewhere.
    fn absent(&mut self, ci: bool, name: &str, reason: &str) {
        if ci {
            let problem = format!("could not be tested: {reason}");
            let remedy = "make the component available: in CI nothing is skipped";
            self.findings.push(Finding::new(name, problem, remedy));
        } else {
            self.notes.push(format!("skipped: {name}: {reason}"));
        }
    }
}

/// Runs the command, passes its output on line by line, and reads it on the way.
fn watched(command: &mut Command) -> anyhow::Result<(Tally, bool)> {
    println!("   $ {}", shown(command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let output = child.stdout.take().expect("standard output is piped");
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what the tests print")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    let status = child.wait().context("cannot wait for the tests")?;
    Ok((tally, status.success()))
}

/// The report of a run, before anything that was skipped.
fn verdict(tally: &Tally, passed: bool, command: &str) -> Report {
    let rerun = |name: &str| {
        let filter = name.split(" - ").next().unwrap_or(name);
        format!("see its output above; alone: cargo xtask test {filter}")
    };
    let mut findings: Vec<Finding> = tally
        .failures
        .iter()
        .map(|name| Finding::new(name, "this test failed", rerun(name)))
        .collect();
    if passed && tally.binaries == 0 {
        let remedy = "the output of cargo test was not understood: see xtask/src/test_output.rs";
        findings.push(Finding::new(command, "reported no test result", remedy));
    }
    if !passed && findings.is_empty() {
        let remedy = "a test did not compile, or a test binary died: see the messages above";
        findings.push(Finding::new(command, "failed", remedy));
    }
    Report {
        findings,
        notes: tally
            .ignored
            .iter()
            .map(|t| format!("ignored: {t}"))
            .collect(),
        summary: format!(
            "{} tests passed and {} failed in {} binaries",
            tally.passed, tally.failed, tally.binaries
        ),
    }
}

/// The file in which tests report that they were skipped; it is gone when this is.
struct SkippedTests {
    file: PathBuf,
}

impl SkippedTests {
    fn new() -> Self {
        let name = format!("wva-skipped-tests-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        remove(&file);
        Self { file }
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

impl Drop for SkippedTests {
    fn drop(&mut self) {
        remove(&self.file);
    }
}

/// Removes the file if it exists; a leftover in the temporary folder harms nobody.
fn remove(file: &Path) {
    std::fs::remove_file(file).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_is_named() {
        let tally = Tally {
            failed: 1,
            failures: vec!["plan::cheapest - should panic".to_owned()],
            ..Tally::default()
        };
        let report = verdict(&tally, false, "cargo test");
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].place, "plan::cheapest - should panic");
        assert!(
            report.findings[0]
                .remedy
                .ends_with("cargo xtask test plan::cheapest")
        );
    }

    #[test]
    fn a_run_that_fails_without_a_failed_test_is_not_a_pass() {
        let died = verdict(&Tally::default(), false, "cargo test");
        assert_eq!(died.findings[0].place, "cargo test");
        let silent = verdict(&Tally::default(), true, "cargo test");
        assert_eq!(silent.findings[0].problem, "reported no test result");
        let good = Tally {
            binaries: 1,
            passed: 1,
            ..Tally::default()
        };
        assert!(verdict(&good, true, "cargo test").findings.is_empty());
    }

    #[test]
    fn only_a_few_failures_may_be_chance() {
        let failed = |n: usize| Tally {
            started: 3,
            binaries: 3,
            failed: n,
            failures: (0..n).map(|i| format!("t{i}")).collect(),
            ..Tally::default()
        };
        assert!(may_be_chance(&failed(1)) && may_be_chance(&failed(FEW)));
        assert!(!may_be_chance(&failed(0)) && !may_be_chance(&failed(FEW + 1)));
        // A binary that died has no result; one that was counted and not named is not understood.
        assert!(!may_be_chance(&Tally {
            started: 4,
            ..failed(1)
        }));
        assert!(!may_be_chance(&Tally {
            failed: 2,
            ..failed(1)
        }));
    }

    #[test]
    fn what_is_skipped_fails_in_ci_and_is_named_elsewhere() {
        let mut ci = Report::default();
        ci.absent(true, "report::renders", "chromium: not found");
        assert_eq!(ci.findings[0].place, "report::renders");
        let mut desk = Report::default();
        desk.absent(false, "report::renders", "chromium: not found");
        assert!(desk.findings.is_empty());
        assert_eq!(
            desk.notes,
            ["skipped: report::renders: chromium: not found"]
        );
    }

    #[test]
    fn output_is_passed_on_and_read_and_the_status_kept() {
        let mut shell = Workspace::here().command("sh");
        shell.args(["-c", "echo 'test a ... FAILED'; exit 3"]);
        let (tally, passed) = watched(&mut shell).unwrap();
        assert_eq!(tally.failures, ["a"]);
        assert!(!passed);
    }

    #[test]
    fn a_component_that_cannot_be_prepared_does_not_stop_the_tests() {
        let bad = Component {
            name: "broken",
            version: "1",
            script: "exit 7",
            files: &[],
        };
        let good = Component {
            name: "working",
            version: "1",
            script: "touch tool",
            files: &[],
        };
        let folder = format!("wva-xtask-prepare-{}", std::process::id());
        let cache = std::env::temp_dir().join(folder);
        let prepared = prepare(&Workspace::here(), &[bad, good], &cache);
        assert_eq!(prepared.failed[0].0, "broken 1");
        let (variable, folder) = &prepared.ready[0];
        assert_eq!(variable, "WVA_COMPONENT_WORKING");
        assert!(folder.join("tool").exists());
        std::fs::remove_dir_all(cache).unwrap();
    }
}
