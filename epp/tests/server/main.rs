//! The server: bodies, the protocol's sequences, flow control, sockets.
#![allow(clippy::unwrap_used)] // tests

mod bodies;
mod certificates;
mod common;
mod exchange;
mod flow;
mod hostile;
mod sockets;
