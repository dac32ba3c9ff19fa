//! What one replica's counters say about its iterations in one window, and what a law says they should have said.
//!
//! Exact accounting, whatever the arrivals: tokens generated per iteration is the mean decode batch; the sum of token
//! gaps over tokens is the token-weighted mean iteration time; tokens generated per second times the mean gap is the
//! time-averaged batch (Little's law), which is the batch that a token sees. What is not reported is which iterations
//! held a prefill: prompts are taken as independent of the batch, so that an iteration holds one with probability
//! 1 − exp(−prefill chunks per iteration). The mean iteration time is then a mixture of two compositions, which matters
//! because of the corner of the law; a single mean composition would be up to 10 % low there.

use serde::{Deserialize, Serialize};

use crate::iteration::{Composition, IterationLaw};

/// One replica's cumulative counters and gauges as scraped, under vLLM's metric semantics.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EngineCounters {
    /// When it was scraped, seconds.
    pub at: f64,
    /// Engine iterations (count of `iteration_tokens_total`); 0 where not reported.
    pub iterations: f64,
    /// Prompt tokens computed.
    pub prompt_tokens: f64,
    /// Tokens generated.
    pub generation_tokens: f64,
    /// Preemptions.
    pub preemptions: f64,
    /// Gaps between output tokens: sum in seconds, count.
    pub gap: (f64, f64),
    /// Scheduled to first token: sum in seconds, count.
    pub prefill: (f64, f64),
    /// Waiting in the engine's queue: sum in seconds, count.
    pub queue: (f64, f64),
    /// Arrival to first token: sum in seconds, count.
    pub ttft: (f64, f64),
    /// Sequences in the running batch now.
    pub running: f64,
    /// KV tokens in use now: usage times capacity.
    pub kv_tokens: f64,
}

/// Deltas of one replica's counters over one window, and its gauges.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EngineWindow {
    /// Length of the window, seconds.
    pub seconds: f64,
    /// Engine iterations; 0 where the engine does not report them (then taken as busy seconds over the mean gap).
    pub iterations: f64,
    /// Prompt tokens computed, prefix hits not included.
    pub prompt_tokens: f64,
    /// Tokens generated.
    pub generation_tokens: f64,
    /// Sum of gaps between output tokens, seconds.
    pub gap_sum_s: f64,
    /// Number of gaps.
    pub gap_count: f64,
    /// Sum of prefill times (scheduled to first token), seconds.
    pub prefill_sum_s: f64,
    /// Number of prefills that ended.
    pub prefill_count: f64,
    /// Sum of times waiting in the engine's queue, seconds.
    pub queue_sum_s: f64,
    /// Number of those waits.
    pub queue_count: f64,
    /// Sum of times to first token, seconds.
    pub ttft_sum_s: f64,
    /// Number of first tokens.
    pub ttft_count: f64,
    /// Preemptions.
    pub preemptions: f64,
    /// Sequences in the running batch: the gauge, or the mean of the samples at both ends.
    pub running: f64,
    /// KV tokens in use at the same time: usage times capacity.
    pub kv_tokens: f64,
    /// Mean tokens per prompt found in the prefix cache.
    pub cached_tokens: f64,
    /// Coefficient of variation of computed prompt tokens; `None` where unknown (then 1).
    pub prompt_cv: Option<f64>,
}

/// Fewest gaps or prefills from which a mean is taken.
const FEWEST_GAPS: f64 = 30.0;
const FEWEST_PREFILLS: f64 = 2.0;
/// A mean wait above this many iterations means that prefills queue up: how many share an iteration is then unknown.
const QUEUED_ITERATIONS: f64 = 3.0;

impl EngineWindow {
    /// What happened between two scrapes of one replica; `None` when the second is not later, a counter fell (the
    /// replica restarted in between), or a number is no number. Cached tokens and the variation of prompts are the
    /// caller's to add.
    #[must_use]
    pub fn between(before: &EngineCounters, after: &EngineCounters) -> Option<Self> {
        let window = Self {
            seconds: after.at - before.at,
            iterations: after.iterations - before.iterations,
            prompt_tokens: after.prompt_tokens - before.prompt_tokens,
            generation_tokens: after.generation_tokens - before.generation_tokens,
            gap_sum_s: after.gap.0 - before.gap.0,
            gap_count: after.gap.1 - before.gap.1,
            prefill_sum_s: after.prefill.0 - before.prefill.0,
            prefill_count: after.prefill.1 - before.prefill.1,
            queue_sum_s: after.queue.0 - before.queue.0,
            queue_count: after.queue.1 - before.queue.1,
            ttft_sum_s: after.ttft.0 - before.ttft.0,
            ttft_count: after.ttft.1 - before.ttft.1,
            preemptions: after.preemptions - before.preemptions,
            running: (before.running + after.running) / 2.0,
            kv_tokens: (before.kv_tokens + after.kv_tokens) / 2.0,
            cached_tokens: 0.0,
            prompt_cv: None,
        };
        window.is_sane().then_some(window)
    }

