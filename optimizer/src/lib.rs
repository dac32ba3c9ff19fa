//! The optimizer: problem → formulation → solver → plan → independent verification → stabilised decision, and the one
//! whole pure cycle `step` that the controller, the simulator and replays all call.

mod balance;
mod block;
pub mod decision;
mod formulation;
mod greedy;
mod joint;
mod levels;
mod lexicographic;
mod occupancy;
pub mod plan;
pub mod planner;
pub mod prices;
pub mod problem;
mod repair;
pub mod replay;
mod round_up;
mod rungs;
pub mod snapshot;
pub mod solve;
pub mod stabilise;
pub mod state;
pub mod step;
pub mod verify;
pub mod what_if;
