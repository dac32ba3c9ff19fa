//! The recent distribution behind a cumulative histogram.
//!
//! Deltas between scrapes are added to counts that fade with a half-life. A sliding window of whole histograms would
//! forget at a sharper edge, but keeps dozens of them per stream; fading counts keep one.

use serde::{Deserialize, Serialize};

use super::counter::{increase, is_amount, is_time};

/// A cumulative histogram as scraped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scraped<'a> {
    /// Upper bounds of the buckets, ascending, +Inf left out or last.
    pub bounds: &'a [f64],
    /// Cumulative counts, one a bound.
    pub counts: &'a [f64],
    /// Count of all observations.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
}

/// Fading histogram of what was recently observed by one source; values are at least 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecentHistogram {
    half_life_s: f64,
    at: Option<f64>,
    bounds: Vec<f64>,
    /// Counts per bucket as last scraped, not cumulative over buckets; the last is +Inf's.
    raw: Vec<f64>,
    raw_count: f64,
    raw_sum: f64,
    /// Faded counts per bucket, the last being +Inf's.
    faded: Vec<f64>,
    faded_sum: f64,
}

impl RecentHistogram {
    /// An empty histogram in which an observation's weight halves every `half_life_s` seconds.
    #[must_use]
    pub const fn new(half_life_s: f64) -> Self {
        Self {
            half_life_s: if half_life_s.is_finite() {
                half_life_s.max(1.0)
            } else {
                600.0
            },
            at: None,
            bounds: Vec::new(),
            raw: Vec::new(),
            raw_count: 0.0,
            raw_sum: 0.0,
            faded: Vec::new(),
            faded_sum: 0.0,
        }
    }

    /// Takes the histogram scraped at `at`. Returns whether it was used: false for NaN, malformed, or one no later than
    /// the last. The first one, and the first with other bounds, is a baseline.
    pub fn observe(&mut self, at: f64, scraped: &Scraped<'_>) -> bool {
        let Some((bounds, raw)) = buckets(scraped) else {
            return false;
        };
        let elapsed = self.at.map_or(f64::INFINITY, |last| at - last);
        if !is_time(at) || (elapsed <= 0.0 && elapsed > -20.0 * self.half_life_s) {
            return false;
        }
        if self.at.is_none() || bounds != self.bounds {
            self.faded = vec![0.0; raw.len()];
            self.faded_sum = 0.0;
            self.bounds = bounds;
        } else if elapsed > 0.0 {
            self.add(elapsed, scraped, &raw);
        }
        (self.at, self.raw, self.raw_count, self.raw_sum) =
            (Some(at), raw, scraped.count, scraped.sum);
        true
    }

    fn add(&mut self, elapsed: f64, scraped: &Scraped<'_>, raw: &[f64]) {
        let keep = (-elapsed / self.half_life_s).exp2();
        let restarted = scraped.count < self.raw_count;
        let mut added = 0.0;
        for ((faded, &before), &after) in self.faded.iter_mut().zip(&self.raw).zip(raw) {
            let more = if restarted {
                increase(self.raw_count, scraped.count).min(after)
            } else {
                (after - before).max(0.0)
            };
            *faded = *faded * keep + more;
            added += more;
        }
        let sum = if restarted {
            if added > 0.0 { scraped.sum } else { 0.0 }
        } else {
            (scraped.sum - self.raw_sum).max(0.0)
        };
        self.faded_sum = self.faded_sum * keep + sum;
    }

    /// Observations that the distribution rests on, faded: how much is known.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.faded.iter().sum()
    }

    /// Sum of the recent observations, faded.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        self.faded_sum
    }

    /// The recent observations in Prometheus' form: (upper bounds, cumulative counts, count, sum), faded.
    #[must_use]
    pub fn cumulative(&self) -> (&[f64], Vec<f64>, f64, f64) {
        let mut total = 0.0;
        let counts = self
            .faded
            .iter()
            .take(self.bounds.len())
            .map(|c| {
                total += c;
                total
            })
            .collect();
        (&self.bounds, counts, self.weight(), self.faded_sum)
    }

    /// Recent mean; `None` before anything was observed.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let weight = self.weight();
        (weight > 1e-9).then(|| self.faded_sum / weight)
    }

    /// `n` values of equal probability (the quantiles at (i + ½)/n) that stand for the recent distribution, ascending,
    /// with its mean; empty before anything was observed.
    ///
    /// Inside a bucket the quantile function is low + width·u^κ. One κ for all buckets is chosen so that the mean comes
    /// out as the histogram's own sum says, which bucket midpoints miss by a third where buckets double in width.
    #[must_use]
    pub fn quantile_points(&self, n: usize) -> Vec<f64> {
        let weight = self.weight();
        let Some(mean) = self.mean() else {
            return Vec::new();
        };
        let kappa = self.exponent(mean * weight);
        let mut points = Vec::with_capacity(n);
        let (mut bucket, mut below) = (0, 0.0);
        for i in 0..n {
            let rank = weight * (i as f64 + 0.5) / n as f64;
            while bucket + 1 < self.faded.len() && below + self.faded[bucket] < rank {
                below += self.faded[bucket];
                bucket += 1;
            }
            let (low, high) = self.edges(bucket);
            let u = ((rank - below) / self.faded[bucket].max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
            points.push(low + (high - low) * u.powf(kappa));
        }
        centre(&mut points, mean);
        points
    }

    /// κ with Σ count·(low + width/(κ + 1)) = `total`.
    fn exponent(&self, total: f64) -> f64 {
        let (mut lows, mut widths) = (0.0, 0.0);
        for (i, count) in self.faded.iter().enumerate() {
            let (low, high) = self.edges(i);
            lows += count * low;
            widths += count * (high - low);
        }
        let share = ((total - lows) / widths.max(f64::MIN_POSITIVE)).clamp(0.05, 0.95);
        1.0 / share - 1.0
    }

    /// Edges of a bucket; +Inf's ends at twice the last bound.
    fn edges(&self, bucket: usize) -> (f64, f64) {
        let low = if bucket == 0 {
            0.0
        } else {
            self.bounds[bucket - 1]
        };
        let high = self.bounds.get(bucket).copied().unwrap_or(low * 2.0);
        (low, high)
    }
}

/// Scales the points to the mean, where quantisation left a small difference.
fn centre(points: &mut [f64], mean: f64) {
    let now = points.iter().sum::<f64>() / points.len().max(1) as f64;
    if now > 0.0 && mean > 0.0 {
        let factor = (mean / now).clamp(0.5, 2.0);
        points.iter_mut().for_each(|p| *p *= factor);
    }
}

/// Finite bounds and the count of each bucket, +Inf's last; `None` when malformed.
fn buckets(s: &Scraped<'_>) -> Option<(Vec<f64>, Vec<f64>)> {
    let finite = s.bounds.iter().take_while(|b| b.is_finite()).count();
    let ascending = s.bounds[..finite].windows(2).all(|w| w[0] < w[1]);
    if finite == 0
        || s.counts.len() < finite
        || !ascending
        || s.bounds[0] < 0.0
        || !is_amount(s.count)
        || !is_amount(s.sum)
        || !s.counts[..finite].iter().all(|&c| is_amount(c))
    {
        return None;
    }
    let mut raw = Vec::with_capacity(finite + 1);
    let mut below: f64 = 0.0;
    for &c in s.counts[..finite].iter().chain([&s.count]) {
        raw.push((c - below).max(0.0));
        below = below.max(c);
    }
    Some((s.bounds[..finite].to_vec(), raw))
}
