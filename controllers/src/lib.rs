//! The controller: watches Kubernetes, gathers telemetry, runs the decision cycle, and publishes what it decides.

pub mod api;
pub mod cycle;
pub mod exported;
pub mod external_metrics;
pub mod index;
pub mod keda;
pub mod published;
pub mod serving;
pub mod snapshot;
pub mod telemetry;
