//! The index: who holds which hash, within bounded memory.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::holders::Holders;
use super::lru::{Lru, Touched};
use crate::endpoint::Slot;
use crate::pool::Pool;

/// Hashes need no hashing again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

pub(super) type ByHash = BuildHasherDefault<Itself>;

/// Bounds of a [`PrefixIndex`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixLimits {
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Blocks of an endpoint whose KV cache is of unknown size.
    pub default_blocks: usize,
    /// Blocks of all endpoints together: about 90 bytes each.
    pub total_blocks: usize,
    /// Blocks of one prompt that count.
    pub most_per_prompt: usize,
    /// Whether an endpoint's capacity follows the size of its KV cache.
    pub learn_capacity: bool,
}

impl Default for PrefixLimits {
    /// Blocks of 64 tokens, prompts up to 128k tokens (2,048 blocks), 4,096 blocks an endpoint where unknown (262k
    /// tokens), a million in all (90 MB).
    fn default() -> Self {
        Self {
            block_tokens: super::MIN_BLOCK_TOKENS,
            default_blocks: 4096,
            total_blocks: 1 << 20,
            most_per_prompt: 2048,
            learn_capacity: true,
        }
    }
}

/// Which endpoints hold which prefixes.
#[derive(Debug, Clone, Default)]
pub struct PrefixIndex {
    limits: PrefixLimits,
    blocks: HashMap<u64, Holders, ByHash>,
    pods: Vec<Lru>,
    generation: Vec<u32>,
    capacity: Vec<usize>,
    version: u64,
    alive: Vec<u64>,
    spread: Vec<u64>,
}

impl PrefixIndex {
    /// An empty index.
    #[must_use]
    pub fn new(limits: PrefixLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Its bounds.
    #[must_use]
    pub const fn limits(&self) -> &PrefixLimits {
        &self.limits
    }

    /// Blocks held, each counted once per endpoint.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pods.iter().map(Lru::len).sum()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Follows the pool: forgets endpoints that are gone, and fits every capacity to the endpoint's KV cache and to the
    /// bound on all. Does nothing while the members and their caches are the same.
    pub fn follow(&mut self, pool: &Pool) {
        let members = &pool.members;
        if self.version == members.version && self.pods.len() >= pool.places() {
            return;
        }
        self.version = members.version;
        let places = pool.places().max(self.pods.len());
        self.pods.resize_with(places, Lru::default);
        self.generation.resize(places, 0);
        self.capacity.resize(places, 0);
        for (i, &generation) in members.generation.iter().enumerate() {
            if self.generation[i] != generation {
                self.generation[i] = generation;
                self.forget(Slot(i as u32));
            }
        }
        let share = (self.limits.total_blocks / pool.len().max(1)).max(1);
        for i in 0..pool.places() {
            let tokens = pool.load.kv_tokens[i];
            self.capacity[i] = self.blocks_of(tokens).min(share);
            self.shrink(Slot(i as u32));
        }
    }

    /// Blocks of an endpoint with so many tokens of KV cache; NaN for unknown.
    fn blocks_of(&self, tokens: f64) -> usize {
        if self.limits.learn_capacity && tokens > 0.0 {
            ((tokens / f64::from(self.limits.block_tokens)) as usize).max(1)
        } else {
            self.limits.default_blocks.max(1)
        }
    }

    fn shrink(&mut self, slot: Slot) {
        while self.pods[slot.index()].len() > self.capacity[slot.index()] {
            if let Some(hash) = self.pods[slot.index()].pop() {
                self.unhold(hash, slot);
            }
        }
    }

    fn forget(&mut self, slot: Slot) {
        let gone = std::mem::take(&mut self.pods[slot.index()]);
        for hash in gone.hashes() {
            self.unhold(hash, slot);
        }
    }

    fn unhold(&mut self, hash: u64, slot: Slot) {
        if self.blocks.get_mut(&hash).is_some_and(|h| h.remove(slot)) {
            self.blocks.remove(&hash);
        }
    }

    /// Notes that an endpoint was sent a prompt of this chain. The end of the chain is the first to go later, as in an
    /// engine, so what an endpoint holds of a prompt is always its beginning.
    pub fn touch(&mut self, slot: Slot, chain: &[u64]) {
        let Some(&capacity) = self.capacity.get(slot.index()) else {
            return;
        };
        let places = self.pods.len();
        for &hash in chain[..chain.len().min(capacity)].iter().rev() {
            let touched = self.pods[slot.index()].touch(hash, capacity);
            if let Touched::Instead(gone) = touched {
                self.unhold(gone, slot);
            }
            if !matches!(touched, Touched::Known) {
                self.blocks
                    .entry(hash)
                    .and_modify(|h| h.add(slot, places))
                    .or_insert(Holders::One(slot));
            }
        }
    }

    /// Writes how many leading blocks of the chain each endpoint holds, by place. O(blocks matched by anyone × places
    /// / 64), whoever holds them.
    pub fn matched(&mut self, chain: &[u64], out: &mut Vec<u32>) {
        let places = self.pods.len();
        out.clear();
        out.resize(places, 0);
        self.alive.clear();
        self.alive.resize(places.div_ceil(64), u64::MAX);
        let mut depth = 0;
        for hash in chain {
            let Some(holders) = self.blocks.get(hash) else {
                break;
            };
            let any = holders.thin(&mut self.alive, &mut self.spread, |slot| {
                if let Some(matched) = out.get_mut(slot.index()) {
                    *matched = depth;
                }
            });
            depth += 1;
            if !any {
                return;
            }
        }
        for (matched, place) in out.iter_mut().zip(0..) {
            if self.alive[place / 64] >> (place % 64) & 1 == 1 {
                *matched = depth;
            }
        }
    }
}
