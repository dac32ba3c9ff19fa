//! vLLM's metrics of one engine: its names, labels and bucket bounds (vLLM 0.11, `vllm/v1/metrics/loggers.py`).

mod page;

use wva_simulations::histogram::{ITL_BOUNDS, TTFT_BOUNDS};
use wva_simulations::replica::Counters;
use wva_simulations::sequence::Sequence;
use wva_simulations::time::Time;

pub use self::page::{About, State};

use crate::delivery::Reason;
use crate::exposition::Histogram;

/// Bounds of the latencies of whole requests and their phases, seconds.
const REQUEST_BOUNDS: [f64; 21] = [
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];
const ITERATION_BOUNDS: [f64; 13] = [
    1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
];
/// Values of `finished_reason`, in the order of the counters.
const REASONS: [&str; 4] = ["stop", "length", "abort", "error"];

/// A request at its end.
#[derive(Debug)]
pub struct Finished<'a> {
    pub sequence: &'a Sequence,
    pub received: Time,
    pub at: Time,
    pub reason: Reason,
    pub max_tokens: Option<u32>,
}

/// Counts since the server started.
#[derive(Debug)]
pub struct Metrics {
    prompt_tokens: u64,
    generation_tokens: u64,
    preemptions: u64,
    prefix_queries: u64,
    prefix_hits: u64,
    external_queries: u64,
    external_hits: u64,
    ended: [u64; 4],
    iteration_tokens: Histogram,
    ttft: Histogram,
    per_token: Histogram,
    e2e: Histogram,
    queue: Histogram,
    inference: Histogram,
    prefill: Histogram,
    decode: Histogram,
    prompt: Histogram,
    generation: Histogram,
    max_tokens: Histogram,
}

impl Metrics {
    pub fn new(max_model_len: u32) -> Self {
        let request = || Histogram::new(&REQUEST_BOUNDS);
        let tokens = || Histogram::of_tokens(max_model_len);
        Self {
            prompt_tokens: 0,
            generation_tokens: 0,
            preemptions: 0,
            prefix_queries: 0,
            prefix_hits: 0,
            external_queries: 0,
            external_hits: 0,
            ended: [0; 4],
            iteration_tokens: Histogram::new(&ITERATION_BOUNDS),
            ttft: Histogram::new(&TTFT_BOUNDS),
            per_token: Histogram::new(&ITL_BOUNDS),
            e2e: request(),
            queue: request(),
            inference: request(),
            prefill: request(),
            decode: request(),
            prompt: tokens(),
            generation: tokens(),
            max_tokens: tokens(),
        }
    }

    /// Iterations ended between two readings of the replica's counters, all with the same number of tokens: either one
    /// iteration, or a stretch that only decoded.
    pub fn iterations(&mut self, before: &Counters, after: &Counters) {
        let iterations = after.iterations - before.iterations;
        let generated = after.generation_tokens - before.generation_tokens;
        let computed = after.prompt_tokens - before.prompt_tokens;
        self.generation_tokens += generated;
        self.preemptions += after.preemptions - before.preemptions;
        if iterations > 0 {
            let each = (generated + computed) as f64 / iterations as f64;
            self.iteration_tokens.record(each, iterations);
        }
    }

    /// A prompt is done. `external` are the tokens that came over the link.
    pub fn first_token(&mut self, ttft: f64, input: u32, hit: u32, external: Option<u32>) {
        self.ttft.record(ttft, 1);
        self.prompt_tokens += u64::from(input);
        self.prefix_queries += u64::from(input);
        self.prefix_hits += u64::from(hit);
        let external = u64::from(external.unwrap_or(0));
        self.external_queries += external;
        self.external_hits += external;
    }

    /// A request ended.
    pub fn ended(&mut self, reason: Reason) {
        let place = REASONS.iter().position(|r| *r == reason.name());
        self.ended[place.unwrap_or(REASONS.len() - 1)] += 1;
    }

    /// A request ended with its answer.
    pub fn finished(&mut self, request: &Finished<'_>) {
        self.ended(request.reason);
        let (s, at) = (request.sequence, request.at);
        let decode = (at - s.first).seconds();
        self.e2e.record((at - request.received).seconds(), 1);
        self.queue.record((s.scheduled - s.queued).seconds(), 1);
        self.inference.record((at - s.scheduled).seconds(), 1);
        self.prefill.record((s.first - s.scheduled).seconds(), 1);
        self.decode.record(decode, 1);
        self.prompt.record(s.input.into(), 1);
        self.generation.record(s.output.into(), 1);
        if s.output > 1 {
            self.per_token.record(decode / f64::from(s.output - 1), 1);
        }
        if let Some(most) = request.max_tokens {
            self.max_tokens.record(most.into(), 1);
        }
    }
}