    /// Whether every number is finite and not negative, and the window has a length.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        let all = [
            self.seconds,
            self.iterations,
            self.prompt_tokens,
            self.generation_tokens,
            self.gap_sum_s,
            self.gap_count,
            self.prefill_sum_s,
            self.prefill_count,
            self.queue_sum_s,
            self.queue_count,
            self.ttft_sum_s,
            self.ttft_count,
            self.preemptions,
            self.running,
            self.kv_tokens,
            self.cached_tokens,
            self.prompt_cv.unwrap_or(0.0),
        ];
        all.iter().all(|x| (0.0..1e12).contains(x)) && self.seconds > 0.0
    }

    /// Observed mean gap between output tokens, seconds; `None` where too few were seen.
    #[must_use]
    pub fn mean_gap(&self) -> Option<f64> {
        let mean = self.gap_sum_s / self.gap_count;
        (self.gap_count >= FEWEST_GAPS && (1e-5..1e2).contains(&mean)).then_some(mean)
    }

    /// Observed mean time from scheduling to first token, seconds; `None` where too few were seen, or they queued.
    #[must_use]
    pub fn mean_prefill(&self) -> Option<f64> {
        let mean = self.prefill_sum_s / self.prefill_count;
        let iteration = self.mean_gap().unwrap_or(mean);
        let queued = self.queue_sum_s > QUEUED_ITERATIONS * iteration * self.queue_count;
        let enough = self.prefill_count >= FEWEST_PREFILLS && self.prompt_tokens > 0.0;
        (enough && !queued && (1e-5..1e3).contains(&mean)).then_some(mean)
    }

    /// Observed mean time to first token outside the engine, seconds, at least 0.
    #[must_use]
    pub fn mean_front_end(&self) -> Option<f64> {
        let enough = [self.ttft_count, self.prefill_count, self.queue_count]
            .iter()
            .all(|&n| n >= FEWEST_PREFILLS);
        let rest = self.ttft_sum_s / self.ttft_count
            - self.prefill_sum_s / self.prefill_count
            - self.queue_sum_s / self.queue_count;
        (enough && rest < 1e3).then(|| rest.max(0.0))
    }

    /// Mean operating point of the window; `None` where neither gaps nor prefills were seen. `context` is the mean KV
    /// tokens per running sequence.
    #[must_use]
    pub fn operating_point(&self, context: f64) -> Option<OperatingPoint> {
        let gap = self.mean_gap();
        let batch = gap.map_or(0.0, |gap| self.gap_count * gap / self.seconds);
        let iterations = self.iterations_or_estimate(batch)?;
        let prefills = self.prefill_count.max(f64::MIN_POSITIVE);
        let prompt = if self.prefill_count > 0.0 {
            self.prompt_tokens / prefills
        } else {
            0.0
        };
        let point = OperatingPoint {
            batch,
            kv_tokens: batch * context,
            prompt,
            prompts_per_iteration: self.prefill_count / iterations,
            prompts_per_second: self.prefill_count / self.seconds,
            cached: self.cached_tokens,
            prompt_cv: self.prompt_cv.unwrap_or(1.0).min(3.0),
            even: false,
        };
        point.is_sane().then_some(point)
    }

    /// Iterations, or where they are not reported: busy seconds (not idle with probability 1 − e^−batch) over the gap.
    fn iterations_or_estimate(&self, batch: f64) -> Option<f64> {
        if self.iterations >= 1.0 {
            return Some(self.iterations);
        }
        let busy = self.seconds * (1.0 - (-batch).exp());
        Some(busy / self.mean_gap()?).filter(|&n| n >= 1.0)
    }
}

/// The composition of a replica's iterations in one window, on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Decoding sequences that a token sees.
    pub batch: f64,
    /// KV tokens that they hold.
    pub kv_tokens: f64,
    /// Computed tokens per prompt.
    pub prompt: f64,
    /// Prompts per iteration.
    pub prompts_per_iteration: f64,
    /// Prompts per second.
    pub prompts_per_second: f64,
    /// Cached tokens per prompt.
    pub cached: f64,
    /// Coefficient of variation of the computed tokens per prompt.
    pub prompt_cv: f64,
    /// Whether prompts arrive at equal gaps, as a load generator sends them, rather than at random.
    pub even: bool,
}

