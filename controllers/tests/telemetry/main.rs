//! Telemetry against recorded-like pages, lying servers and a Prometheus API.
#![allow(clippy::unwrap_used, missing_docs)]

mod doubt;
mod engines;
mod fleet;
mod judging;
mod lies;
mod other_pages;
mod pages;
mod prometheus;
mod real_prometheus;
mod scraping;
mod servers;
mod streams;
