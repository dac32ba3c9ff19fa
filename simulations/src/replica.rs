//! One engine with continuous batching, iteration by iteration in law, in jumps in fact.
//!
//! ```text
//!            arrive                 begin: make room, admit, cut chunks
//!   gateway ───────▶ waiting ──────▶ prefilling ──last chunk──▶ decoding ──m-th token──▶ done
//!                       ▲                 │ preempt (recompute)     │
//!                       └─────────────────┴─────────────────────────┘
//! ```
//! Every iteration gives each decoding sequence one token, then spends what is left of the token budget on prefill chunks,
//! first come first served by level; the end of a prompt's last chunk emits its first token. The time of an iteration is
//! the [`IterationLaw`]'s. As long as there is nothing to prefill, the batch is fixed until a sequence finishes, a
//! request arrives or the KV cache is full, and the iterations in between are summed in closed form (`replica::clock`): a request
//! costs a handful of events, not one per token.
//!
//! Accounting of KV memory in tokens: a prompt is reserved whole when it is admitted, a decoding sequence holds its input and the tokens
//! emitted so far; tokens of hashed prefix blocks count once, tokens of a fixed hit fraction count in full (a session's own
//! prefix must be resident, too). Blocks are exact, there is no rounding to pages.
//!
//! Kept as in vLLM: decode before prefill; nothing is admitted in an iteration that had to preempt; the victim is the
//! latest arrival of the lowest level and starts over at the head of its queue; a waiting request that does not fit
//! holds back those behind it.

mod clock;
mod iteration;
mod live;
mod prefix_cache;
mod schedule;
mod telemetry;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use wva_models::iteration::{IterationLaw, ReplicaModel};

pub use self::telemetry::Counters;

use self::clock::{Clock, Stretch};
use self::prefix_cache::PrefixCache;
use crate::histogram::LogHistogram;
use crate::request::BLOCK_TOKENS;
use crate::sequence::{SequenceId, Sequences};
use crate::time::Time;

/// What an engine is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReplicaSpec {
    /// Its law and limits; fractions of tokens and sequences are dropped, each limit is at least 1.
    pub model: ReplicaModel,
    /// Ends a request with its prompt and emits no token: a prefill replica.
    pub prefill_only: bool,
    /// Keeps full prefix blocks for later requests that bring hashes.
    pub prefix_caching: bool,
    /// Tokens of a prefix block; 0 is taken as 1.
    pub block_tokens: u32,
    /// Levels of interactive requests, most important first; batch levels follow.
    pub interactive_levels: u8,
    /// Levels of batch requests.
    pub batch_levels: u8,
    /// Most prefill tokens of batch requests in one iteration.
    pub batch_chunk: u32,
}

impl ReplicaSpec {
    /// An aggregated engine with one level of interactive requests.
    #[must_use]
    pub const fn plain(model: ReplicaModel) -> Self {
        Self {
            model,
            prefill_only: false,
            prefix_caching: true,
            block_tokens: BLOCK_TOKENS,
            interactive_levels: 1,
            batch_levels: 0,
            batch_chunk: u32::MAX,
        }
    }
}

/// What happened to a request at the end of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// It emitted its first token.
    First(SequenceId),
    /// It is done here: its last token was emitted, or (prefill only) its prompt computed.
    Done(SequenceId),
}

/// What an engine works with but does not own.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Requests in flight.
    pub sequences: &'a mut Sequences,
    /// Gaps between output tokens, per stream.
    pub gaps: &'a mut [LogHistogram],
    /// Where signals are appended.
    pub signals: &'a mut Vec<Signal>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    token_budget: u64,
    max_sequences: usize,
    kv_tokens: u64,
}

/// Requests of one level that have their prompt to do.
#[derive(Debug, Clone, Default)]
struct Level {
    prefilling: VecDeque<SequenceId>,
    waiting: VecDeque<SequenceId>,
}

#[derive(Debug, Clone, Copy)]
enum Work {
    /// Nothing to do.
    Idle,
    /// Woken at this very time; the first iteration begins once everything that arrives at this time is in.
    Waking,
    /// Iterations that only decode.
    Decode(Stretch),
    /// One iteration with prefill chunks, and its duration in ns.
    Mixed(f64),
}