impl OperatingPoint {
    fn is_sane(&self) -> bool {
        let all = [
            self.batch,
            self.kv_tokens,
            self.prompt,
            self.prompts_per_iteration,
            self.prompts_per_second,
        ];
        all.iter().all(|x| (0.0..1e12).contains(x))
    }

    /// Mean gap between output tokens under `law`, seconds, with at most `token_budget` tokens per iteration.
    #[must_use]
    pub fn gap(&self, law: &IterationLaw, token_budget: f64) -> f64 {
        let (share, with) = self.prefill_iteration(token_budget);
        share * law.seconds(&with) + (1.0 - share) * law.seconds(&self.decode())
    }

    /// Mean time from scheduling to first token under `law`, seconds.
    ///
    /// A prompt arrives during some iteration, of length-biased mean length L = E T²/E T, and shares its own with the
    /// others that arrived in it: λL prompts. What exceeds the budget takes further iterations.
    #[must_use]
    pub fn prefill(&self, law: &IterationLaw, token_budget: f64) -> f64 {
        let (first, second) = self.iteration_moments(law, token_budget);
        let arrived = self.prompts_per_second * second / first;
        let companions = if self.even { arrived - 1.0 } else { arrived }.max(0.0);
        let room = (token_budget - self.batch).max(1.0);
        let most = (room / self.prompt.max(1.0)).max(1.0);
        let together = (1.0 + companions).min(most);
        let spans = (together * self.prompt / room).max(1.0);
        spans * law.seconds(&self.with_prompts(together / spans))
    }

    /// Mean and mean square of an iteration's time under `law`, s and s²; of the square only the part that mixing
    /// iterations with and without prefills, and prompts of different lengths, brings.
    #[must_use]
    pub fn iteration_moments(&self, law: &IterationLaw, token_budget: f64) -> (f64, f64) {
        let (share, with) = self.prefill_iteration(token_budget);
        let (long, short) = (law.seconds(&with), law.seconds(&self.decode()));
        let spread = self.prompt_cv * self.prompt_cv / self.prompts_with(share).max(1.0);
        let long_square = long * long + (long - short).powi(2) * spread;
        (
            share * long + (1.0 - share) * short,
            share * long_square + (1.0 - share) * short * short,
        )
    }

    /// Share of iterations that hold a prefill, and their composition.
    fn prefill_iteration(&self, token_budget: f64) -> (f64, Composition) {
        let room = (token_budget - self.batch).max(1.0);
        let chunks = (self.prompt / room).max(1.0);
        let expected = self.prompts_per_iteration * chunks;
        let share = if self.even {
            expected.min(1.0)
        } else {
            1.0 - (-expected).exp()
        };
        (share, self.with_prompts(self.prompts_with(share)))
    }

    /// Prompts in an iteration that holds any, where a `share` of the iterations does.
    fn prompts_with(&self, share: f64) -> f64 {
        if share > 0.0 {
            self.prompts_per_iteration / share
        } else {
            0.0
        }
    }

    /// Share of the mean gap that prefills are responsible for, under `law`.
    pub(super) fn prefill_part(&self, law: &IterationLaw, token_budget: f64) -> f64 {
        let part = 1.0 - law.seconds(&self.decode()) / self.gap(law, token_budget);
        if part > 0.0 { part } else { 0.0 }
    }

    /// Mean of Σ chunk × mean context of its tokens over prompts: n·cached + E n²/2, however n is cut into chunks.
    fn chunk_context(&self) -> f64 {
        let square = self.prompt * self.prompt * (1.0 + self.prompt_cv * self.prompt_cv);
        self.prompt * self.cached + square / 2.0
    }

    /// Iterations without prefill.
    #[must_use]
    pub fn decode(&self) -> Composition {
        Composition {
            tokens: self.batch,
            kv_tokens: self.kv_tokens,
            sequences: self.batch,
            chunk_context: 0.0,
            any_prefill: false,
        }
    }

    /// An iteration that holds `prompts` prompts (a fraction of one where it is chunked).
    fn with_prompts(&self, prompts: f64) -> Composition {
        Composition {
            tokens: self.batch + prompts * self.prompt,
            kv_tokens: self.kv_tokens,
            sequences: self.batch + prompts,
            chunk_context: prompts * self.chunk_context(),
            any_prefill: true,
        }
    }
}
