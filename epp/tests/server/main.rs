//! The server: bodies, the protocol's sequences, flow control, sockets.

mod bodies;
mod common;
mod exchange;
mod flow;
mod hostile;
mod sockets;
