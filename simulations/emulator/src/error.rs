//! What can keep a server from being started.

use std::io;
use std::net::SocketAddr;

/// Why a server was not started.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// Its address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A number of its specification is out of its domain.
    #[error("{what} is {value}, must be {domain}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Where it must be.
        domain: &'static str,
    },
    /// It has no name to serve under.
    #[error("a server needs at least one model name that is not blank")]
    NoName,
}
