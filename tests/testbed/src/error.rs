//! What can go wrong while components are started, stopped and asked.

use std::process::ExitStatus;

/// Why a component is not there or did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable that names the component's folder is not set.
    #[error("component {name}: {variable} is not set; run the tests with `cargo xtask test`")]
    MissingComponent {
        /// As in `xtask/src/components.rs`.
        name: String,
        /// Where its folder should be named.
        variable: String,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The refusal.
        source: std::io::Error,
    },
    /// A process ended although it should run.
    #[error("{name} ended ({status}); the end of its log:\n{log}")]
    Ended {
        /// Of the process.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it wrote.
        log: String,
    },
    /// A process runs, but is not ready in time.
    #[error("{name} is not ready after {seconds} s: {reason}; the end of its log:\n{log}")]
    NotReady {
        /// Of the process.
        name: String,
        /// How long it was waited for.
        seconds: u64,
        /// What its last answer was.
        reason: String,
        /// The last lines it wrote.
        log: String,
    },
    /// Something awaited did not come.
    #[error("{what}: not within {seconds} s; last: {reason}")]
    Never {
        /// What was awaited.
        what: String,
        /// For how long.
        seconds: u64,
        /// Why not, the last time it was looked at.
        reason: String,
    },
    /// A command failed.
    #[error("{command} failed ({status}):\n{output}")]
    Command {
        /// As one would type it.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it complained of.
        output: String,
    },
    /// A certificate could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A request to the API server failed.
    #[error("{what}: {source}")]
    Kubernetes {
        /// What was asked.
        what: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// A kubeconfig could not be used.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Something answered other than it must.
    #[error("{what}: {answer}")]
    Answer {
        /// What was asked.
        what: String,
        /// What came.
        answer: String,
    },
}

impl Error {
    /// A refusal of the operating system, with what was tried.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// A refusal of the API server, with what was asked.
    pub(crate) fn kubernetes(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Kubernetes {
            what,
            source: Box::new(source),
        }
    }
}
