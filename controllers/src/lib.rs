//! The controller: watches Kubernetes, gathers telemetry, runs the decision cycle, and publishes what it decides.

pub mod published;
