//! `wva epp` behind a real Envoy: what a request becomes, from the client's socket to the server's and back.
#![allow(clippy::unwrap_used)] // tests

mod bed;
mod bodies;
mod client;
mod cluster;
mod failures;
mod overload;
mod picks;
mod puppet;
mod routes;
