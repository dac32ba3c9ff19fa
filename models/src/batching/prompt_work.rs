//! The work of one shape under one iteration law: what a prompt adds to iterations, how big decode contexts are.

use crate::iteration::{Composition, IterationLaw, ReplicaModel};
use crate::shape::{RequestShape, ShapePoint};

/// Precomputed sums over a shape for one replica model.
#[derive(Debug, Clone)]
pub(super) struct PromptWork<'a> {
    pub law: &'a IterationLaw,
    /// Token budget M of an iteration.
    pub budget: f64,
    /// KV-cache capacity, tokens.
    pub kv_tokens: f64,
    pub shape: &'a RequestShape,
    /// Mean prompt tokens to compute, E[n(1−h)].
    pub mean_prompt: f64,
    /// Mean decode iterations of a request after its first token, E[m−1].
    pub mean_decode: f64,
    /// Mean and variance of the context of a sequence in the running batch: time-weighted, so E[nm + m²/2]/E[m].
    pub context: f64,
    pub context_variance: f64,
    /// E[attention, KV-read and per-sequence seconds that a prompt adds]: linear, so independent of the batch.
    mean_linear: f64,
}

impl<'a> PromptWork<'a> {
    pub fn new(replica: &'a ReplicaModel, shape: &'a RequestShape) -> Self {
        let mean_output = shape.mean_output();
        let context = shape.mean_of(|p| p.output * (p.input + p.output / 2.0)) / mean_output;
        let second = shape.mean_of(|p| {
            p.output * (p.input * p.input + p.input * p.output + p.output * p.output / 3.0)
        }) / mean_output;
        let mut work = Self {
            law: &replica.law,
            budget: replica.limits.token_budget.max(1.0),
            kv_tokens: replica.limits.kv_tokens,
            shape,
            mean_prompt: shape.mean_of(|p| computed(shape, p)),
            mean_decode: shape.mean_of(|p| p.output - 1.0),
            context,
            context_variance: (second - context * context).max(0.0),
            mean_linear: 0.0,
        };
        work.mean_linear = shape.mean_of(|p| work.linear_seconds(p, work.budget));
        work
    }

    /// Seconds of one iteration with `batch` decoding sequences and no prefill.
    pub fn decode_seconds(&self, batch: f64) -> f64 {
        self.fixed_seconds(batch) + self.law.compute(batch)
    }

    /// The part of an iteration's time that depends on the decode batch only.
    pub fn fixed_seconds(&self, batch: f64) -> f64 {
        self.law.seconds(&Composition {
            tokens: 0.0,
            kv_tokens: batch * self.context,
            sequences: batch,
            ..Composition::default()
        }) - self.law.floor_s
    }

    /// Mean seconds of an iteration with `batch` decoding sequences while prompts arrive at `rate`: the fixed point of
    /// T = T₀ + Σ_j Poisson(j; λT)·(seconds that j prompts add). `None` when prefill alone fills the replica.
    pub fn mean_iteration(&self, batch: f64, rate: f64) -> Option<f64> {
        let base = self.decode_seconds(batch);
        let room = (self.budget - batch).max(1.0);
        let one = self
            .shape
            .mean_of(|p| self.compute_added(batch, computed(self.shape, p), room));
        let mut t = base;
        for _ in 0..200 {
            let next = base + self.added(batch, rate * t, one, room);
            if !next.is_finite() || next > 1e4 {
                return None;
            }
            if (next - t).abs() <= 1e-6 * t {
                return Some(next);
            }
            t = next;
        }
        Some(t)
    }

    /// Mean seconds of an iteration with `batch` decoding sequences to which a Poisson number of prompts comes.
    pub fn iteration_with(&self, batch: f64, prompts: f64) -> f64 {
        let room = (self.budget - batch).max(1.0);
        let one = self
            .shape
            .mean_of(|p| self.compute_added(batch, computed(self.shape, p), room));
        self.decode_seconds(batch) + self.added(batch, prompts, one, room)
    }

