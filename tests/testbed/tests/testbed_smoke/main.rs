//! The components start, do what they are for, and go: what every other test takes for granted.

mod cluster;
mod control_plane;
mod emulated;
mod fleet;
mod gateways;
mod hpa;
mod metric_server;
mod pods;
