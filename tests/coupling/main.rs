//! The endpoint picker and the controller together: load from the picker's pushes alone, requests that wake a model, and
//! replicas that leave without a loss.
//!
//! ```text
//! users ─► Envoy ─► emulated servers          `wva controller` ─► /scale ─► Deployment ─► test kubelet
//!            │                                    ▲    │
//!            └─ ext-proc ─► `wva epp` ── push ────┘    │
//!                               ▲─── fits, who leaves ─┘
//! ```
//! No Prometheus, and nothing scraped by the controller: all that it knows of the load came by pushes. Envoy retries nothing.
#![allow(clippy::unwrap_used)] // tests

mod bed;
mod drains;
mod envoy;
mod pushes;
mod users;
mod wakes;

#[path = "../cluster/load.rs"]
#[expect(dead_code, reason = "tests of the cluster use the rest")]
mod load;
#[path = "../cluster/metronome.rs"]
mod metronome;
#[path = "../cluster/site.rs"]
#[expect(dead_code, reason = "tests of the cluster use the rest")]
mod site;
