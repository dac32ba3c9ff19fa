//! Cumulative counts of one origin (a pod, an endpoint picker), and how much they have grown.
//!
//! A sum of counters over a changing set of pods is no counter: it falls when a pod goes and leaps when one comes. So
//! growth is taken per origin, and only growth is added up.

use serde::{Deserialize, Serialize};
use wva_optimizer::snapshot::Histogram;

use super::engine::add;
use super::targets::ClassTarget;

/// Counts of requests since some beginning.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Requests that came.
    pub arrivals: f64,
    /// Requests that were refused.
    pub refused: f64,
    /// Requests that met their class's bounds, where their origin judges that.
    pub met: f64,
    /// Requests that missed them.
    pub missed: f64,
    /// Prompt tokens found in a cache.
    pub cached: f64,
    /// Prompt tokens that could have been.
    pub prompted: f64,
    /// Input tokens per request.
    pub input: Histogram,
    /// Output tokens per request.
    pub output: Histogram,
    /// Arrival to first token, seconds.
    pub ttft: Histogram,
    /// Mean gap between output tokens, seconds.
    pub tpot: Histogram,
}

impl Tally {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        self.arrivals += other.arrivals;
        self.refused += other.refused;
        self.met += other.met;
        self.missed += other.missed;
        self.cached += other.cached;
        self.prompted += other.prompted;
        for (mine, theirs) in [
            (&mut self.input, &other.input),
            (&mut self.output, &other.output),
            (&mut self.ttft, &other.ttft),
            (&mut self.tpot, &other.tpot),
        ] {
            // Sums without buckets would look like a histogram that is all beyond its last bound.
            if !theirs.bounds.is_empty() {
                add(mine, theirs);
            }
        }
    }

    /// How much an origin that showed `before` and now shows `self` has counted in between; nothing of it is negative or not
    /// finite. `restarted` says that it began anew. Otherwise a counter that falls below half has restarted, and a smaller
    /// fall is a late read (Prometheus takes every fall for a restart, and counts nearly everything twice then).
    #[must_use]
    pub fn growth(&self, before: &Self, restarted: bool) -> Self {
        let counter = |before: f64, after: f64| increase(before, after, restarted);
        Self {
            arrivals: counter(before.arrivals, self.arrivals),
            refused: counter(before.refused, self.refused),
            met: counter(before.met, self.met),
            missed: counter(before.missed, self.missed),
            cached: counter(before.cached, self.cached),
            prompted: counter(before.prompted, self.prompted),
            input: histogram_growth(&before.input, &self.input, restarted),
            output: histogram_growth(&before.output, &self.output, restarted),
            ttft: histogram_growth(&before.ttft, &self.ttft, restarted),
            tpot: histogram_growth(&before.tpot, &self.tpot, restarted),
        }
    }

    /// Judges its requests by the bounds of `class`, for origins that do not judge themselves: as missed count the refused
    /// and those beyond the bound that more of them are beyond. One request may miss by both times, so this is the least
    /// that can have missed. Without a bound or a histogram, all that were not refused count as met.
    pub fn judge(&mut self, class: &ClassTarget) {
        if self.met + self.missed > 0.0 {
            return;
        }
        let beyond = |h: &Histogram, bound: Option<f64>| bound.and_then(|b| above(h, b));
        let (first, gap) = (
            beyond(&self.ttft, class.ttft_s),
            beyond(&self.tpot, class.tpot_s),
        );
        let judged = match (first, gap) {
            (None, None) if self.refused > 0.0 => (self.arrivals - self.refused).max(0.0),
            (None, None) => return,
            (Some(_), _) => self.ttft.count,
            (None, Some(_)) => self.tpot.count,
        };
        let missed = first.unwrap_or(0.0).max(gap.unwrap_or(0.0)).min(judged);
        self.met = judged - missed;
        self.missed = missed + self.refused;
    }

    /// Requests in the fullest of its histograms; infinite where one of them is no number.
    #[must_use]
    pub fn greatest_count(&self) -> f64 {
        let of = [&self.input, &self.output, &self.ttft, &self.tpot];
        let counts = of.into_iter().map(|h| h.count);
        let known = counts.map(|c| if c.is_nan() { f64::INFINITY } else { c });
        known.fold(0.0, f64::max)
    }

    /// Share of prompt tokens found in caches; `None` where it is not reported.
    #[must_use]
    pub fn prefix_hit(&self) -> Option<f64> {
        (self.prompted > 0.0).then(|| (self.cached / self.prompted).clamp(0.0, 1.0))
    }
}

fn increase(before: f64, after: f64, restarted: bool) -> f64 {
    if !(after.is_finite() && after >= 0.0) {
        0.0
    } else if restarted || !before.is_finite() {
        after
    } else if after >= before {
        after - before
    } else if after < before / 2.0 {
        after
    } else {
        0.0
    }
}

