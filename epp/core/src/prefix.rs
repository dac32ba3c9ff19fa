//! Approximate prefix index: which endpoints have lately been sent a prompt that begins like this one.
//!
//! ```text
//!  prompt ──► blocks of 64 tokens ──► chain of hashes ──► holders of each ──► matched blocks per endpoint
//! ```
//! A hash stands for its block and all before it, seeded with the model and the salt, so equal hashes mean equal
//! prefixes. Each endpoint has a least-recently-used list as long as its KV cache; the index beside it says who holds a
//! hash. It is approximate in that nobody asks the engines: what they evict under memory pressure is missed. A tree of
//! prefixes would answer the same; hashes need no walk over the prompt's bytes per endpoint, and no rebalancing.

mod chain;
mod holders;
mod index;
mod lru;

pub use chain::{Chain, MIN_BLOCK_TOKENS};
pub use index::{PrefixIndex, PrefixLimits};
