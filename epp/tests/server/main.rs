//! The server: bodies, the protocol's sequences, flow control, sockets.
#![allow(clippy::unwrap_used)] // tests

// The helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

mod bodies;
mod common;
mod exchange;
mod flow;
mod hostile;
mod sockets;
