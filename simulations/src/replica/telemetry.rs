//! What an engine counts, and what a scrape of it shows.

use wva_optimizer::snapshot::{ReplicaSample, SumCount};

use super::{Replica, Work};
use crate::time::Time;

/// Counters of one engine since it started, under vLLM's metric semantics.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counters {
    /// Iterations finished.
    pub iterations: u64,
    /// Prompt tokens computed (cache hits are not computed).
    pub prompt_tokens: u64,
    /// Output tokens emitted.
    pub generation_tokens: u64,
    /// Requests finished.
    pub finished: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Arrival at the engine to first token, front end included.
    pub ttft: SumCount,
    /// Gaps between output tokens.
    pub gap: SumCount,
    /// Scheduled to first token.
    pub prefill: SumCount,
    /// Arrival at the engine to scheduled.
    pub queue: SumCount,
    /// Seconds in which an iteration was running.
    pub busy_s: f64,
}

pub(super) fn observe(total: &mut SumCount, seconds: f64) {
    total.sum += seconds;
    total.count += 1.0;
}

impl Replica {
    /// Counters up to the last change of its batch.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What a scrape at `now` shows. The iterations of a stretch in progress that have ended by then are counted without
    /// ending the stretch, so that scraping changes nothing.
    #[must_use]
    pub fn sample(&self, id: u64, now: Time) -> ReplicaSample {
        let (iterations, seconds) = self.progress(now);
        let batch = self.decoding.len() as u64;
        let c = &self.counters;
        let tokens = (iterations * batch) as f64;
        ReplicaSample {
            id,
            at: now.seconds(),
            running: self.running() as f64,
            waiting: self.waiting() as f64,
            kv_usage: ((self.held() + iterations * batch) as f64 / self.limits.kv_tokens as f64)
                .min(1.0),
            iterations: (c.iterations + iterations) as f64,
            prompt_tokens: c.prompt_tokens as f64,
            generation_tokens: c.generation_tokens as f64 + tokens,
            finished: c.finished as f64,
            preemptions: c.preemptions as f64,
            ttft: c.ttft,
            gap: SumCount {
                sum: c.gap.sum + batch as f64 * seconds,
                count: c.gap.count + tokens,
            },
            prefill: c.prefill,
            queue: c.queue,
        }
    }

    /// Iterations of the stretch in progress that have ended by `now`, and their seconds.
    fn progress(&self, now: Time) -> (u64, f64) {
        let Work::Decode(stretch) = &self.work else {
            return (0, 0.0);
        };
        let done = stretch.ended_by(&self.clock, now);
        (done, stretch.offset(done) * 1e-9)
    }
}
