//! The Endpoint Picker as a server: what Envoy asks for every request, and what keeps the answer true.
//!
//! ```text
//!  discovery (pods, pools, objectives) ─┐
//!  scrape (the servers' own metrics) ───┼─► store ──► ext-proc server, gateway
//!  fits, shares, drain marks ───────────┘
//! ```
//! The choice itself is `wva-epp-core`'s; here are the sockets around it.

pub mod api;
pub mod body;
pub mod clock;
pub mod coupling;
pub mod discovery;
pub mod gateway;
pub mod objectives;
pub mod scrape;
pub mod server;
pub mod store;
