//! Fitting the iteration law: online from what replicas report while they serve, offline from benchmark sweeps.
//!
//! ```text
//! roofline prior ──┐
//! scraped windows ─┴─> OnlineFit (extended Kalman filter over log-parameters) ─> Fitted {law, covariance, trust}
//! benchmark points ──> fit_sweep (NNLS start, Levenberg–Marquardt) ──────────────> SweepFit {law, errors}
//! ```
//! Parameters are fitted in logarithms: they are positive, and what is known of them beforehand ("the roofline is right
//! to 40 %") is relative. One operating point cannot tell seven parameters apart, so the prior stays in force along the
//! directions that the data leaves open; along the others the predictions near the operated load become right quickly,
//! and that is what sizing needs.

pub mod offline;
pub mod online;
pub mod parameters;
pub mod telemetry;

use crate::iteration::IterationLaw;

pub use offline::{Predicted, SweepFit, SweepPoint, SweepPrior, fit_sweep, mean_field};
pub use online::{FitEvent, Fitted, OnlineFit};
pub use parameters::{PARAMETERS, PhysicalFloor, PriorSpread};
pub use telemetry::{EngineCounters, EngineWindow, OperatingPoint};

/// Why a sweep gives no law.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum FitError {
    /// There are fewer usable measurements than a fit needs.
    #[error("a fit needs {needed} measured latencies, not {have}")]
    TooFewPoints {
        /// Usable measurements of ITL or TTFT.
        have: usize,
        /// Least number.
        needed: usize,
    },
    /// Every measured point is unstable under the prior and under the linear start: rates or shapes are wrong.
    #[error("every measured point is unstable under every law to start from")]
    NoStart,
    /// The best law is faster than the hardware can be: accelerator, model or precision are not what was measured.
    #[error("the best law is below the physical floor: {law:?}")]
    BelowPhysicalFloor {
        /// That law.
        law: IterationLaw,
    },
}
