//! What the program is doing, on stderr, for those who ask with `--log` or `RUST_LOG`.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::arguments::Common;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;

/// Starts logging with the filter of `--log` or `RUST_LOG`, or at `level` when neither is given.
pub fn start(common: &Common, level: &str) -> Result<(), Failure> {
    let log = common.log.as_deref().unwrap_or(level);
    let filter = EnvFilter::try_new(log).map_err(|e| {
        Diagnostic::new(format!("`{log}` is not a log filter: {e}")).help(
            "give a level, or levels by module: `--log debug`, `--log info,wva_simulations=trace`",
        )
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // Fails only when a logger is set already, and this is the one place that sets it.
    let _ = subscriber.with_ansi(false).try_init();
    Ok(())
}
