//! Latency histograms: fine log buckets for results, Prometheus buckets for what a policy gets to see.

use wva_optimizer::snapshot::Histogram;

use crate::result::LatencySummary;

/// log2 of the buckets per octave.
const SUB_BITS: u32 = 7;
/// Everything up to 2^MIN_EXPONENT seconds (about a microsecond) shares the first bucket.
const MIN_EXPONENT: i64 = -20;
/// Octaves covered: up to 2^17 s, about a day and a half.
const OCTAVES: usize = 37;
/// Bits below the bucket number in an f64.
const SHIFT: u32 = 52 - SUB_BITS;
/// Bucket number of 2^MIN_EXPONENT, before subtracting it.
const BASE: u64 = ((1023 + MIN_EXPONENT) as u64) << SUB_BITS;
const BUCKETS: usize = OCTAVES << SUB_BITS;

/// A histogram of seconds with 128 linear buckets per octave: a quantile is within 0.4 % of the exact one, and the bucket
/// of a value is its exponent and leading mantissa bits, which costs no logarithm.
#[derive(Debug, Clone, PartialEq)]
pub struct LogHistogram {
    counts: Vec<u64>,
    count: u64,
    sum: f64,
    /// Range of buckets that may be non-zero, so that clearing and reading touch no more than was used.
    used: (usize, usize),
}

impl Default for LogHistogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            count: 0,
            sum: 0.0,
            used: (BUCKETS, 0),
        }
    }
}

impl LogHistogram {
    /// Counts one value in seconds; what is not positive counts as 0.
    #[inline]
    pub fn record(&mut self, seconds: f64) {
        self.count_in(bucket(seconds), 1);
        self.sum += seconds.max(0.0);
    }

    /// Counts `first + i·step` for i in 0..`terms`, each `times` times; step ≥ 0. Costs O(buckets that it spans).
    pub fn record_progression(&mut self, first: f64, step: f64, terms: u64, times: u64) {
        let n = terms as f64;
        self.sum += times as f64 * (n * first + step * n * (n - 1.0) * 0.5);
        if step <= 0.0 || bucket(first + step * (n - 1.0)) == bucket(first) {
            self.count_in(bucket(first), terms * times);
            return;
        }
        let mut i = 0;
        while i < terms {
            let x = first + step * i as f64;
            let b = bucket(x);
            let inside = ((upper_bound(b) - x) / step).ceil().max(1.0) as u64;
            let here = inside.min(terms - i);
            self.count_in(b, here * times);
            i += here;
        }
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.used = (self.used.0.min(other.used.0), self.used.1.max(other.used.1));
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        if self.count > 0 {
            self.counts[self.used.0..=self.used.1].fill(0);
        }
        self.count = 0;
        self.sum = 0.0;
        self.used = (BUCKETS, 0);
    }

    /// Number of values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Exact sum of the values in seconds.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// Exact mean in seconds; `None` without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The `q`-quantile in seconds within 0.4 %, q in [0, 1]: the least value with at least q of all values at or below it;
    /// `None` without values.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = ((q * self.count as f64 - 1e-9).ceil() as u64).max(1);
        let mut seen = 0;
        for b in self.used.0..=self.used.1.min(BUCKETS - 1) {
            seen += self.counts[b];
            if seen >= rank {
                return Some(0.5 * (lower_bound(b) + upper_bound(b)));
            }
        }
        None
    }

    /// Number of values at or below `bound` seconds; values within 0.8 % of it may count on either side.
    #[must_use]
    pub fn at_most(&self, bound: f64) -> u64 {
        let buckets = self.used.0..(self.used.1 + 1).min(BUCKETS);
        buckets
            .filter(|&b| 0.5 * (lower_bound(b) + upper_bound(b)) <= bound)
            .map(|b| self.counts[b])
            .sum()
    }

    /// Mean and percentiles in milliseconds; `None` without values.
    #[must_use]
    pub fn summary(&self) -> Option<LatencySummary> {
        let ms = |q: f64| self.quantile(q).map(|s| s * 1e3);
        Some(LatencySummary {
            p50: ms(0.50)?,
            p90: ms(0.90)?,
            p95: ms(0.95)?,
            p99: ms(0.99)?,
            mean: self.mean()? * 1e3,
        })
    }

    #[inline]
    fn count_in(&mut self, bucket: usize, times: u64) {
        self.counts[bucket] += times;
        self.count += times;
        self.used = (self.used.0.min(bucket), self.used.1.max(bucket));
    }
}

#[inline]
fn bucket(seconds: f64) -> usize {
    if seconds > 0.0 {
        ((seconds.to_bits() >> SHIFT).saturating_sub(BASE) as usize).min(BUCKETS - 1)
    } else {
        0
    }
}

fn lower_bound(bucket: usize) -> f64 {
    if bucket == 0 {
        0.0
    } else {
        f64::from_bits((BASE + bucket as u64) << SHIFT)
    }
}

