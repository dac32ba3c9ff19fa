//! The bundle of a run's cycles, written while it runs.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use wva_simulations::policy::wva::Sink;
use wva_simulations::scenario::PolicyChoice;

use super::runs;

use crate::diagnostic::Diagnostic;
use crate::failure::Failure;

/// A file that a sink writes lines to.
pub struct Recorder {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

struct State {
    file: BufWriter<File>,
    /// The first error; nothing is written after it.
    failed: Option<io::Error>,
}

impl Recorder {
    /// Creates the file, or says why there is nothing to record.
    pub fn create(path: &Path, policies: &[PolicyChoice]) -> Result<Self, Failure> {
        if runs::recorded(policies).is_none() {
            let message =
                "--record: only the policy `wva` has cycles to record, and it does not run";
            return Err(Diagnostic::new(message)
                .help("add it: `--policy wva`")
                .into());
        }
        let file = File::create(path).map_err(|e| cannot_write(path, &e))?;
        let state = State {
            file: BufWriter::new(file),
            failed: None,
        };
        Ok(Self {
            path: path.to_owned(),
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// Where a policy sends its lines.
    pub fn sink(&self) -> Sink {
        let state = Arc::clone(&self.state);
        Box::new(move |line| {
            let mut state = state.lock().expect("no holder of the lock panics");
            if state.failed.is_none() {
                state.failed = writeln!(state.file, "{line}").err();
            }
        })
    }

    /// Writes out what is buffered.
    pub fn finish(self) -> Result<(), Failure> {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        match state.failed.take().map_or_else(|| state.file.flush(), Err) {
            Ok(()) => Ok(()),
            Err(e) => Err(cannot_write(&self.path, &e).into()),
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::new(format!("cannot write `{}`: {error}", path.display()))
}
