//! The one place of telemetry that knows what time it is.

/// A clock: seconds since the Unix epoch.
pub type Clock = fn() -> f64;

/// The system's clock.
#[must_use]
pub fn system() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |d| d.as_secs_f64())
}
