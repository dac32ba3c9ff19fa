//! How a command ends: the verdict of one that ran, the failure of one that could not.

use std::io;
use std::process::ExitCode;

use wva_models::catalogue::CatalogueError;

use crate::console::Console;
use crate::diagnostic::Diagnostic;

/// What a command that ran to its end found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is on stdout; exit code 0.
    Done,
    /// The answer is on stdout, but a condition did not hold or no feasible plan exists; exit code 1.
    NotHeld,
}

/// Why a command gave no answer.
#[derive(Debug)]
pub enum Failure {
    /// Usage or input that cannot be used; exit code 2.
    Input(Box<Diagnostic>),
    /// Something that is needed (the cluster, Prometheus) cannot be reached; exit code 3.
    Unreachable(Box<Diagnostic>),
    /// The answer could not be written.
    Output(io::Error),
}

impl Failure {
    /// Tells the user on stderr, and says what to exit with. A reader that closed the pipe has seen enough: no failure.
    pub fn report(&self, console: &Console) -> ExitCode {
        match self {
            Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Output(e) => {
                console.complain(&Diagnostic::new(format!("cannot write the answer: {e}")));
                ExitCode::from(2)
            }
            Self::Input(diagnostic) => {
                console.complain(diagnostic);
                ExitCode::from(2)
            }
            Self::Unreachable(diagnostic) => {
                console.complain(diagnostic);
                ExitCode::from(3)
            }
        }
    }

    /// What is wrong, on one line.
    pub fn text(&self) -> String {
        match self {
            Self::Output(e) => e.to_string(),
            Self::Input(diagnostic) | Self::Unreachable(diagnostic) => {
                diagnostic.message().to_owned()
            }
        }
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Input(Box::new(diagnostic))
    }
}

impl From<io::Error> for Failure {
    /// Only writes to stdout end up here; reads are turned into diagnostics where the file's name is known.
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<CatalogueError> for Failure {
    fn from(error: CatalogueError) -> Self {
        Diagnostic::placed(&error.to_string()).into()
    }
}
