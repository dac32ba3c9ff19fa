//! One choice under way: what filters and scorers may look at, and the memory they work in.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use crate::endpoint::Slot;
use crate::inflight::{Inflight, Load};
use crate::paths::Taken;
use crate::pool::Pool;
use crate::predict::{Ask, Predicted, VariantModel, Work};
use crate::prefix::{PrefixIndex, PrefixLimits};
use crate::request::Request;

/// All that a picker remembers between requests. Mutable, and small to hold a lock for: a choice among 100 endpoints
/// takes a few microseconds.
#[derive(Debug, Clone)]
pub struct State {
    /// Requests in flight.
    pub inflight: Inflight,
    /// Who holds which prefixes.
    pub prefix: PrefixIndex,
    pub(crate) cold: Cold,
    pub(crate) taken: Taken,
    pub(crate) random: Xoshiro256PlusPlus,
    pub(crate) scratch: Scratch,
}

impl State {
    /// A state with nothing in it; the same seed and requests make the same choices.
    #[must_use]
    pub fn new(limits: PrefixLimits, seed: u64) -> Self {
        Self {
            inflight: Inflight::default(),
            prefix: PrefixIndex::new(limits),
            cold: Cold::default(),
            taken: Taken::default(),
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            scratch: Scratch::default(),
        }
    }
}

/// When each endpoint last got a request that no cache could help with, as a count; 0 for never.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cold {
    last: Vec<u64>,
    count: u64,
}

impl Cold {
    pub(crate) fn note(&mut self, slot: Slot) {
        self.count += 1;
        if self.last.len() <= slot.index() {
            self.last.resize(slot.index() + 1, 0);
        }
        self.last[slot.index()] = self.count;
    }

    pub(crate) fn last(&self, slot: Slot) -> u64 {
        self.last.get(slot.index()).copied().unwrap_or(0)
    }
}

/// Memory that is used again with every choice, so that none is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    /// What may be picked.
    pub base: Vec<Slot>,
    /// What a profile's filters have left.
    pub left: Vec<Slot>,
    /// Weighted scores of those.
    pub total: Vec<f64>,
    pub score: Vec<f64>,
    pub columns: Columns,
    pub best: Vec<(f64, u64, Slot)>,
    pub matched: Vec<u32>,
}

/// Columns beside the candidates for scorers that need several.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    pub a: Vec<f64>,
    pub b: Vec<f64>,
    pub order: Vec<(u64, u32)>,
}

/// The facts of one choice.
pub(crate) struct Round<'a> {
    pub pool: &'a Pool,
    pub request: &'a Request<'a>,
    pub loads: &'a [Load],
    /// Leading blocks of the prompt that each endpoint holds; empty where nobody asked.
    pub matched: &'a [u32],
    pub block_tokens: f64,
    pub cold: &'a Cold,
    pub now: f64,
}

impl Round<'_> {
    pub(crate) fn own(&self, slot: Slot) -> Load {
        self.loads.get(slot.index()).copied().unwrap_or_default()
    }

    /// Requests sent since the scrape: (without a first token, with one).
    fn since(&self, slot: Slot, own: &Load) -> (f64, f64) {
        let Some(base) = self.pool.load.sent[slot.index()] else {
            return (0.0, 0.0);
        };
        let sent = own.sent().requests.saturating_sub(base.requests);
        let pending = sent.min(u64::from(own.pending));
        let started = (sent - pending).min(u64::from(own.requests - own.pending));
        (pending as f64, started as f64)
    }

    /// Requests waiting: as scraped, and those sent since that have no first token. NaN where never scraped.
    pub(crate) fn waiting(&self, slot: Slot) -> f64 {
        let own = self.own(slot);
        self.pool.load.waiting[slot.index()] + self.since(slot, &own).0
    }

    /// Requests running: as scraped, and those sent since that have their first token. NaN where never scraped.
    pub(crate) fn running(&self, slot: Slot) -> f64 {
        let own = self.own(slot);
        self.pool.load.running[slot.index()] + self.since(slot, &own).1
    }

    /// Share of the KV cache in use: as scraped, and the prompts sent since. NaN where never scraped.
    pub(crate) fn kv_usage(&self, slot: Slot) -> f64 {
        let load = &self.pool.load;
        let usage = load.kv_usage[slot.index()];
        let base = load.sent[slot.index()].map_or(u64::MAX, |s| s.tokens);
        let sent = self.own(slot).sent().tokens.saturating_sub(base);
        let capacity = load.kv_tokens[slot.index()];
        if sent == 0 || capacity.is_nan() {
            return usage;
        }
        let held = (sent as f64).min(self.own(slot).tokens);
        (usage + held / capacity).clamp(f64::MIN, 1.0)
    }

    pub(crate) fn matched_blocks(&self, slot: Slot) -> u32 {
        self.matched.get(slot.index()).copied().unwrap_or(0)
    }

    /// Share of the prompt's blocks that the endpoint holds.
    pub(crate) fn matched_share(&self, slot: Slot) -> f64 {
        let blocks = self.request.chain.len();
        if blocks == 0 {
            0.0
        } else {
            f64::from(self.matched_blocks(slot)) / blocks as f64
        }
    }

    /// Prompt tokens that the endpoint need not compute; at least one is always computed.
    pub(crate) fn cached_tokens(&self, slot: Slot) -> f64 {
        let most = (self.request.prompt_tokens - 1.0).max(0.0);
        (f64::from(self.matched_blocks(slot)) * self.block_tokens).min(most)
    }

    /// What the request asks of the endpoint.
    pub(crate) fn ask(&self, slot: Slot) -> Ask {
        let cached = self.cached_tokens(slot);
        let uncached = (self.request.prompt_tokens - cached).max(0.0);
        Ask {
            uncached,
            cached,
            output: self.request.output_tokens,
        }
    }

    /// Predicted latency on the endpoint; `None` without a model of its variant.
    pub(crate) fn predicted(&self, slot: Slot) -> Option<Predicted> {
        let model = self.pool.model(slot)?;
        Some(model.predict(&self.work(slot, model), &self.ask(slot)))
    }

    /// What the endpoint is doing: what was sent from here, which is known to the moment, and what the scrape showed
    /// beyond that, which is from others.
    fn work(&self, slot: Slot, model: &VariantModel) -> Work {
        let (own, load, i) = (self.own(slot), &self.pool.load, slot.index());
        let now = own.sent();
        let then = load.sent[i].unwrap_or(now);
        // `max` takes NaN, where nothing was scraped, for 0.
        let waiting = (load.waiting[i] - then.pending).max(0.0);
        let all = (load.waiting[i] + load.running[i] - then.pending - then.running).max(0.0);
        let capacity = if load.kv_tokens[i].is_nan() {
            model.replica.limits.kv_tokens
        } else {
            load.kv_tokens[i]
        };
        let scraped = load.kv_usage[i] * capacity + now.held - then.held;
        Work {
            running: now.running + (all - waiting).max(0.0),
            waiting: now.pending + waiting,
            kv_tokens: if scraped.is_nan() {
                now.held
            } else {
                scraped.clamp(0.0, capacity)
            },
            backlog: waiting * model.mean_prompt,
            queue: own.queue(self.now),
            prefill_share: own.prefill_share(self.now),
        }
    }
}
