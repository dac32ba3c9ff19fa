//! What a workload is like: its rate, how bursty it is and at which time scale, and the sizes of its requests.
//!
//! One number for burstiness is not enough: the gaps of the Azure conversation trace look Poisson (CV² 1.2) while its
//! counts per minute have a variance 16 times their mean. Hence the index of dispersion at several windows.

use std::collections::HashSet;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use wva_models::shape::RequestShape;

use crate::request::{BLOCK_TOKENS, Request, RequestSource};

/// Windows of the dispersion index, seconds.
pub const WINDOWS: [f64; 4] = [1.0, 10.0, 60.0, 600.0];
/// Requests kept, chosen at random, for the shape.
const SAMPLE: usize = 20_000;

/// Variance over mean of the counts in windows of one length: 1 is Poisson, more is bursty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Dispersion {
    /// Length of the window, seconds.
    pub window_seconds: f64,
    /// Index of dispersion; absent with fewer than 10 whole windows or without requests.
    pub index: Option<f64>,
}

/// Figures of a workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistics {
    /// Number of requests.
    pub requests: u64,
    /// Requests per second over the whole length.
    pub mean_rps: f64,
    /// Squared coefficient of variation of the gaps; absent with fewer than 3 requests.
    pub gap_cv2: Option<f64>,
    /// Index of dispersion per window of [`WINDOWS`].
    pub dispersion: Vec<Dispersion>,
    /// Joint distribution of input and output tokens, as at most 64 points; absent without requests.
    pub shape: Option<RequestShape>,
    /// Share of the input tokens whose block came before, had the prefix cache no end; absent without block hashes.
    pub ideal_prefix_hit: Option<f64>,
}

impl Statistics {
    /// The figures of `requests`, in time order, over `seconds`. Time O(requests); memory bounded, but for the distinct
    /// block hashes where requests have any.
    pub fn of(requests: impl IntoIterator<Item = Request>, seconds: f64) -> Self {
        let mut counts = WINDOWS.map(Counts::new);
        let mut gaps = Moments::default();
        let mut last: Option<f64> = None;
        let mut sample = Sample::new();
        let mut prefixes = Prefixes::default();
        for request in requests {
            let at = request.at.seconds();
            counts.iter_mut().for_each(|c| c.arrival(at));
            if let Some(last) = last {
                gaps.add(at - last);
            }
            last = Some(at);
            sample.add((f64::from(request.input), f64::from(request.output)));
            prefixes.add(&request);
        }
        Self {
            requests: sample.seen,
            mean_rps: if seconds > 0.0 {
                sample.seen as f64 / seconds
            } else {
                0.0
            },
            gap_cv2: (gaps.count >= 2.0 && gaps.mean > 0.0)
                .then(|| gaps.variance() / (gaps.mean * gaps.mean)),
            dispersion: counts.into_iter().map(|c| c.finish(seconds)).collect(),
            shape: RequestShape::empirical(&sample.kept, 0.0, wva_models::shape::POINTS).ok(),
            ideal_prefix_hit: prefixes.share(),
        }
    }
}

/// Average demand of one stream over some time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamDemand {
    /// Model name.
    pub model: String,
    /// Class name.
    pub class: String,
    /// Requests per second.
    pub rate: f64,
    /// Shape of the requests; prefix hits as the stream says, or ideal ones where requests carry hashes.
    pub shape: RequestShape,
}

impl StreamDemand {
    /// The demand of each stream that has any in the first `seconds` of `source`.
    #[must_use]
    pub fn of(source: &dyn RequestSource, seed: u64, seconds: f64) -> Vec<Self> {
        let streams = source.streams().iter().enumerate();
        streams
            .filter_map(|(i, stream)| {
                let opening = source
                    .requests(seed)
                    .take_while(|r| r.at.seconds() < seconds);
                let own = opening.filter(|r| r.stream as usize == i);
                let found = Statistics::of(own, seconds);
                let hit = found.ideal_prefix_hit.unwrap_or(stream.prefix_hit);
                Some(Self {
                    model: stream.model.clone(),
                    class: stream.class.clone(),
                    rate: found.mean_rps,
                    shape: found.shape?.with_prefix_hit(hit).ok()?,
                })
            })
            .collect()
    }
}

/// Prefix blocks seen so far.
#[derive(Default)]
struct Prefixes {
    seen: HashSet<u64>,
    hits: f64,
    tokens: f64,
}

impl Prefixes {
    fn add(&mut self, request: &Request) {
        let Some(hashes) = &request.hash_ids else {
            return;
        };
        let found = hashes.iter().take_while(|h| self.seen.contains(h)).count();
        self.seen.extend(hashes.iter());
        let input = f64::from(request.input);
        self.hits += (found as f64 * f64::from(BLOCK_TOKENS)).min(input);
        self.tokens += input;
    }

    fn share(&self) -> Option<f64> {
        (self.tokens > 0.0).then(|| self.hits / self.tokens)
    }
}

/// Running mean and variance (Welford).
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: f64) {
        self.count += 1.0;
        let before = x - self.mean;
        self.mean += before / self.count;
        self.squares += before * (x - self.mean);
    }

    fn variance(&self) -> f64 {
        self.squares / (self.count - 1.0)
    }
}

/// Counts per window of one length.
struct Counts {
    window: f64,
    current: f64,
    count: f64,
    moments: Moments,
}

impl Counts {
    fn new(window: f64) -> Self {
        Self {
            window,
            current: 0.0,
            count: 0.0,
            moments: Moments::default(),
        }
    }

    fn arrival(&mut self, at: f64) {
        self.close_before((at / self.window).floor());
        self.count += 1.0;
    }

    /// Closes all windows before number `number`.
    fn close_before(&mut self, number: f64) {
        while self.current < number {
            self.moments.add(self.count);
            self.count = 0.0;
            self.current += 1.0;
        }
    }

    fn finish(mut self, seconds: f64) -> Dispersion {
        self.close_before((seconds / self.window).floor());
        let m = &self.moments;
        Dispersion {
            window_seconds: self.window,
            index: (m.count >= 10.0 && m.mean > 0.0).then(|| m.variance() / m.mean),
        }
    }
}

/// A uniform sample of a stream of unknown length (reservoir).
struct Sample {
    kept: Vec<(f64, f64)>,
    seen: u64,
    rng: Xoshiro256PlusPlus,
}

impl Sample {
    fn new() -> Self {
        Self {
            kept: Vec::new(),
            seen: 0,
            rng: Xoshiro256PlusPlus::seed_from_u64(0),
        }
    }

    fn add(&mut self, size: (f64, f64)) {
        self.seen += 1;
        if self.kept.len() < SAMPLE {
            self.kept.push(size);
            return;
        }
        let slot = self.rng.random_range(0..self.seen);
        if let Some(kept) = usize::try_from(slot)
            .ok()
            .and_then(|s| self.kept.get_mut(s))
        {
            *kept = size;
        }
    }
}