/// One engine.
#[derive(Debug, Clone)]
pub struct Replica {
    law: IterationLaw,
    limits: Limits,
    spec: ReplicaSpec,
    work: Work,
    /// Start of the work in progress.
    clock: Clock,
    /// Event at which the work in progress ends; [`Time::NEVER`] when idle.
    next: Time,
    /// Iterations ended.
    iteration: u64,
    /// Decoding sequences by the iteration that ends them.
    decoding: BinaryHeap<Reverse<(u64, SequenceId)>>,
    /// (stream, decoding sequences of it).
    decoding_by_stream: Vec<(u32, u64)>,
    /// Σ contexts that the next iteration reads for decoding.
    decode_kv: u64,
    /// KV tokens held, less those of referenced prefix blocks.
    private_kv: u64,
    levels: Vec<Level>,
    prefilling: usize,
    waiting: usize,
    /// Chunks of the iteration in progress.
    chunks: Vec<(SequenceId, u64)>,
    cache: Option<PrefixCache>,
    counters: Counters,
}

impl Replica {
    /// An idle engine.
    #[must_use]
    pub fn new(spec: ReplicaSpec) -> Self {
        let limits = &spec.model.limits;
        let levels = usize::from(spec.interactive_levels) + usize::from(spec.batch_levels);
        Self {
            law: spec.model.law,
            limits: Limits {
                token_budget: (limits.token_budget as u64).max(1),
                max_sequences: (limits.max_sequences as usize).max(1),
                kv_tokens: (limits.kv_tokens as u64).max(1),
            },
            spec: ReplicaSpec {
                batch_chunk: spec.batch_chunk.max(1),
                block_tokens: spec.block_tokens.max(1),
                ..spec
            },
            work: Work::Idle,
            clock: Clock::default(),
            next: Time::NEVER,
            iteration: 0,
            decoding: BinaryHeap::new(),
            decoding_by_stream: Vec::new(),
            decode_kv: 0,
            private_kv: 0,
            levels: vec![Level::default(); levels.max(1)],
            prefilling: 0,
            waiting: 0,
            chunks: Vec::new(),
            cache: spec
                .prefix_caching
                .then(|| PrefixCache::new(spec.block_tokens.max(1))),
            counters: Counters::default(),
        }
    }

    /// Whether a request of this size can ever run here.
    #[must_use]
    pub fn can_hold(&self, input: u32, output: u32) -> bool {
        let output = if self.spec.prefill_only { 1 } else { output };
        u64::from(input) + u64::from(output) <= self.limits.kv_tokens
    }

    /// When [`Replica::wake`] wants to be called next; [`Time::NEVER`] while idle. Changes with every call that takes
    /// `&mut self`.
    #[must_use]
    pub const fn next(&self) -> Time {
        self.next
    }

    /// Sequences in the running batch.
    #[must_use]
    pub fn running(&self) -> usize {
        self.decoding.len() + self.prefilling
    }

    /// Requests waiting to be scheduled.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Interactive requests waiting to be scheduled.
    #[must_use]
    pub fn interactive_waiting(&self) -> usize {
        let levels = usize::from(self.spec.interactive_levels);
        self.levels[..levels].iter().map(|l| l.waiting.len()).sum()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running() + self.waiting == 0
    }

    /// KV tokens held by running sequences at the start of the work in progress.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.private_kv
            + self
                .cache
                .as_ref()
                .map_or(0, PrefixCache::referenced_tokens)
    }

    /// A request arrives from the gateway or over the link. It must fit ([`Replica::can_hold`]) and its level must exist.
    pub fn arrive(&mut self, now: Time, id: SequenceId, sequences: &mut Sequences) {
        let level = usize::from(sequences[id].level);
        sequences[id].queued = now;
        // Behind another waiting request it changes nothing until a sequence finishes; a lower level does not matter.
        let behind = self.levels[..=level].iter().any(|l| !l.waiting.is_empty());
        self.levels[level].waiting.push_back(id);
        self.waiting += 1;
        match &mut self.work {
            Work::Idle => {
                self.work = Work::Waking;
                self.next = now;
            }
            Work::Decode(stretch) if !behind => {
                let full = self.decoding.len() + self.prefilling >= self.limits.max_sequences;
                let j = stretch.iteration_at(&self.clock, now);
                if j < stretch.iterations && !full {
                    stretch.iterations = j;
                    self.next = self.clock.after(stretch.offset(j));
                }
            }
            Work::Decode(_) | Work::Mixed(_) | Work::Waking => {}
        }
    }

    /// The work in progress ends now (`now` is [`Replica::next`]): signals what it brought about and begins the next.
    pub fn wake(&mut self, now: Time, around: &mut Surroundings<'_>) {
        match self.work {
            Work::Idle => return,
            Work::Waking => self.clock = Clock::at(now),
            Work::Decode(stretch) => self.end_stretch(&stretch, around),
            Work::Mixed(duration) => self.end_mixed(duration, now, around),
        }
        self.begin(now, around);
    }

    const fn is_batch(&self, level: usize) -> bool {
        level >= self.spec.interactive_levels as usize
    }
}
