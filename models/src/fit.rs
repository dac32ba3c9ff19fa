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

pub mod online;
pub mod parameters;
pub mod telemetry;

pub use online::{FitEvent, Fitted, OnlineFit};
pub use parameters::{PARAMETERS, PhysicalFloor, PriorSpread};
pub use telemetry::{EngineCounters, EngineWindow, OperatingPoint};
