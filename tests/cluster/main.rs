//! Parts of wva in a real cluster: kube-apiserver, its aggregator and the HPA, as they are shipped.
#![allow(clippy::unwrap_used)] // tests

mod autoscaling;
mod commands;
mod external_metrics;
mod faults;
mod forms;
mod groups;
mod installation;
mod load;
mod loops;
mod metronome;
mod plot;
mod rights;
mod site;
