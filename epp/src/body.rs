//! Request and response bodies: what a choice needs of them, read in one borrowed pass.
//!
//! ```text
//!  request ──► json ──► Facts (spans into the body) ──► model, prompt, tokens ──► chain of hashes
//!  response ─► usage (SSE or JSON, chunk by chunk) ──► tokens that the server counted
//! ```
//! No tree of values is ever built: of a prompt of 100,000 tokens, four numbers and two spans are kept. The whole body is
//! still checked, since a malformed one must be refused here and not after it has taken a place in a server's queue.

pub mod facts;
pub mod json;
pub mod rename;
pub mod usage;

pub use facts::{Api, Facts, Invalid};
