//! The fast layer: prompts in front of the token budget, at a given decode batch.
//!
//! Given the size of the decode batch, an iteration's length and its share of prefill follow from the law, and the time to
//! first token is the residual of the iteration in progress, the backlog's iterations and one's own. That queue serves in
//! batches whose service time depends on the batch, for which no closed form holds; but it is small, so it is sampled: a
//! fixed set of stratified arrivals (common random numbers: the same for every rate, so latency is monotone and smooth in
//! it) is pushed through the recursion, iteration by iteration, jumping over those without prefill.
//! A pool of replicas behind a least-loaded router is sampled as such, and each request is followed to its last token.

use super::prompt_work::{PromptWork, computed};
use super::stream::Stream;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Time to first token of one sampled request.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstToken {
    /// Seconds from arrival to the end of the last prefill iteration.
    pub seconds: f64,
    /// Ordinal of its shape point.
    pub point: usize,
}

/// How much prompts lengthened the iterations of one sampled request on average, from its first token to its last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stall {
    pub seconds: f64,
    /// Ordinal of its shape point.
    pub point: usize,
}

/// What the sampling of one node saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Sampled {
    pub first_tokens: Vec<FirstToken>,
    /// Of the requests whose last token came. Their first may have come at another batch; stalls hardly depend on it.
    pub stalls: Vec<Stall>,
    /// Lengths of the iterations with prefill.
    pub mixed: Vec<f64>,
    /// Number of iterations without prefill, and their length.
    pub decode_only: f64,
    pub decode_seconds: f64,
}

impl Sampled {
    /// Seconds of all iterations.
    pub fn seconds(&self) -> f64 {
        self.mixed.iter().sum::<f64>() + self.decode_only * self.decode_seconds
    }
}

struct Prompt {
    arrived: f64,
    point: usize,
    left: f64,
    context: f64,
    /// Whether its KV memory is reserved.
    admitted: bool,
}

/// A sampled request that decodes among the batch.
struct Decoding {
    /// Iterations of its replica by the end of which its last token is there.
    ends: f64,
    /// Stall seconds of its replica up to its first token.
    stalled: f64,
    gaps: f64,
    point: usize,
    /// What it adds to its replica's [`Server::kv`].
    kv: f64,
}

impl PartialEq for Decoding {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decoding {}

impl PartialOrd for Decoding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The first to end is the greatest, for a heap.
impl Ord for Decoding {
    fn cmp(&self, other: &Self) -> Ordering {
        other.ends.total_cmp(&self.ends)
    }
}

#[derive(Default)]
struct Server {
    waiting: VecDeque<Prompt>,
    /// Prompts that finish in the iteration in progress.
    finishing: Vec<(f64, usize)>,
    /// End of the iteration in progress; meaningless when idle.
    until: f64,
    idle: bool,
    /// Iterations up to `until`, and the seconds by which prompts have lengthened them.
    iterations: f64,
    stalled: f64,
    decoding: BinaryHeap<Decoding>,
    /// KV tokens of admitted prompts, and those that decoding requests would have had at iteration 0: each has one more
    /// with every iteration.
    kv: f64,
    /// Prompt tokens without a first token yet, as the router counts them.
    backlog: f64,
    /// Tokens that leave the backlog when the iteration ends.
    leaving: f64,
}

/// Replicas beyond which a larger pool makes no difference to who waits.
const LARGEST_POOL: usize = 16;

/// The sampled queue; keeps its state from node to node so that each starts warm.
pub(super) struct PrefillQueue<'a> {
    work: &'a PromptWork<'a>,
    servers: Vec<Server>,
    now: f64,
    turn: usize,
}

impl<'a> PrefillQueue<'a> {
    pub fn new(work: &'a PromptWork<'a>, pool: u32) -> Self {
        let servers = (0..LARGEST_POOL.min(pool.max(1) as usize))
            .map(|_| Server {
                idle: true,
                ..Server::default()
            })
            .collect();
        Self {
            work,
            servers,
            now: 0.0,
            turn: 0,
        }
    }

    /// Pushes `count` arrivals at `rate` per replica through the queue while `batch` sequences decode.
    pub fn sample(&mut self, batch: f64, rate: f64, count: usize, stream: &mut Stream) -> Sampled {
        let mut seen = Sampled {
            decode_seconds: self.work.decode_seconds(batch),
            ..Sampled::default()
        };
        seen.first_tokens.reserve(count);
        let began = self.now;
        let pool_rate = rate * self.servers.len() as f64;
        for _ in 0..count {
            let (gap, point) = stream.next();
            self.now += gap / pool_rate;
            let now = self.now;
            for i in 0..self.servers.len() {
                self.advance(i, batch, now, &mut seen);
            }
            let chosen = self.least_loaded();
            self.arrive(chosen, batch, point, &mut seen);
        }
        let mixed: f64 = seen.mixed.iter().sum();
        let elapsed = (self.now - began) * self.servers.len() as f64;
        seen.decode_only = ((elapsed - mixed) / seen.decode_seconds).max(0.0);
        seen
    }

