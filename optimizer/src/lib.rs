//! The optimizer: problem → formulation → solver → plan → independent verification → stabilised decision, and the one
//! whole pure cycle `step` that the controller, the simulator and replays all call.

pub mod decision;
pub mod plan;
pub mod problem;
pub mod snapshot;
