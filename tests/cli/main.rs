//! The built binary, from the outside: what it prints where, and what it exits with.

mod catalogue;
mod cluster;
mod clusterless;
mod completions;
mod demo;
mod emulate;
mod examples;
mod gateway;
mod inputs;
mod migrate;
mod picker;
mod plan;
mod predict;
mod simulate;
mod terminal;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A small fleet: one model on two accelerators, one class.
pub const FLEET: &str = "\
accelerators:
  - {name: H100, price_per_hour_usd: 2.5}
variants:
  - {model: llama-3.1-8b, accelerator: H100}
  - {model: llama-3.1-8b, accelerator: L40S, price_per_hour_usd: 1.0, max_replicas: 8}
classes:
  - {name: chat, priority: 10, ttft_ms: {p99: 500}, itl_ms: {mean: 40}}
";

/// A folder of its own for one test, gone afterwards.
pub struct Folder(PathBuf);

/// What a run of `wva` came to.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; absent when a signal ended it.
    pub code: Option<i32>,
    /// Everything on stdout.
    pub out: String,
    /// Everything on stderr.
    pub err: String,
}

impl Folder {
    /// An empty folder.
    pub fn empty() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a test folder");
        Self(path)
    }

    /// Where a file of this name is, or would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file in the test folder");
    }

    /// Runs `wva` in this folder; no environment variable changes what it prints.
    pub fn wva(&self, arguments: &[&str]) -> Ran {
        let ran = self
            .command(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("wva starts");
        Ran {
            code: ran.status.code(),
            out: String::from_utf8(ran.stdout).expect("UTF-8 on stdout"),
            err: String::from_utf8(ran.stderr).expect("UTF-8 on stderr"),
        }
    }

    /// `wva` about to run in this folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wva"));
        command
            .args(arguments)
            .current_dir(&self.0)
            .env_remove("RUST_LOG");
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Ran {
    /// It must have succeeded; gives stdout.
    #[track_caller]
    pub fn answered(&self) -> &str {
        assert_eq!(self.code, Some(0), "stderr: {}", self.err);
        &self.out
    }

    /// It must have succeeded with JSON of this schema.
    #[track_caller]
    pub fn json(&self, schema: &str) -> Value {
        let json: Value = serde_json::from_str(self.answered()).expect("JSON on stdout");
        assert_eq!(json["schema"], schema);
        json
    }

    /// It must have refused its input: exit code 2, nothing on stdout, no panic, and one message that says all of `parts`.
    #[track_caller]
    pub fn refused(&self, parts: &[&str]) {
        assert_eq!(
            self.code,
            Some(2),
            "stdout: {}\nstderr: {}",
            self.out,
            self.err
        );
        assert_eq!(self.out, "");
        assert!(!self.err.contains("panicked"), "{}", self.err);
        assert_eq!(self.err.matches("error:").count(), 1, "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is not in: {}", self.err);
        }
    }
}

/// Asserts that all `keys` are there.
#[track_caller]
pub fn has_keys(json: &Value, keys: &[&str]) {
    for key in keys {
        assert!(json.get(key).is_some(), "`{key}` is not in {json}");
    }
}
