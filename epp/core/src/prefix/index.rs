//! The index: who holds which hash, within bounded memory.

use super::recency::{Links, Recency};
use super::tree::{Cut, Holder, Tree};
use crate::endpoint::Slot;
use crate::pool::Pool;

/// Blocks for each run that an endpoint may hold. A run takes about 130 bytes besides 8 for each of its blocks, so prompts of
/// a block each would take sixteen times the memory of long ones.
const BLOCKS_PER_RUN: usize = 4;

/// Bounds of a [`PrefixIndex`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixLimits {
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Blocks of an endpoint whose KV cache is of unknown size.
    pub default_blocks: usize,
    /// Blocks of all endpoints together: 8 bytes each, and 130 for each of a quarter as many runs of them at most.
    pub total_blocks: usize,
    /// Blocks of one prompt that count.
    pub most_per_prompt: usize,
    /// Whether an endpoint's capacity follows the size of its KV cache.
    pub learn_capacity: bool,
}

impl Default for PrefixLimits {
    /// Blocks of 64 tokens, prompts up to 128k tokens (2,048 blocks), 4,096 blocks an endpoint where unknown (262k
    /// tokens), a million in all (43 MB at most; 9 MB where prompts are long).
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
    tree: Tree,
    links: Links,
    pods: Vec<Recency>,
    generation: Vec<u32>,
    capacity: Vec<usize>,
    most_runs: usize,
    version: u64,
    path: Vec<u32>,
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
        self.pods.iter().map(|pod| pod.blocks).sum()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
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
        self.pods.resize_with(places, Recency::default);
        self.generation.resize(places, 0);
        self.capacity.resize(places, 0);
        for (i, &generation) in members.generation.iter().enumerate() {
            if self.generation[i] != generation {
                self.generation[i] = generation;
                self.capacity[i] = 0;
                self.shrink(Slot(i as u32));
            }
        }
        let share = (self.limits.total_blocks / pool.len().max(1)).max(1);
        self.most_runs = share.div_ceil(BLOCKS_PER_RUN);
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

    /// Lets go of what is beyond an endpoint's capacity: what was used longest ago, from its end.
    fn shrink(&mut self, slot: Slot) {
        let capacity = self.capacity[slot.index()];
        let pod = &mut self.pods[slot.index()];
        while (pod.blocks > capacity || pod.runs > self.most_runs)
            && let Some(oldest) = pod.oldest()
        {
            let run = self.links[oldest].run;
            let held = self.tree.holder(run, slot).map_or(0, |h| h.held as usize);
            let beyond = pod.blocks.saturating_sub(capacity);
            let left = if pod.runs > self.most_runs {
                0
            } else {
                held.saturating_sub(beyond)
            };
            self.tree.hold_less(run, slot, left as u32);
            pod.blocks -= held - left;
            if left == 0 {
                pod.remove(&mut self.links, oldest);
            }
        }
    }

    /// Notes that an endpoint was sent a prompt of this chain. The end of the chain is the first to go later, as in an
    /// engine, so what an endpoint holds of a prompt is always its beginning. O(runs along the chain), besides comparing
    /// it once.
    pub fn touch(&mut self, slot: Slot, chain: &[u64]) {
        let Some(&capacity) = self.capacity.get(slot.index()) else {
            return;
        };
        let chain = &chain[..chain.len().min(capacity)];
        let mut path = std::mem::take(&mut self.path);
        let (pods, links) = (&mut self.pods, &mut self.links);
        self.tree.path(chain, &mut path, |tree, run, cut| {
            share_out(tree, pods, links, run, cut);
        });
        let pod = &mut self.pods[slot.index()];
        for &run in path.iter().rev() {
            let length = self.tree.length(run);
            if let Some(holder) = self.tree.holder(run, slot) {
                pod.blocks += (length - holder.held) as usize;
                holder.held = length;
                pod.renew(&mut self.links, holder.link);
            } else {
                let link = pod.add(&mut self.links, run);
                let held = length;
                self.tree.add(run, Holder { slot, held, link });
                pod.blocks += length as usize;
            }
        }
        self.path = path;
        self.shrink(slot);
    }

    /// Writes how many leading blocks of the chain each endpoint holds, by place. O(runs along the chain × their
    /// holders), besides comparing the chain once.
    pub fn matched(&self, chain: &[u64], out: &mut Vec<u32>) {
        out.clear();
        out.resize(self.pods.len(), 0);
        self.tree.along(chain, |slot, blocks| {
            if let Some(matched) = out.get_mut(slot.index()) {
                *matched = blocks;
            }
        });
    }
}

/// Gives both parts of a run their holders: the first to all, the second to those who held more than that. The first part
/// was used as late as the second, and goes after it.
fn share_out(tree: &mut Tree, pods: &mut [Recency], links: &mut Links, run: u32, cut: Cut) {
    let Cut {
        head,
        length,
        holders,
    } = cut;
    for holder in holders {
        let Holder { slot, held, link } = holder;
        if held <= length {
            links[link].run = head;
            tree.add(head, holder);
            continue;
        }
        let first = pods[slot.index()].add_after(links, link, head);
        let whole = Holder {
            slot,
            held: length,
            link: first,
        };
        tree.add(head, whole);
        tree.add(
            run,
            Holder {
                held: held - length,
                ..holder
            },
        );
    }
}
