//! The iteration law: how long one engine iteration takes, given what is in it.
//!
//! ```text
//! T = a + (floor^q + (b·tokens)^q)^(1/q) + g·KV tokens read + s·sequences + p·Σ chunk·context + e·[any prefill]
//! ```
//! `floor` is the time to read the weights once, `b·tokens` the time to compute; whichever is longer wins, softly
//! (q = 2). Decode reads every KV token of every running sequence, hence `g`; the attention of a prefill chunk over its
//! context is quadratic in the prompt, hence `p`. The front end adds `o` to TTFT, outside the engine.
//!
//! A purely linear law (no floor) is simpler, but its inter-token latency is 3.5–7 % off around the corner, just where
//! mid-size batches sit.

use serde::{Deserialize, Serialize};

/// What is in one engine iteration.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Composition {
    /// Tokens computed: one per decoding sequence plus the prefill chunks.
    pub tokens: f64,
    /// KV-cache tokens read by decode and prefill attention.
    pub kv_tokens: f64,
    /// Sequences in the iteration.
    pub sequences: f64,
    /// Σ over prefill chunks of chunk length × mean context of its tokens.
    pub chunk_context: f64,
    /// Whether there is any prefill.
    pub any_prefill: bool,
}

/// Parameters of the iteration law; all seconds, per iteration, token, sequence or token².
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IterationLaw {
    /// Fixed overhead a of an iteration, s.
    pub overhead_s: f64,
    /// Floor: time to read the weights once, s.
    pub floor_s: f64,
    /// b: compute time per token, s.
    pub per_token_s: f64,
    /// g: time to read one KV-cache token, s.
    pub per_kv_token_s: f64,
    /// s: time per sequence (sampling, scheduling), s.
    pub per_sequence_s: f64,
    /// p: attention time per (prefill token × context token), s.
    pub per_chunk_context_s: f64,
    /// e: extra overhead of an iteration with any prefill, s.
    pub prefill_overhead_s: f64,
    /// o: constant outside the engine (front end, tokenizer, network) that TTFT includes, s.
    pub front_end_s: f64,
}

impl IterationLaw {
    /// Seconds that one iteration of this composition takes.
    #[must_use]
    pub fn seconds(&self, c: &Composition) -> f64 {
        self.overhead_s
            + self.compute(c.tokens)
            + self.per_kv_token_s * c.kv_tokens
            + self.per_sequence_s * c.sequences
            + self.per_chunk_context_s * c.chunk_context
            + if c.any_prefill {
                self.prefill_overhead_s
            } else {
                0.0
            }
    }

    /// All parameters with their names, in the order of their declaration: for whoever has to look at each of them.
    #[must_use]
    pub const fn parameters(&self) -> [(&'static str, f64); 8] {
        // Whole: a parameter that is added later must be among them.
        let Self {
            overhead_s,
            floor_s,
            per_token_s,
            per_kv_token_s,
            per_sequence_s,
            per_chunk_context_s,
            prefill_overhead_s,
            front_end_s,
        } = *self;
        [
            ("overhead_s", overhead_s),
            ("floor_s", floor_s),
            ("per_token_s", per_token_s),
            ("per_kv_token_s", per_kv_token_s),
            ("per_sequence_s", per_sequence_s),
            ("per_chunk_context_s", per_chunk_context_s),
            ("prefill_overhead_s", prefill_overhead_s),
            ("front_end_s", front_end_s),
        ]
    }

    /// The weight-read floor against compute time, with a soft corner (q = 2), in seconds.
    #[must_use]
    pub fn compute(&self, tokens: f64) -> f64 {
        let busy = self.per_token_s * tokens;
        // Not `hypot`: its care for overflow costs more than the rest of a prediction, and these are milliseconds.
        (self.floor_s * self.floor_s + busy * busy).sqrt()
    }
}

/// Limits of the engine's batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EngineLimits {
    /// M: tokens per iteration.
    pub token_budget: f64,
    /// S: sequences in the running batch.
    pub max_sequences: f64,
    /// C: KV-cache capacity in tokens.
    pub kv_tokens: f64,
}

/// One replica as the models see it: its law and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReplicaModel {
    /// Iteration law.
    pub law: IterationLaw,
    /// Engine limits.
    pub limits: EngineLimits,
}