    fn least_loaded(&mut self) -> usize {
        let n = self.servers.len();
        self.turn = (self.turn + 1) % n;
        (0..n)
            .map(|i| (i + self.turn) % n)
            .min_by(|&a, &b| self.servers[a].backlog.total_cmp(&self.servers[b].backlog))
            .unwrap_or(0)
    }

    fn arrive(&mut self, server: usize, batch: f64, point: usize, seen: &mut Sampled) {
        let p = &self.work.shape.points()[point];
        let left = computed(self.work.shape, p);
        let s = &mut self.servers[server];
        s.backlog += left;
        s.waiting.push_back(Prompt {
            arrived: self.now,
            point,
            left,
            context: p.input - left,
            admitted: false,
        });
        if s.idle {
            s.idle = false;
            // Decoding goes on in iterations of T₀; a prompt joins at the next boundary. An empty engine starts at once.
            let t0 = self.work.decode_seconds(batch).max(1e-12);
            let since = ((self.now - s.until) / t0).ceil().max(0.0);
            let until = if batch < 0.5 {
                self.now
            } else {
                (s.until + since * t0).max(self.now)
            };
            s.run((until - s.until) / t0, 0.0, seen);
            s.until = until;
        }
    }

    /// Ends all iterations that end by `now`.
    fn advance(&mut self, server: usize, batch: f64, now: f64, seen: &mut Sampled) {
        let front_end = self.work.law.front_end_s;
        let s = &mut self.servers[server];
        while !s.idle && s.until <= now {
            for (arrived, point) in s.finishing.drain(..) {
                seen.first_tokens.push(FirstToken {
                    seconds: s.until - arrived + front_end,
                    point,
                });
                let p = &self.work.shape.points()[point];
                let gaps = p.output - 1.0;
                s.kv -= p.input;
                if gaps > 0.5 {
                    let kv = p.input + 1.0 - s.iterations;
                    s.kv += kv;
                    s.decoding.push(Decoding {
                        kv,
                        ends: s.iterations + gaps,
                        stalled: s.stalled,
                        gaps,
                        point,
                    });
                }
            }
            s.backlog = (s.backlog - s.leaving).max(0.0);
            s.leaving = 0.0;
            if s.waiting.is_empty() {
                s.idle = true;
                // Not what rounding leaves: a router would avoid it for that.
                s.backlog = 0.0;
                break;
            }
            if let Some(seconds) = start_iteration(self.work, s, batch) {
                seen.mixed.push(seconds);
                s.run(1.0, seconds - seen.decode_seconds, seen);
                s.until += seconds;
            } else {
                // No memory for the first in line: decoding goes on until a request ends.
                let next = s.decoding.peek().map_or(1.0, |d| d.ends - s.iterations);
                let iterations = next.ceil().max(1.0);
                s.run(iterations, 0.0, seen);
                s.until += iterations * seen.decode_seconds;
            }
        }
    }
}

impl Server {
    /// KV tokens in use.
    fn held(&self) -> f64 {
        self.kv + self.decoding.len() as f64 * self.iterations
    }

    /// Goes on by `iterations` of equal length, which prompts make `stall` seconds longer in all.
    fn run(&mut self, iterations: f64, stall: f64, seen: &mut Sampled) {
        let done = self.iterations + iterations;
        while self.decoding.peek().is_some_and(|d| d.ends <= done) {
            let Some(d) = self.decoding.pop() else { break };
            self.kv -= d.kv;
            let part = (d.ends - self.iterations) / iterations;
            let stalled = self.stalled + part * stall - d.stalled;
            seen.stalls.push(Stall {
                seconds: stalled / d.gaps,
                point: d.point,
            });
        }
        self.iterations = done;
        self.stalled += stall;
    }
}

/// Fills the next iteration of `s` with prefill chunks in arrival order; returns its length in seconds, `None` when the
/// first prompt has to wait for KV memory.
fn start_iteration(work: &PromptWork<'_>, s: &mut Server, batch: f64) -> Option<f64> {
    let law = work.law;
    let mut room = (work.budget - batch).max(1.0);
    let (mut tokens, mut linear) = (0.0, 0.0);
    while room >= 1.0 {
        let held = s.held();
        let Some(p) = s.waiting.front_mut() else {
            break;
        };
        if !p.admitted {
            let needed = work.shape.points()[p.point].input;
            // Rounding leaves far less than half a token of what is no longer there.
            if held > 0.5 && held + needed > work.kv_tokens {
                break;
            }
            p.admitted = true;
            s.kv += needed;
        }
        let chunk = p.left.min(room);
        linear += law.per_kv_token_s * (p.context + chunk)
            + law.per_chunk_context_s * chunk * (p.context + chunk / 2.0)
            + law.per_sequence_s;
        tokens += chunk;
        room -= chunk;
        p.left -= chunk;
        p.context += chunk;
        if p.left > 0.5 {
            break;
        }
        s.leaving += computed(work.shape, &work.shape.points()[p.point]);
        s.finishing.push((p.arrived, p.point));
        s.waiting.pop_front();
    }
    (tokens > 0.0).then(|| {
        work.fixed_seconds(batch) + law.compute(batch + tokens) + linear + law.prefill_overhead_s
    })
}
