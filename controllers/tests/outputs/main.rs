//! What the controller serves, asked by real clients over real connections.
#![allow(clippy::unwrap_used)] // tests

mod access;
mod certificates;
mod discovery;
mod exported;
mod fixtures;
mod keda;
mod published;
mod rotation;
mod selectors;
mod tolerance;
mod values;
