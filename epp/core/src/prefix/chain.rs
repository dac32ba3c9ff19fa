//! A prompt as a chain of block hashes.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Fewest tokens of a block: smaller ones cost memory and time and match no better.
pub const MIN_BLOCK_TOKENS: u32 = 64;

/// Makes chains: feed it the pieces of a prompt in order, then take the hashes. Only whole blocks count, as in an engine.
///
/// Without a tokenizer a token is taken as four bytes, the upstream's estimate; equal bytes give equal tokens, so a
/// match in bytes is one in tokens.
#[derive(Debug, Clone)]
pub struct Chain {
    hashes: Vec<u64>,
    block_bytes: usize,
    most: usize,
    last: u64,
    /// Bytes of a block that is not full yet.
    rest: Vec<u8>,
}

/// Bytes that count as a token.
pub(crate) const BYTES_PER_TOKEN: usize = 4;

impl Chain {
    /// An empty chain for `model`, whose caches are told apart by `salt`, in blocks of `block_tokens` tokens (at least
    /// [`MIN_BLOCK_TOKENS`]), of which at most `most` count.
    #[must_use]
    pub fn new(model: &str, salt: &str, block_tokens: u32, most: usize) -> Self {
        let block_bytes = block_tokens.max(MIN_BLOCK_TOKENS) as usize * BYTES_PER_TOKEN;
        Self {
            hashes: Vec::new(),
            block_bytes,
            most,
            last: xxh3_64_with_seed(salt.as_bytes(), xxh3_64(model.as_bytes())),
            rest: Vec::new(),
        }
    }

    /// Adds bytes of the prompt.
    pub fn push(&mut self, mut bytes: &[u8]) {
        if !self.rest.is_empty() {
            let missing = (self.block_bytes - self.rest.len()).min(bytes.len());
            self.rest.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.rest.len() < self.block_bytes {
                return;
            }
            let block = std::mem::take(&mut self.rest);
            self.block(&block);
            self.rest = block;
            self.rest.clear();
        }
        let mut blocks = bytes.chunks_exact(self.block_bytes);
        for block in &mut blocks {
            if self.hashes.len() >= self.most {
                return;
            }
            self.block(block);
        }
        self.rest.extend_from_slice(blocks.remainder());
    }

    /// Adds tokens of a prompt that is tokenized.
    pub fn push_tokens(&mut self, tokens: &[u32]) {
        for token in tokens {
            self.push(&token.to_le_bytes());
        }
    }

    fn block(&mut self, block: &[u8]) {
        if self.hashes.len() < self.most {
            self.last = xxh3_64_with_seed(block, self.last);
            self.hashes.push(self.last);
        }
    }

    /// The hashes of the whole blocks so far, first block first.
    #[must_use]
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The hashes, without the rest.
    #[must_use]
    pub fn into_hashes(self) -> Vec<u64> {
        self.hashes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chain(salt: &str, pieces: &[&[u8]]) -> Vec<u64> {
        let mut chain = Chain::new("m", salt, 0, 100);
        pieces.iter().for_each(|p| chain.push(p));
        chain.into_hashes()
    }

    #[test]
    fn a_hash_stands_for_all_before_it() {
        let (a, b) = ([1_u8; 256], [2_u8; 256]);
        let ab = chain("", &[&a, &b]);
        assert_eq!(ab.len(), 2);
        assert_eq!(chain("", &[&a, &b[..255]]), ab[..1]);
        assert_eq!(chain("", &[&a, &a])[0], ab[0]);
        assert_ne!(chain("", &[&b, &b])[1], ab[1]);
        assert_ne!(chain("tenant", &[&a, &b])[0], ab[0]);
        assert_ne!(
            Chain::new("n", "", 64, 9).last,
            Chain::new("m", "", 64, 9).last
        );
    }

    #[test]
    fn at_most_so_many_blocks_count() {
        let mut chain = Chain::new("m", "", 64, 3);
        chain.push(&[0; 10_000]);
        chain.push(&[0; 10_000]);
        assert_eq!(chain.hashes().len(), 3);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..2000), cut in 0_usize..2000) {
            let cut = cut.min(bytes.len());
            let whole = chain("s", &[&bytes]);
            prop_assert_eq!(whole.len(), bytes.len() / 256);
            prop_assert_eq!(chain("s", &[&bytes[..cut], &bytes[cut..]]), whole);
        }
    }
}
