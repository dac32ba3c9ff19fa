//! The gateway between real clients and real servers: both ways, failures on either side, and what is not meant well.
#![allow(clippy::unwrap_used)] // tests

mod choice;
mod common;
mod failing;
mod hostile;
mod leaving;
mod models;
mod streaming;
