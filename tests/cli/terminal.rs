//! How the program behaves as a program.

use std::process::Stdio;

use crate::Folder;

#[test]
fn usage_errors_exit_with_2() {
    let folder = Folder::empty();
    folder
        .wva(&["frobnicate"])
        .refused(&["unrecognized subcommand 'frobnicate'"]);
    folder
        .wva(&["completions", "bash", "-o", "xml"])
        .refused(&["xml", "json"]);
    folder
        .wva(&["completions", "bash", "--log", "=="])
        .refused(&["`==` is not a log filter"]);
    assert_eq!(folder.wva(&[]).code, Some(2));
}

#[test]
fn help_and_version_are_answers() {
    let folder = Folder::empty();
    assert!(folder.wva(&["--help"]).answered().contains("Exit codes"));
    assert!(folder.wva(&["--version"]).answered().starts_with("wva "));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let folder = Folder::empty();
    let mut child = folder
        .command(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("wva starts");
    drop(child.stdout.take());
    let ran = child.wait_with_output().expect("wva ends");
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
    assert_eq!(ran.status.code(), Some(0));
}

/// Started under the name that kubectl looks for, help speaks of `kubectl wva`.
#[cfg(unix)]
#[test]
fn works_as_a_kubectl_plugin() {
    let folder = Folder::empty();
    let plugin = folder.path("kubectl-wva");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wva"), &plugin).expect("a link");
    let ran = std::process::Command::new(plugin)
        .arg("--help")
        .output()
        .expect("it starts");
    assert!(String::from_utf8_lossy(&ran.stdout).contains("Usage: kubectl wva "));
}
