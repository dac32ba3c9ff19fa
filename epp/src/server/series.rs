//! Numbers of one flow: requests for one model, of one client, of one priority.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::metrics::Flow;
use super::tally::Told;
use crate::body::usage::Usage;

/// Bytes of text per token before any answer has told better: the upstream's four.
const BYTES_PER_TOKEN: f64 = 4.0;
/// Share of the newest answer in a learned mean.
const NEWEST: f64 = 0.02;

/// A number that all requests of a flow refine: an exponentially weighted mean, kept as the bits of a float. Two that
/// write at once lose one of two samples, which a mean can bear.
#[derive(Debug)]
pub struct Learned(AtomicU64);

impl Learned {
    const fn new(first: f64) -> Self {
        Self(AtomicU64::new(first.to_bits()))
    }

    /// The mean.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    fn learn(&self, sample: f64, least: f64, most: f64) {
        if sample.is_finite() {
            let known = self.get();
            // The first real sample replaces "unknown".
            let mean = if known == 0.0 {
                sample
            } else {
                known + NEWEST * (sample - known)
            };
            self.0.store(mean.clamp(least, most).to_bits(), Relaxed);
        }
    }
}

/// Handles of all metrics of one flow, and what its answers have taught.
#[derive(Debug)]
pub struct Series {
    pub(super) labels: Flow,
    /// Requests that were sent on, however many servers were tried.
    pub requests: Counter,
    /// Requests that have been sent and not ended.
    pub running: Gauge,
    /// Arrival to the end of the answer, seconds.
    pub duration: Histogram,
    /// Bytes of request bodies.
    pub request_size: Histogram,
    /// Bytes of answers.
    pub response_size: Histogram,
    /// Prompt tokens, as the server counted them.
    pub input: Histogram,
    /// Output tokens.
    pub output: Histogram,
    /// Prompt tokens from a cache.
    pub cached: Histogram,
    /// Duration over output tokens, seconds.
    pub normalized: Histogram,
    /// Arrival to first byte of the answer, seconds: whole answers, streams.
    pub first_token: [Histogram; 2],
    /// Time per output token after the first, seconds; streams only.
    pub per_token: Histogram,
    /// Requests that wait.
    pub queued: Gauge,
    /// Their bytes.
    pub queued_bytes: Gauge,
    /// Seconds that they wait.
    pub wait: Histogram,
    /// Bytes of text per token, learned.
    pub bytes_per_token: Learned,
    /// Output tokens of an answer, learned; 0 for unknown.
    pub output_tokens: Learned,
    /// What the controller is told.
    pub told: Told,
}

/// What is known of a request when its answer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ended {
    /// Arrival to first byte, seconds; `None` where there was none.
    pub first: Option<f64>,
    /// Arrival to end.
    pub whole: f64,
    /// Whether it was a stream.
    pub stream: bool,
    /// Bytes of the answer.
    pub bytes: u64,
    /// Tokens as counted by the server.
    pub usage: Usage,
    /// Bytes of text in the prompt; 0 where numbers or media are in it too.
    pub text: u64,
}

impl Series {
    pub(super) const fn unknown() -> [Learned; 2] {
        [Learned::new(BYTES_PER_TOKEN), Learned::new(0.0)]
    }

    /// The model that servers are asked for.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.labels.target_model_name
    }

    /// Importance of its requests.
    #[must_use]
    pub const fn priority(&self) -> i32 {
        self.labels.priority
    }

    /// Notes an answer that was served.
    pub fn served(&self, ended: &Ended) {
        self.duration.observe(ended.whole);
        self.response_size.observe(ended.bytes as f64);
        let first = ended.first.unwrap_or(ended.whole);
        self.first_token[usize::from(ended.stream)].observe(first);
        let Usage {
            prompt,
            output,
            cached,
        } = ended.usage;
        self.tell(ended, first);
        if let Some(tokens) = prompt {
            self.input.observe(tokens as f64);
            if ended.text >= 64 && tokens > 0 {
                let ratio = ended.text as f64 / tokens as f64;
                self.bytes_per_token.learn(ratio, 0.5, 16.0);
            }
        }
        if let Some(tokens) = cached {
            self.cached.observe(tokens as f64);
        }
        if let Some(tokens) = output {
            let tokens = tokens as f64;
            self.output.observe(tokens);
            self.output_tokens.learn(tokens, 0.0, 1e7);
            if tokens > 0.0 {
                self.normalized.observe(ended.whole / tokens);
            }
            if ended.stream && tokens > 1.0 {
                self.per_token
                    .observe((ended.whole - first).max(0.0) / (tokens - 1.0));
            }
        }
    }

    fn tell(&self, ended: &Ended, first: f64) {
        let Usage {
            prompt,
            output,
            cached,
        } = ended.usage;
        let estimated = ended.text as f64 / self.bytes_per_token.get();
        let prompted = prompt.map_or(estimated, |tokens| tokens as f64);
        if prompted > 0.0 {
            self.told.input.observe(prompted);
        }
        if let Some(cached) = cached {
            self.told.prompted.observe(prompted);
            self.told.cached.observe(cached as f64);
        }
        if ended.stream {
            self.told.first.observe(first);
        }
        if let Some(tokens) = output.map(|tokens| tokens as f64) {
            self.told.output.observe(tokens);
            if ended.stream && tokens > 1.0 {
                let gap = (ended.whole - first).max(0.0) / (tokens - 1.0);
                self.told.gap.observe(gap);
            }
        }
    }
}
