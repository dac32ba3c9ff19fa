//! What one replica reports, in this project's terms: sums over its data-parallel engines.

use serde::{Deserialize, Serialize};
use wva_optimizer::snapshot::{Histogram, ReplicaSample, SumCount};

use super::{Dialect, EngineReader, Lora};
use crate::telemetry::exposition::{Census, Syntax};

/// One replica's metrics. Counters are cumulative since its process started; numbers are as reported, NaN included: the
/// gates judge them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineReading {
    /// Which engine it is.
    pub dialect: Dialect,
    /// The label said another one.
    pub mismatch: bool,
    /// Data-parallel engines that reported.
    pub engines: u32,
    /// Names under which it serves.
    pub models: Vec<String>,
    /// Sequences in the running batches.
    pub running: Option<f64>,
    /// Requests waiting.
    pub waiting: Option<f64>,
    /// Share of the KV cache in use, mean over engines.
    pub kv_usage: Option<f64>,
    /// KV cache, tokens.
    pub kv_tokens: Option<f64>,
    /// Iterations, mean over engines; 0 where not reported.
    pub iterations: f64,
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: f64,
    /// Prompt tokens that had to be computed.
    pub computed_tokens: Option<f64>,
    /// Prompt tokens found in a cache.
    pub cached_tokens: Option<f64>,
    /// Tokens found in the prefix cache, retries counted again.
    pub prefix_hits: Option<f64>,
    /// Tokens looked for in the prefix cache, retries counted again.
    pub prefix_queries: Option<f64>,
    /// Output tokens.
    pub generation_tokens: f64,
    /// Requests that ended.
    pub finished: Option<f64>,
    /// Preemptions.
    pub preemptions: f64,
    /// Gaps between output tokens.
    pub gap: SumCount,
    /// Scheduled to first token.
    pub prefill: SumCount,
    /// Waiting in the engine's queue.
    pub queue: SumCount,
    /// Arrival at the engine to first token.
    pub ttft: Histogram,
    /// Mean gap per request.
    pub tpot: Histogram,
    /// Input tokens per request.
    pub input_tokens: Histogram,
    /// Output tokens per request.
    pub output_tokens: Histogram,
    /// Adapters.
    pub lora: Option<Lora>,
    /// When its newest process started, seconds since the Unix epoch.
    pub started_at: Option<f64>,
    /// Series that were read.
    pub series: u64,
    /// Series that came twice.
    pub duplicates: u64,
}

impl EngineReading {
    /// Reads the pages of one replica, one per data-parallel server; `None` when none has metrics of a known engine.
    #[must_use]
    pub fn of_pages<'a>(
        pages: impl IntoIterator<Item = (&'a [u8], Syntax)>,
        declared: Option<Dialect>,
    ) -> (Option<Self>, Census) {
        let mut whole: Option<Self> = None;
        let mut census = Census::default();
        for (page, syntax) in pages {
            let mut reader = EngineReader::default();
            let c = reader.page(page, syntax);
            census.samples += c.samples;
            census.read += c.read;
            census.malformed += c.malformed;
            census.truncated |= c.truncated;
            if let Some(reading) = reader.finish(declared) {
                match &mut whole {
                    Some(whole) => whole.join(reading),
                    None => whole = Some(reading),
                }
            }
        }
        (whole, census)
    }

    /// Adds another server of the same replica.
    pub fn join(&mut self, other: Self) {
        let (a, b) = (f64::from(self.engines), f64::from(other.engines));
        let mean = |x: f64, y: f64| (x * a + y * b) / (a + b);
        self.kv_usage = both(self.kv_usage, other.kv_usage, mean);
        self.iterations = mean(self.iterations, other.iterations);
        self.engines += other.engines;
        self.mismatch |= other.mismatch;
        self.models.extend(other.models);
        self.models.sort_unstable();
        self.models.dedup();
        let plus = |x: f64, y: f64| x + y;
        self.running = both(self.running, other.running, plus);
        self.waiting = both(self.waiting, other.waiting, plus);
        self.kv_tokens = both(self.kv_tokens, other.kv_tokens, plus);
        self.prompt_tokens += other.prompt_tokens;
        self.computed_tokens = both(self.computed_tokens, other.computed_tokens, plus);
        self.cached_tokens = both(self.cached_tokens, other.cached_tokens, plus);
        self.prefix_hits = both(self.prefix_hits, other.prefix_hits, plus);
        self.prefix_queries = both(self.prefix_queries, other.prefix_queries, plus);
        self.generation_tokens += other.generation_tokens;
        self.finished = both(self.finished, other.finished, plus);
        self.preemptions += other.preemptions;
        for (mine, theirs) in [
            (&mut self.gap, other.gap),
            (&mut self.prefill, other.prefill),
            (&mut self.queue, other.queue),
        ] {
            mine.sum += theirs.sum;
            mine.count += theirs.count;
        }
        for (mine, theirs) in [
            (&mut self.ttft, &other.ttft),
            (&mut self.tpot, &other.tpot),
            (&mut self.input_tokens, &other.input_tokens),
            (&mut self.output_tokens, &other.output_tokens),
        ] {
            add(mine, theirs);
        }
        self.lora = self.lora.take().or(other.lora);
        self.started_at = both(self.started_at, other.started_at, f64::max);
        self.series += other.series;
        self.duplicates += other.duplicates;
    }

    /// Requests that are known to have come so far: ended, running or waiting.
    #[must_use]
    pub fn seen_requests(&self) -> f64 {
        self.finished.unwrap_or(0.0) + self.running.unwrap_or(0.0) + self.waiting.unwrap_or(0.0)
    }

    /// The optimizer's sample of time `at`; `computed` are the prompt tokens computed so far.
    #[must_use]
    pub fn sample(&self, id: u64, at: f64, computed: f64) -> ReplicaSample {
        ReplicaSample {
            id,
            at,
            running: self.running.unwrap_or(0.0),
            waiting: self.waiting.unwrap_or(0.0),
            kv_usage: self.kv_usage.unwrap_or(0.0).min(1.0),
            iterations: self.iterations,
            prompt_tokens: computed,
            generation_tokens: self.generation_tokens,
            finished: self.finished.unwrap_or(0.0),
            preemptions: self.preemptions,
            ttft: SumCount {
                sum: self.ttft.sum,
                count: self.ttft.count,
            },
            gap: self.gap,
            prefill: self.prefill,
            queue: self.queue,
        }
    }
}

fn both(a: Option<f64>, b: Option<f64>, join: impl Fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (a, b) => a.or(b),
    }
}

/// Adds cumulative histograms. Bounds are united; where one of them lacks a bound its count is that of its next lower one,
/// so that every count stays true at the bounds that its own histogram has.
pub(crate) fn add(into: &mut Histogram, other: &Histogram) {
    into.sum += other.sum;
    if into.bounds == other.bounds {
        into.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(a, b)| *a += b);
    } else if !other.bounds.is_empty() {
        let mut bounds: Vec<f64> = into.bounds.iter().chain(&other.bounds).copied().collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        into.counts = bounds
            .iter()
            .map(|&b| below(into, b) + below(other, b))
            .collect();
        into.bounds = bounds;
    }
    into.count += other.count;
}

/// Observations up to the greatest bound of `h` that is at most `bound`.
fn below(h: &Histogram, bound: f64) -> f64 {
    let known = h
        .bounds
        .partition_point(|&b| b <= bound)
        .min(h.counts.len());
    known.checked_sub(1).map_or(0.0, |last| h.counts[last])
}
