//! Prefix cache of one engine: full blocks by hash, shared by the sequences that reference them, the others kept in the
//! KV memory that running sequences leave, least recently used first out.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone)]
struct Block {
    hash: u64,
    references: u32,
    /// Neighbours in the list of idle blocks; meaningless while referenced.
    older: u32,
    newer: u32,
}

/// Blocks present in one engine.
#[derive(Debug, Clone)]
pub(super) struct PrefixCache {
    /// Fixed keys: look-ups only, the order of the map is never seen.
    index: HashMap<u64, u32, BuildHasherDefault<DefaultHasher>>,
    blocks: Vec<Block>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    idle: u64,
    referenced: u64,
    /// Tokens of a block.
    block: u64,
}

impl PrefixCache {
    /// An empty cache of blocks of this many tokens.
    pub(super) fn new(block_tokens: u32) -> Self {
        Self {
            index: HashMap::default(),
            blocks: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            idle: 0,
            referenced: 0,
            block: block_tokens.into(),
        }
    }

    /// Tokens of blocks that sequences reference: part of the KV memory in use, counted once however many share them.
    pub(super) const fn referenced_tokens(&self) -> u64 {
        self.referenced * self.block
    }

    /// How many leading blocks of `hashes` are present, and how many of those no sequence references.
    pub(super) fn matched(&self, hashes: &[u64]) -> (usize, usize) {
        let mut idle = 0;
        let mut present = 0;
        for hash in hashes {
            let Some(&b) = self.index.get(hash) else {
                break;
            };
            present += 1;
            idle += usize::from(self.blocks[b as usize].references == 0);
        }
        (present, idle)
    }

    /// References a block, making it present if it is not.
    pub(super) fn reference(&mut self, hash: u64) {
        if let Some(&b) = self.index.get(&hash) {
            if self.blocks[b as usize].references == 0 {
                self.unlink(b);
                self.referenced += 1;
            }
            self.blocks[b as usize].references += 1;
            return;
        }
        let block = Block {
            hash,
            references: 1,
            older: NONE,
            newer: NONE,
        };
        let b = if let Some(b) = self.free.pop() {
            self.blocks[b as usize] = block;
            b
        } else {
            self.blocks.push(block);
            (self.blocks.len() - 1) as u32
        };
        self.index.insert(hash, b);
        self.referenced += 1;
    }

    /// Drops one reference to each block; the last blocks become the older ones, so that a prefix outlives its tail.
    pub(super) fn release(&mut self, hashes: &[u64]) {
        for hash in hashes.iter().rev() {
            let Some(&b) = self.index.get(hash) else {
                continue;
            };
            let block = &mut self.blocks[b as usize];
            block.references = block.references.saturating_sub(1);
            if block.references == 0 {
                self.referenced -= 1;
                self.link_newest(b);
            }
        }
    }

    /// Evicts idle blocks, oldest first, until they fit into `tokens`.
    pub(super) fn shrink_to(&mut self, tokens: u64) {
        while self.idle * self.block > tokens {
            let b = self.oldest;
            self.unlink(b);
            self.index.remove(&self.blocks[b as usize].hash);
            self.free.push(b);
        }
    }

    fn link_newest(&mut self, b: u32) {
        self.blocks[b as usize].older = self.newest;
        self.blocks[b as usize].newer = NONE;
        match self.newest {
            NONE => self.oldest = b,
            n => self.blocks[n as usize].newer = b,
        }
        self.newest = b;
        self.idle += 1;
    }

    fn unlink(&mut self, b: u32) {
        let Block { older, newer, .. } = self.blocks[b as usize];
        match older {
            NONE => self.oldest = newer,
            o => self.blocks[o as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            n => self.blocks[n as usize].older = older,
        }
        self.idle -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_referenced_blocks_and_evicts_the_oldest_idle_ones() {
        let mut cache = PrefixCache::new(512);
        for hash in [1, 2, 3] {
            cache.reference(hash);
        }
        cache.reference(1);
        assert_eq!(cache.referenced_tokens(), 3 * 512);
        cache.release(&[1, 2, 3]);
        assert_eq!(cache.referenced_tokens(), 512, "1 is still referenced");
        assert_eq!(cache.matched(&[1, 2, 3, 4]), (3, 2));
        cache.shrink_to(512);
        assert_eq!(cache.matched(&[1, 2, 3]), (2, 1), "the tail went first");
        cache.release(&[1]);
        cache.shrink_to(0);
        assert_eq!(cache.matched(&[1]), (0, 0));
        cache.reference(9);
        assert_eq!(cache.referenced_tokens(), 512);
    }
}
