//! The controller: watches Kubernetes, gathers telemetry, runs the decision cycle, and publishes what it decides.

pub mod actuate;
pub mod api;
pub mod cycle;
pub mod exchange;
pub mod exported;
pub mod external_metrics;
pub mod index;
pub mod keda;
pub mod leader;
pub mod published;
pub mod run;
pub mod serving;
pub mod settings;
pub mod snapshot;
pub mod telemetry;