fn histogram_growth(before: &Histogram, after: &Histogram, restarted: bool) -> Histogram {
    let sane = |h: &Histogram| {
        h.counts
            .iter()
            .chain([&h.count, &h.sum])
            .all(|x| x.is_finite() && *x >= 0.0)
    };
    if after.bounds.is_empty() || !sane(after) {
        return Histogram::default();
    }
    let fell = after.count < before.count;
    if restarted || (fell && after.count < before.count / 2.0) {
        return after.clone();
    }
    if fell || before.bounds != after.bounds || !sane(before) {
        return Histogram::default();
    }
    let minus = |a: &f64, b: &f64| (a - b).max(0.0);
    Histogram {
        bounds: after.bounds.clone(),
        counts: after
            .counts
            .iter()
            .zip(&before.counts)
            .map(|(a, b)| minus(a, b))
            .collect(),
        count: after.count - before.count,
        sum: minus(&after.sum, &before.sum),
    }
}

/// Observations above `bound`, taking a bucket's own as spread evenly over it; `None` for an empty histogram.
fn above(h: &Histogram, bound: f64) -> Option<f64> {
    if h.bounds.is_empty() || h.count <= 0.0 {
        return None;
    }
    let at = h.bounds.partition_point(|&b| b < bound);
    let edge = |i: Option<usize>| i.map_or((0.0, 0.0), |i| (h.bounds[i], h.counts[i]));
    let (low, below) = edge(at.checked_sub(1));
    let within = match h.bounds.get(at) {
        Some(&high) => {
            below + (h.counts[at] - below).max(0.0) * ((bound - low) / (high - low)).clamp(0.0, 1.0)
        }
        // Nothing is known of the last bucket: all in it are taken to be above.
        None => below,
    };
    Some((h.count - within).clamp(0.0, h.count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: &[f64], count: f64) -> Histogram {
        Histogram {
            bounds: (1..=counts.len()).map(|b| b as f64).collect(),
            counts: counts.to_vec(),
            count,
            sum: count,
        }
    }

    #[test]
    fn growth_knows_restarts_from_late_reads() {
        let tally = |arrivals: f64, count: f64| Tally {
            arrivals,
            input: histogram(&[count / 2.0, count], count),
            ..Tally::default()
        };
        let grown = |a: (f64, f64), b: (f64, f64)| {
            let g = tally(b.0, b.1).growth(&tally(a.0, a.1), false);
            (g.arrivals, g.input.count)
        };
        assert_eq!(grown((10.0, 8.0), (15.0, 12.0)), (5.0, 4.0));
        assert_eq!(grown((100.0, 80.0), (3.0, 2.0)), (3.0, 2.0));
        assert_eq!(grown((100.0, 80.0), (99.0, 79.0)), (0.0, 0.0));
        assert_eq!(grown((10.0, 8.0), (f64::NAN, 12.0)), (0.0, 4.0));
        assert_eq!(
            tally(99.0, 79.0).growth(&tally(100.0, 80.0), true).arrivals,
            99.0
        );
    }

    #[test]
    fn misses_are_what_lies_beyond_the_bounds() {
        let class = ClassTarget {
            ttft_s: Some(1.5),
            tpot_s: Some(1.0),
            ..ClassTarget::default()
        };
        let mut t = Tally {
            ttft: histogram(&[60.0, 80.0], 100.0),
            tpot: histogram(&[95.0, 100.0], 100.0),
            refused: 7.0,
            ..Tally::default()
        };
        t.judge(&class);
        assert_eq!((t.met, t.missed), (70.0, 37.0));
        let mut unknown = Tally::default();
        unknown.judge(&class);
        assert_eq!((unknown.met, unknown.missed), (0.0, 0.0));
        unknown.arrivals = 10.0;
        unknown.refused = 7.0;
        unknown.judge(&class);
        assert_eq!((unknown.met, unknown.missed), (3.0, 7.0));
        assert_eq!(above(&histogram(&[60.0, 80.0], 100.0), 9.0), Some(20.0));
    }

    #[test]
    fn histograms_of_other_bounds_are_united() {
        let mut t = Tally {
            input: histogram(&[1.0, 2.0], 4.0),
            ..Tally::default()
        };
        t.add(&Tally {
            input: histogram(&[1.0, 2.0, 3.0], 3.0),
            ..Tally::default()
        });
        assert_eq!(t.input.bounds, [1.0, 2.0, 3.0]);
        assert_eq!(
            (t.input.counts.as_slice(), t.input.count),
            (&[2.0, 4.0, 5.0][..], 7.0)
        );
        t.add(&Tally {
            input: Histogram {
                count: 9.0,
                ..Histogram::default()
            },
            ..Tally::default()
        });
        assert_eq!(t.input.count, 7.0);
    }
}
