//! Fitting: online from simulated telemetry, offline from simulated sweeps.
#![allow(clippy::unwrap_used)]

mod engine;
mod offline;
mod online;
