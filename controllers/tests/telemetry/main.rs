//! Telemetry against recorded-like pages, lying servers and a Prometheus API.
#![allow(clippy::unwrap_used, missing_docs)]

mod engines;
mod pages;
