//! A whole run: requests, fleet, scrapes, policy and HorizontalPodAutoscalers on one clock.
//!
//! ```text
//! every nanosecond that matters:  requests, engines, start-ups, transfers
//! every scrape interval:          metrics as Prometheus would hold them
//! every period of the policy:     Snapshot ─▶ Policy ─▶ Intent ─▶ scale target | published metric ─▶ HPA ─▶ scale target
//! ```
//! At the end of the duration no more requests are taken, the fleet stays as it is, and what is in flight may finish for
//! some minutes more: cost, GPU-hours and replica counts end with the duration, so that the tail is not paid for, and a
//! request that arrived late has the same chance as any other. What is unfinished then counts as missed.

mod event_loop;
mod setup;
mod summary;
mod timeline;

pub(crate) use self::summary::attainment;

pub use self::setup::{Options, Setup, SetupError};

use crate::policy::Policy;
use crate::result::RunResult;

/// Runs a policy on a setup. The same setup and an equal policy give the same result, byte for byte once serialised.
///
/// # Errors
/// [`SetupError`] when the setup contradicts itself; nothing is simulated then.
pub fn run(setup: &Setup<'_>, policy: &mut dyn Policy) -> Result<RunResult, SetupError> {
    event_loop::Run::new(setup, policy)?.finish()
}
