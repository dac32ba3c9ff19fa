//! What goes wrong in clusters, on the real components: sources that are down, old or lying, API servers that restart,
//! leaders that die, objects that make no sense.
//!
//! One thing holds in all of them: nothing is ever scaled down for lack of data. Tests of telemetry have users whose requests
//! all but cease while nobody can see it; that the fleet shrinks once it is seen proves that the controller was there.

mod api_server;
mod crowd;
mod leaders;
mod lies;
mod objects;
mod succession;
mod telemetry;
