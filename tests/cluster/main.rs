//! Parts of wva in a real cluster: kube-apiserver, its aggregator and the HPA, as they are shipped.
//!
//! Tests begin in the order of their names: those that take longest are named so that they begin first.
#![allow(clippy::unwrap_used)] // tests

mod access_rights;
mod autoscaling;
mod closed_loops;
mod commands;
mod external_metrics;
mod faults;
mod forms;
mod groups;
mod installation;
mod load;
mod metronome;
mod plot;
mod site;
