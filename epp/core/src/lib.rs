//! The Endpoint Picker's choice, as pure logic: which model server gets a request, what waits, what is refused.
//!
//! ```text
//!  Directory ──► Pool ─┐
//!  Request ────────────┼─► Picker::pick ──► Choice | Refusal
//!  State ──────────────┘        ▲
//!  EndpointPickerConfig ────────┘        FlowControl: who waits for how long when everything is full
//! ```
//! No clock, network, file or thread-local randomness: time and seeds are arguments, so the server in `wva-epp` and the
//! simulator run the very same choice.

pub mod choose;
pub mod config;
pub mod endpoint;
pub mod filter;
pub mod flow;
pub mod inflight;
pub mod paths;
pub mod picker;
pub mod pool;
pub mod predict;
pub mod prefix;
pub mod profile;
pub mod request;
mod round;
pub mod router;
pub mod saturation;
pub mod scorer;

pub use round::State;