    /// Mean seconds that a Poisson number of prompts with the given mean adds to iterations.
    fn added(&self, batch: f64, mean: f64, one: f64, room: f64) -> f64 {
        let linear = mean * self.mean_linear;
        if mean > 24.0 {
            return linear + self.compute_added(batch, mean * self.mean_prompt, room);
        }
        let mut p = (-mean).exp();
        let (mut sum, mut seen) = (0.0, p);
        for j in 1..80 {
            p *= mean / f64::from(j);
            seen += p;
            sum += p * if j == 1 {
                one
            } else {
                self.compute_added(batch, f64::from(j) * self.mean_prompt, room)
            };
            if 1.0 - seen < 1e-7 && f64::from(j) > mean {
                break;
            }
        }
        linear + sum
    }

    /// Compute seconds that `tokens` prompt tokens, in chunks of at most `room`, add over decode alone.
    fn compute_added(&self, batch: f64, tokens: f64, room: f64) -> f64 {
        let floor = self.law.compute(batch);
        let full = (tokens / room).floor();
        let rest = tokens - full * room;
        let chunk = |c: f64| self.law.compute(batch + c) - floor + self.law.prefill_overhead_s;
        full * chunk(room) + if rest > 0.5 { chunk(rest) } else { 0.0 }
    }

    /// Attention, KV-read and per-sequence seconds of a prompt over all its chunks.
    fn linear_seconds(&self, p: &ShapePoint, room: f64) -> f64 {
        let new = computed(self.shape, p);
        let cached = p.input - new;
        let chunks = (new / room).ceil().max(1.0);
        // The j-th chunk reads what is done plus itself: cached + j·chunk, j = 1..chunks.
        let reads = chunks * cached + new * (chunks + 1.0) / 2.0;
        self.law.per_kv_token_s * reads
            + self.law.per_chunk_context_s * new * (cached + new / 2.0)
            + self.law.per_sequence_s * chunks
    }

    /// Moments of the seconds that a prompt adds to the iterations of `batch` decoding sequences.
    pub fn stall_moments(&self, batch: f64) -> StallMoments {
        let mean = self.shape.mean_of(|p| self.stall(batch, p));
        let central = |power| {
            self.shape
                .mean_of(|p| (self.stall(batch, p) - mean).powi(power))
        };
        StallMoments {
            mean,
            variance: central(2),
            third: central(3),
        }
    }

    /// Seconds that one prompt of this kind adds to the decoding sequences' iterations when it comes alone.
    pub fn stall(&self, batch: f64, p: &ShapePoint) -> f64 {
        let room = (self.budget - batch).max(1.0);
        self.linear_seconds(p, room) + self.compute_added(batch, computed(self.shape, p), room)
    }
}

/// Mean and central moments of the seconds that one prompt adds.
#[derive(Debug, Clone, Copy)]
pub(super) struct StallMoments {
    pub mean: f64,
    pub variance: f64,
    pub third: f64,
}

impl StallMoments {
    /// Variance per arrival of the sum over arrivals whose counts have index of dispersion I: Var x + I·E[x]², which is
    /// E[x²] under Poisson arrivals.
    pub fn compound_second(&self, dispersion: f64) -> f64 {
        self.variance + dispersion * self.mean.powi(2)
    }

    /// Third cumulant per arrival of that sum: κ₃(x) + 3I·E[x]Var x + I²·E[x]³, E[x³] under Poisson arrivals. That of the
    /// counts is I² for gamma gaps: 3σ⁴ − μ₃ = 3I² − 2I² by the cumulants of renewal counts (Cox, Renewal Theory, §4.6).
    pub fn compound_third(&self, dispersion: f64) -> f64 {
        self.third
            + 3.0 * dispersion * self.mean * self.variance
            + (dispersion * self.mean).powi(2) * self.mean
    }
}

/// Prompt tokens of `p` that must be computed: those not found in the prefix cache, at least one.
pub(super) fn computed(shape: &RequestShape, p: &ShapePoint) -> f64 {
    (p.input * (1.0 - shape.prefix_hit())).max(1.0)
}
