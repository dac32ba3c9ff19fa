//! Histograms that can be read back, for the controller: Prometheus' own only write themselves out.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wva_models::exchange::Buckets;

/// Sums are kept in millionths.
const MILLION: f64 = 1e6;

/// Upper bounds that grow by the same factor from one to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Tokens: from 1 to a million, by half powers of two.
    Tokens,
    /// Seconds: from 1 ms to 17 minutes, by quarter powers of two.
    Seconds,
}

impl Scale {
    /// The bounds, ascending.
    #[must_use]
    pub fn bounds(self) -> &'static [f64] {
        static TOKENS: LazyLock<Vec<f64>> = LazyLock::new(|| {
            (0..=40)
                .map(|n| f64::from(n) / 2.0)
                .map(f64::exp2)
                .collect()
        });
        static SECONDS: LazyLock<Vec<f64>> = LazyLock::new(|| {
            let steps = (0..=80).map(|n| f64::from(n) / 4.0);
            steps.map(|step| 1e-3 * step.exp2()).collect()
        });
        match self {
            Self::Tokens => &TOKENS,
            Self::Seconds => &SECONDS,
        }
    }
}

/// A histogram. Requests write it without a lock; a reader may see one observation in part, which the next reading mends.
#[derive(Debug)]
pub struct Tally {
    scale: Scale,
    counts: Box<[AtomicU64]>,
    count: AtomicU64,
    millionths: AtomicU64,
}

impl Tally {
    /// Nothing observed.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        let bounds = scale.bounds().iter();
        Self {
            scale,
            counts: bounds.map(|_| AtomicU64::new(0)).collect(),
            count: AtomicU64::new(0),
            millionths: AtomicU64::new(0),
        }
    }

    /// Notes a value; what is no number, or negative, is left out.
    pub fn observe(&self, value: f64) {
        if !(value.is_finite() && value >= 0.0) {
            return;
        }
        let place = self.scale.bounds().partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Relaxed);
        }
        self.millionths.fetch_add((value * MILLION) as u64, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// Sum of the values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.millionths.load(Relaxed) as f64 / MILLION
    }

    /// Adds what was observed to cumulative buckets of the same scale, or to none yet.
    pub fn add_to(&self, buckets: &mut Buckets) {
        if buckets.bounds.is_empty() {
            buckets.bounds = self.scale.bounds().to_vec();
            buckets.counts = vec![0.0; buckets.bounds.len()];
        }
        // Before the counts, which then cover it at least.
        let all = self.count.load(Relaxed) as f64;
        let mut below = 0.0;
        for (total, count) in buckets.counts.iter_mut().zip(&self.counts) {
            below += count.load(Relaxed) as f64;
            *total += below;
        }
        buckets.count += all.max(below);
        buckets.sum += self.sum();
    }
}

/// What the controller is told of the requests of one flow.
#[derive(Debug)]
pub struct Told {
    /// Requests that came, whatever became of them.
    pub arrivals: AtomicU64,
    /// Requests that were turned away, or that their server failed: whoever judges them, these were missed.
    pub lost: AtomicU64,
    /// Prompt tokens of requests that were served: as the server counted them, else as estimated.
    pub input: Tally,
    /// Their output tokens, where the server says.
    pub output: Tally,
    /// Seconds from arrival to the first byte of streams.
    pub first: Tally,
    /// Seconds per output token after the first, of streams.
    pub gap: Tally,
    /// Prompt tokens of those whose server says how many were in a cache.
    pub prompted: Tally,
    /// Those that were.
    pub cached: Tally,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            arrivals: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            input: Tally::new(Scale::Tokens),
            output: Tally::new(Scale::Tokens),
            first: Tally::new(Scale::Seconds),
            gap: Tally::new(Scale::Seconds),
            prompted: Tally::new(Scale::Tokens),
            cached: Tally::new(Scale::Tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_observed_is_read_back_cumulatively() {
        let (a, b) = (Tally::new(Scale::Tokens), Tally::new(Scale::Tokens));
        for tokens in [1.0, 2000.0, 2000.0, 5e6] {
            a.observe(tokens);
        }
        for odd in [-1.0, f64::NAN, f64::INFINITY] {
            a.observe(odd);
        }
        b.observe(2048.0);
        let mut all = Buckets::default();
        a.add_to(&mut all);
        b.add_to(&mut all);
        assert_eq!((all.count, all.sum), (5.0, 5_006_049.0));
        let up_to = |bound: f64| {
            let place = all.bounds.iter().position(|b| *b == bound).unwrap();
            all.counts[place]
        };
        assert_eq!((up_to(1.0), up_to(1024.0), up_to(2048.0)), (1.0, 1.0, 4.0));
        assert_eq!(all.counts.last(), Some(&4.0));
        assert!(all.counts.is_sorted() && all.bounds.is_sorted());
    }
}
