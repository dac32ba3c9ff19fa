//! What is chosen: the contract's cases, configuration, the prefix index, and properties of every choice.

mod black_box;
mod common;
mod config;
mod prefix;
mod properties;
