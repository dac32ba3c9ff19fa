//! A small reference engine: continuous batching iteration by iteration, with a known law, reporting vLLM's counters.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal};
use wva_models::fit::EngineWindow;
use wva_models::iteration::{Composition, IterationLaw};

/// The law fitted to a vLLM sweep of an 8B model on an H100-class device.
pub const TRUTH: IterationLaw = IterationLaw {
    overhead_s: 1.9e-3,
    floor_s: 5.15e-3,
    per_token_s: 2.28e-5,
    per_kv_token_s: 4.1e-8,
    per_sequence_s: 2.3e-5,
    per_chunk_context_s: 8.3e-10,
    prefill_overhead_s: 5.9e-4,
    front_end_s: 11e-3,
};

pub const TOKEN_BUDGET: f64 = 8192.0;
const MAX_SEQUENCES: usize = 512;
const KV_CAPACITY: f64 = 437_000.0;

/// Lengths of requests: lognormal with these means and this coefficient of variation.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    pub input: f64,
    pub output: f64,
    pub cv: f64,
}

struct Sequence {
    input: f64,
    output: f64,
    computed: f64,
    generated: f64,
    arrived: f64,
    scheduled: f64,
}

pub struct Engine {
    pub law: IterationLaw,
    now: f64,
    next_arrival: f64,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    rng: StdRng,
    counters: EngineWindow,
}

impl Engine {
    pub fn new(law: IterationLaw, seed: u64) -> Self {
        Self {
            law,
            now: 0.0,
            next_arrival: 0.0,
            waiting: VecDeque::new(),
            running: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            counters: EngineWindow::default(),
        }
    }

    /// Runs `seconds` at `rate` and returns what a scrape before and after would show of it.
    pub fn window(&mut self, seconds: f64, rate: f64, lengths: Lengths) -> EngineWindow {
        let (start, end) = (self.now, self.now + seconds);
        let before = (self.running.len() as f64, self.kv());
        self.counters = EngineWindow::default();
        self.next_arrival = self.next_arrival.max(self.now);
        while self.now < end {
            self.arrivals(rate, lengths);
            if self.running.is_empty() && self.waiting.is_empty() {
                self.now = self.next_arrival;
                continue;
            }
            self.iterate();
        }
        EngineWindow {
            seconds: self.now - start,
            running: (before.0 + self.running.len() as f64) / 2.0,
            kv_tokens: (before.1 + self.kv()) / 2.0,
            ..self.counters
        }
    }

    fn arrivals(&mut self, rate: f64, lengths: Lengths) {
        while self.next_arrival <= self.now {
            let mut length = |mean: f64| {
                let sigma2 = (1.0 + lengths.cv * lengths.cv).ln();
                let law = LogNormal::new(mean.ln() - sigma2 / 2.0, sigma2.sqrt()).unwrap();
                law.sample(&mut self.rng).round().max(1.0)
            };
            let (input, output) = (length(lengths.input).min(60_000.0), length(lengths.output));
            self.waiting.push_back(Sequence {
                input,
                output,
                computed: 0.0,
                generated: 0.0,
                arrived: self.next_arrival,
                scheduled: 0.0,
            });
            self.next_arrival += Exp::new(rate).unwrap().sample(&mut self.rng);
        }
    }

    fn kv(&self) -> f64 {
        self.running.iter().map(|s| s.computed + s.generated).sum()
    }

    fn iterate(&mut self) {
        let mut c = Composition::default();
        for s in self.running.iter().filter(|s| s.generated > 0.0) {
            c.tokens += 1.0;
            c.kv_tokens += s.computed + s.generated;
            c.sequences += 1.0;
        }
        let decoding = c.tokens;
        let mut kv = self.kv();
        while self.running.len() < MAX_SEQUENCES {
            let Some(s) = self.waiting.front() else { break };
            let pending: f64 = self.running.iter().map(|s| s.input - s.computed).sum();
            if decoding + pending >= TOKEN_BUDGET || kv + s.input > 0.95 * KV_CAPACITY {
                break;
            }
            kv += s.input;
            let mut s = self.waiting.pop_front().unwrap();
            s.scheduled = self.now;
            self.counters.queue_sum_s += self.now - s.arrived;
            self.counters.queue_count += 1.0;
            self.running.push(s);
        }
        for s in self.running.iter_mut().filter(|s| s.computed < s.input) {
            let chunk = (s.input - s.computed).min(TOKEN_BUDGET - c.tokens);
            if chunk <= 0.0 {
                break;
            }
            c.tokens += chunk;
            c.sequences += 1.0;
            c.chunk_context += chunk * (s.computed + chunk / 2.0);
            c.any_prefill = true;
            s.computed += chunk;
            self.counters.prompt_tokens += chunk;
        }
        let jitter = 1.0 + 0.02 * (self.rng.random::<f64>() - 0.5);
        let seconds = self.law.seconds(&c) * jitter;
        self.now += seconds;
        self.finish(seconds);
    }

    fn finish(&mut self, seconds: f64) {
        let (counters, now) = (&mut self.counters, self.now);
        counters.iterations += 1.0;
        for s in &mut self.running {
            if s.computed < s.input {
                continue;
            }
            if s.generated > 0.0 {
                counters.gap_sum_s += seconds;
                counters.gap_count += 1.0;
            } else {
                counters.prefill_sum_s += now - s.scheduled;
                counters.prefill_count += 1.0;
                counters.ttft_sum_s += now - s.arrived + self.law.front_end_s;
                counters.ttft_count += 1.0;
            }
            s.generated += 1.0;
            counters.generation_tokens += 1.0;
        }
        self.running.retain(|s| s.generated < s.output);
    }
}
