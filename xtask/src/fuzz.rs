//! Fuzzing of what strangers send to the endpoint picker, for as long as wanted.

use std::process::Command;

use crate::recipe::{Finding, Report};
use crate::workspace::{Workspace, shown, succeeds};

/// CPU-minutes of each target unless told otherwise.
const MINUTES: f64 = 10.0;

/// The fuzz targets of the endpoint picker, one after the other: so many CPU-minutes each (the first word, if it is a
/// number), those whose names contain the other words.
pub fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<Report> {
    let (minutes, names) = split(arguments);
    let mut command = command(workspace, minutes, names);
    let passed = succeeds(&mut command)?;
    let finding = || {
        let remedy =
            "the message names the input: mend what it breaks, then put it among the seeds";
        Finding::new(shown(&command), "an input breaks a property", remedy)
    };
    Ok(Report {
        findings: if passed { Vec::new() } else { vec![finding()] },
        notes: Vec::new(),
        summary: format!("{minutes} CPU-minutes each"),
    })
}

fn split(arguments: &[String]) -> (f64, &[String]) {
    let first = arguments.first().and_then(|a| a.parse().ok());
    match first {
        Some(minutes) => (minutes, &arguments[1..]),
        None => (MINUTES, arguments),
    }
}

/// Optimised, and with the checks for overflow and the assertions of a debug build.
fn command(workspace: &Workspace, minutes: f64, names: &[String]) -> Command {
    let mut command = workspace.cargo("test --locked -p wva-epp --test fuzz");
    command
        .args(["--config", "profile.dev.package.wva-epp.opt-level=2"])
        .args(["--", "--nocapture", "--test-threads=1"])
        .args(names)
        .env("WVA_FUZZ_SECONDS", (minutes * 60.0).to_string());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_minutes_and_other_words_are_targets() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let arguments = words(&["0.5", "pages"]);
        assert_eq!(split(&arguments), (0.5, &words(&["pages"])[..]));
        assert_eq!(split(&arguments[1..]), (MINUTES, &words(&["pages"])[..]));
        assert_eq!(split(&[]), (MINUTES, &[][..]));
    }
}
