//! What strangers send: bodies, answers, metrics pages, configurations and whole conversations, mutated without end.
//!
//! Each target has its seeds in `seeds/`, its dictionary, and properties that hold for every input. A normal test run tries
//! a thousand mutations, the same each time; `cargo xtask fuzz` goes on for as many CPU-minutes as it is told. What
//! breaks a property is written to a file, to be looked at and added to the seeds.

#[path = "../server/common.rs"]
#[allow(dead_code)]
mod common;

mod answers;
mod bodies;
mod configs;
mod engine;
mod exchanges;
mod line;
mod pages;
