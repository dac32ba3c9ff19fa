//! The controller without a cluster: objects go in, fleets, decisions and effects come out.

mod cycles;
mod drain;
mod fixtures;
mod hostile;
mod order;
mod routers;
mod samples;
mod shared;
mod world;
