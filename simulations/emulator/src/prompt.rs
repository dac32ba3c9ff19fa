//! Prompts as the engine sees them: how many tokens, and the hashes of the blocks that a prefix cache knows them by.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::filler::TOKEN_BYTES;

/// A prompt without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Tokens, at least 1.
    pub tokens: usize,
    /// Hash of each full block and everything before it.
    pub blocks: Box<[u64]>,
    /// Hash of everything.
    pub seed: u64,
}

impl Prompt {
    /// A prompt of text: a token per four bytes, rounded up. `root` separates what must not be shared: models, adapters
    /// and cache salts.
    pub fn of_text(text: &str, root: u64, block_tokens: u32) -> Self {
        let bytes = text.as_bytes();
        let tokens = bytes.len().div_ceil(TOKEN_BYTES);
        chained(bytes, tokens, root, block_tokens as usize * TOKEN_BYTES)
    }

    /// A prompt of token ids.
    pub fn of_ids(ids: &[u32], root: u64, block_tokens: u32) -> Self {
        chained(ids, ids.len(), root, block_tokens as usize)
    }
}

/// A number that stands for names that must not share a cache.
pub fn root(names: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    names.hash(&mut hasher);
    hasher.finish()
}

fn chained<T: std::hash::Hash>(items: &[T], tokens: usize, root: u64, block: usize) -> Prompt {
    let next = |before: u64, items: &[T]| {
        let mut hasher = DefaultHasher::new();
        before.hash(&mut hasher);
        items.hash(&mut hasher);
        hasher.finish()
    };
    let mut hash = root;
    let full = items.chunks_exact(block.max(1));
    let rest = full.remainder();
    let blocks = full
        .map(|chunk| {
            hash = next(hash, chunk);
            hash
        })
        .collect();
    Prompt {
        tokens: tokens.max(1),
        blocks,
        seed: next(hash, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_share_the_blocks_of_their_common_prefix() {
        let a = Prompt::of_text(&"a".repeat(200), 1, 16);
        let b = Prompt::of_text(&format!("{}{}", "a".repeat(130), "b".repeat(70)), 1, 16);
        assert_eq!((a.tokens, a.blocks.len()), (50, 3));
        assert_eq!(a.blocks[..2], b.blocks[..2]);
        assert_ne!(a.blocks[2], b.blocks[2]);
        let salted = Prompt::of_text(&"a".repeat(200), 2, 16);
        assert!(a.blocks.iter().zip(&salted.blocks).all(|(x, y)| x != y));
    }

    #[test]
    fn tokens_are_counted_by_bytes_or_given() {
        let tokens = |text: &str| Prompt::of_text(text, 0, 16).tokens;
        assert_eq!((tokens(""), tokens("abcd"), tokens("abcde")), (1, 1, 2));
        assert_eq!(Prompt::of_ids(&[5; 33], 0, 16).tokens, 33);
        assert_eq!(Prompt::of_ids(&[5; 33], 0, 16).blocks.len(), 2);
    }
}
