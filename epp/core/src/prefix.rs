//! Approximate prefix index: which endpoints have lately been sent a prompt that begins like this one.
//!
//! ```text
//!  prompt ──► blocks of 64 tokens ──► chain of hashes ──► tree of runs, each with its holders ──► matched blocks
//! ```
//! A hash stands for its block and all before it, seeded with the model and the salt, so equal hashes mean equal
//! prefixes. Prompts share beginnings and then part for good, so the hashes are kept as a tree whose edges are runs of
//! them (`prefix::tree`): a prompt of 100,000 tokens that nobody has sent before is one run, however many blocks it has, and
//! costs one entry instead of 1,563. Each endpoint has a least-recently-used list of the runs that it holds (`prefix::recency`),
//! as long as its KV cache. It is approximate in that nobody asks the engines: what they evict under memory pressure is
//! missed.

mod chain;
mod index;
mod recency;
mod slab;
mod tree;

pub use chain::{Chain, MIN_BLOCK_TOKENS};
pub use index::{PrefixIndex, PrefixLimits};