fn upper_bound(bucket: usize) -> f64 {
    f64::from_bits((BASE + bucket as u64 + 1) << SHIFT)
}

/// vLLM's bucket bounds of `vllm:time_to_first_token_seconds`.
pub const TTFT_BOUNDS: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];
/// vLLM's bucket bounds of `vllm:request_time_per_output_token_seconds`.
pub const ITL_BOUNDS: [f64; 19] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
];
/// Bucket bounds of token counts as the gateway counts them: half-octave steps to a million. (vLLM's own 1-2-5 steps are
/// coarser; the gateway is ours and may be finer.)
pub const TOKEN_BOUNDS: [f64; 41] = [
    1.0,
    1.5,
    2.0,
    3.0,
    4.0,
    6.0,
    8.0,
    12.0,
    16.0,
    24.0,
    32.0,
    48.0,
    64.0,
    96.0,
    128.0,
    192.0,
    256.0,
    384.0,
    512.0,
    768.0,
    1024.0,
    1536.0,
    2048.0,
    3072.0,
    4096.0,
    6144.0,
    8192.0,
    12288.0,
    16384.0,
    24576.0,
    32768.0,
    49152.0,
    65536.0,
    98304.0,
    131_072.0,
    196_608.0,
    262_144.0,
    393_216.0,
    524_288.0,
    786_432.0,
    1_048_576.0,
];

/// A Prometheus histogram while it is being counted: fixed bounds, plain (not yet cumulative) counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Buckets {
    /// An empty one with these ascending upper bounds.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// Counts one value.
    #[inline]
    pub fn record(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|&b| b < value)] += 1;
        self.sum += value;
    }

    /// Number of values, and their sum.
    #[must_use]
    pub fn total(&self) -> (u64, f64) {
        (self.counts.iter().sum(), self.sum)
    }

    /// As a scrape shows it: cumulative counts.
    #[must_use]
    pub fn scrape(&self) -> Histogram {
        let mut total = 0;
        let mut counts: Vec<f64> = self
            .counts
            .iter()
            .map(|c| {
                total += c;
                total as f64
            })
            .collect();
        let count = counts.pop().unwrap_or(0.0);
        Histogram {
            bounds: self.bounds.to_vec(),
            counts,
            count,
            sum: self.sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mean_is_exact_and_quantiles_are_close() {
        let mut h = LogHistogram::default();
        for i in 1..=1000 {
            h.record(f64::from(i) * 1e-3);
        }
        assert!((h.mean().expect("values") - 0.5005).abs() < 1e-12);
        for (q, exact) in [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99), (1.0, 1.0)] {
            let got = h.quantile(q).expect("values");
            assert!((got / exact - 1.0).abs() < 0.004, "{q}: {got}");
        }
        h.clear();
        assert_eq!((h.count(), h.quantile(0.5), h.mean()), (0, None, None));
        assert_eq!(h, LogHistogram::default());
    }

    #[test]
    fn counts_values_up_to_a_bound() {
        let mut h = LogHistogram::default();
        assert_eq!(h.at_most(1.0), 0);
        for i in 1..=1000 {
            h.record(f64::from(i) * 1e-3);
        }
        assert_eq!((h.at_most(1e-4), h.at_most(2.0)), (0, 1000));
        assert!(h.at_most(0.25).abs_diff(250) <= 2);
    }

    #[test]
    fn absurd_values_stay_in_range() {
        let mut h = LogHistogram::default();
        for x in [0.0, -1.0, 1e-300, 1e300, f64::INFINITY] {
            h.record(x);
        }
        assert_eq!(h.count(), 5);
    }

    #[test]
    fn prometheus_counts_are_cumulative_and_bounds_inclusive() {
        let mut b = Buckets::new(&ITL_BOUNDS);
        for x in [0.01, 0.010_1, 100.0] {
            b.record(x);
        }
        let h = b.scrape();
        assert_eq!(
            (h.counts[0], h.counts[1], h.counts[18], h.count),
            (1.0, 2.0, 2.0, 3.0)
        );
    }

    proptest! {
        #[test]
        fn a_progression_is_its_terms(first in 1e-4..1.0f64, step in 0.0..1e-2f64, terms in 1..200u64, times in 1..9u64) {
            let (mut fast, mut slow) = (LogHistogram::default(), LogHistogram::default());
            fast.record_progression(first, step, terms, times);
            for i in 0..terms {
                for _ in 0..times {
                    slow.record(first + step * i as f64);
                }
            }
            prop_assert_eq!(fast.count(), slow.count());
            prop_assert!((fast.sum() / slow.sum() - 1.0).abs() < 1e-9);
            for q in [0.1, 0.5, 0.9, 0.99] {
                let (a, b) = (fast.quantile(q).expect("values"), slow.quantile(q).expect("values"));
                prop_assert!((a / b - 1.0).abs() < 0.009, "{} {}", a, b);
            }
        }
    }
}
