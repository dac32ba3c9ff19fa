//! The checkout, and how recipes run commands in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// The checkout that `cargo xtask` was called in.
pub struct Workspace {
    /// Its top folder.
    pub root: PathBuf,
    /// Whether this is CI (`CI=true`), where a test that cannot start its component has failed.
    pub ci: bool,
}

impl Workspace {
    /// The checkout this xtask belongs to.
    pub fn here() -> Self {
        let package =
            std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&package)
            .parent()
            .expect("xtask/ lies in the root")
            .to_owned();
        let ci = std::env::var("CI").is_ok_and(|v| v == "true" || v == "1");
        Self { root, ci }
    }

    /// A command in the root of the checkout, with no standard input.
    ///
    /// `cargo run` tells this process about the xtask package in variables such as `CARGO_PKG_NAME`. They are
    /// taken out again: build scripts watch some of them, and would rebuild each time one goes from
    /// `cargo test` to `cargo xtask test`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(describes_this_package) {
                command.env_remove(name);
            }
        }
        command
    }

    /// A cargo command with these arguments, split at blanks.
    pub fn cargo(&self, arguments: &str) -> Command {
        let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = self.command(&program);
        command.args(arguments.split_whitespace());
        command
    }

    /// What `cargo metadata` says.
    pub fn metadata(&self) -> anyhow::Result<Value> {
        let text = capture(&mut self.cargo("metadata --format-version 1 --locked"))?;
        serde_json::from_str(&text).context("cargo metadata printed something other than JSON")
    }

    /// The text of a file, its path relative to the root.
    pub fn read(&self, path: &str) -> anyhow::Result<String> {
        std::fs::read_to_string(self.root.join(path)).with_context(|| format!("cannot read {path}"))
    }
}

fn describes_this_package(variable: &str) -> bool {
    [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_NAME",
    ]
    .iter()
    .any(|prefix| variable.starts_with(prefix))
}

/// Shows the command, lets it print as it goes, and says whether it succeeded.
pub fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    println!("   $ {}", shown(command));
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    Ok(status.success())
}

/// What the command prints, or an error with what it complained of.
pub fn capture(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed ({}):\n{}",
            shown(command),
            output.status,
            complaint.trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{}: not UTF-8", shown(command)))
}

/// The command as one would type it: the program without its folder.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words
        .map(|w| w.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace_manifest() {
        let manifest = Workspace::here().read("Cargo.toml").unwrap();
        assert!(manifest.contains("[workspace]"));
        assert!(Workspace::here().read("no/such/file").is_err());
    }

    #[test]
    fn a_failing_command_is_an_error_with_its_complaint() {
        let error = capture(&mut Workspace::here().cargo("no-such-subcommand")).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("cargo no-such-subcommand failed"), "{text}");
    }

    #[test]
    fn commands_do_not_inherit_what_cargo_says_about_xtask() {
        let command = Workspace::here().cargo("version");
        let removed = |name: &str| command.get_envs().any(|(n, v)| n == name && v.is_none());
        assert!(removed("CARGO_PKG_NAME") && removed("CARGO_MANIFEST_DIR"));
        assert!(!removed("CARGO_TARGET_DIR") && !removed("PATH"));
    }
}
