//! The one clock of the process, in the seconds that the pure crates take as an argument.

use std::time::Instant;

/// Seconds since the process started. All parts hold a copy of the same one, so that their times compare.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at 0.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start.
    #[must_use]
    pub fn now(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    /// The moment at which [`Clock::now`] is `seconds`.
    #[must_use]
    pub fn instant(&self, seconds: f64) -> Instant {
        let ahead = std::time::Duration::try_from_secs_f64(seconds.max(0.0));
        let far = std::time::Duration::from_secs(86_400 * 365);
        self.0 + ahead.unwrap_or(far).min(far)
    }
}
