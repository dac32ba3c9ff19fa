//! Requests in flight, in one slab: gateway, engines and links pass ordinals around instead of moving records.

use crate::request::BLOCK_TOKENS;
use crate::time::Time;

/// Ordinal of a request in flight, valid until the request ends; ordinals are reused.
pub type SequenceId = u32;

/// A request between its arrival at the gateway and its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Stream it belongs to.
    pub stream: u32,
    /// Queue of the engine that it waits in: 0 is served first.
    pub level: u8,
    /// Input tokens n.
    pub input: u32,
    /// Output tokens m.
    pub output: u32,
    /// Input tokens that a fixed hit fraction finds in the prefix cache; without meaning where blocks are hashed.
    pub fixed_hit: u32,
    /// Prefix blocks of the input that are full.
    pub blocks: Option<Box<[u64]>>,
    /// Tokens whose KV must be present before the next token can be emitted: the input, or the whole context after a
    /// preemption.
    pub prompt: u32,
    /// Tokens of the prompt whose KV is present, found in the cache or computed.
    pub computed: u32,
    /// Of the prompt, tokens found in the cache when it was first scheduled.
    pub hit: u32,
    /// Leading blocks that it references in the engine's prefix cache.
    pub shared_blocks: u32,
    /// Whether the KV of the prompt came over a link: then one decode-like step computes its last token.
    pub transferred: bool,
    /// Output tokens emitted; brought up to date when it leaves the decode batch.
    pub emitted: u32,
    /// Engine iteration whose end emits its last token, while it decodes.
    pub finish: u64,
    /// Arrival at the gateway.
    pub arrived: Time,
    /// Arrival order at the gateway.
    pub order: u64,
    /// Arrival at the engine.
    pub queued: Time,
    /// When the engine first scheduled it; [`Time::NEVER`] before.
    pub scheduled: Time,
    /// First token; [`Time::NEVER`] before.
    pub first: Time,
    /// When it was preempted, which is when its last token before that was emitted.
    pub paused: Time,
    /// Prefill tokens that the router counts against its replica until the first token.
    pub charged: u32,
    /// Replica that computes its prompt (or all of it); `u32::MAX` while it is held.
    pub replica: u32,
    /// Replica that will decode it, when the prompt is computed elsewhere; else `u32::MAX`.
    pub decoder: u32,
}

impl Sequence {
    /// A request that arrives now.
    #[must_use]
    pub fn new(stream: u32, level: u8, input: u32, output: u32, arrived: Time, order: u64) -> Self {
        let input = input.max(1);
        Self {
            stream,
            level,
            input,
            output: output.max(1),
            fixed_hit: 0,
            blocks: None,
            prompt: input,
            computed: 0,
            hit: 0,
            shared_blocks: 0,
            transferred: false,
            emitted: 0,
            finish: 0,
            arrived,
            order,
            queued: arrived,
            scheduled: Time::NEVER,
            first: Time::NEVER,
            paused: Time::NEVER,
            charged: 0,
            replica: u32::MAX,
            decoder: u32::MAX,
        }
    }

    /// Input tokens that a gateway expects a replica to compute, of what it can know of cache hits: the usual fraction, but
    /// not which blocks a replica still has.
    #[must_use]
    pub const fn to_compute(&self) -> u32 {
        if self.blocks.is_some() || self.fixed_hit == 0 {
            self.input
        } else if self.fixed_hit < self.input {
            self.input - self.fixed_hit
        } else {
            1
        }
    }

    /// Gives it the hashes of its prefix blocks; only those of full blocks are kept, as only full blocks are cached.
    pub fn set_blocks(&mut self, hashes: Option<Box<[u64]>>) {
        let full = (self.input / BLOCK_TOKENS) as usize;
        self.blocks = match hashes {
            Some(h) if h.len() > full => Some(h[..full].into()),
            other => other,
        };
    }
}

/// Slab of requests in flight.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sequences {
    slots: Vec<Sequence>,
    free: Vec<SequenceId>,
}

impl Sequences {
    /// Takes a request in and gives its ordinal.
    pub fn insert(&mut self, sequence: Sequence) -> SequenceId {
        if let Some(id) = self.free.pop() {
            self.slots[id as usize] = sequence;
            id
        } else {
            self.slots.push(sequence);
            (self.slots.len() - 1) as SequenceId
        }
    }

    /// Forgets a request that has ended.
    pub fn remove(&mut self, id: SequenceId) {
        self.slots[id as usize].blocks = None;
        self.free.push(id);
    }

    /// Requests in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether none is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::ops::Index<SequenceId> for Sequences {
    type Output = Sequence;
    #[inline]
    fn index(&self, id: SequenceId) -> &Sequence {
        &self.slots[id as usize]
    }
}

impl std::ops::IndexMut<SequenceId> for Sequences {
    #[inline]
    fn index_mut(&mut self, id: SequenceId) -> &mut Sequence {
        &mut self.slots[id as usize]
    }
}
