//! A cumulative counter, remembered over a bounded time.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// What [`CounterWindow::observe`] made of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Observed {
    /// The first sample, or the first after the clock went back by more than the window: a baseline, nothing counted.
    Baseline,
    /// The counter grew by this much over this many seconds.
    Grew {
        /// Increase since the previous sample, at least 0.
        increase: f64,
        /// Seconds since the previous sample, more than 0.
        seconds: f64,
    },
    /// Not a sample: NaN, negative, absurd (a time beyond 10¹² s, a count beyond 10¹⁵), or no later than the one before.
    Ignored,
}

/// Events counted over one interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    /// End of the interval.
    pub end: f64,
    /// Its length in seconds.
    pub seconds: f64,
    /// Events in it.
    pub count: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Point {
    at: f64,
    total: f64,
}

/// The recent past of one cumulative counter of one source.
///
/// A counter that falls below half of its previous value has restarted from zero, and what it shows was counted since
/// (Prometheus' rule). A smaller fall is a late read, or a sum that lost a member: nothing is counted then, because the
/// rule would count nearly everything twice. Sum the increases of several sources, not their counters.
///
/// Memory: at most `capacity` samples; older ones and those beyond `span_s` seconds are forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CounterWindow {
    span_s: f64,
    capacity: usize,
    points: VecDeque<Point>,
    raw: f64,
}

impl CounterWindow {
    /// An empty window that remembers `span_s` seconds and at most `capacity` samples (at least 2).
    #[must_use]
    pub fn new(span_s: f64, capacity: usize) -> Self {
        Self {
            span_s: if span_s.is_finite() {
                span_s.max(1.0)
            } else {
                3600.0
            },
            capacity: capacity.max(2),
            points: VecDeque::new(),
            raw: 0.0,
        }
    }

    /// Takes the sample `value` of time `at`.
    pub fn observe(&mut self, at: f64, value: f64) -> Observed {
        if !is_time(at) || !is_amount(value) {
            return Observed::Ignored;
        }
        let Some(&last) = self.points.back() else {
            return self.restart(at, value);
        };
        if at < last.at - self.span_s {
            return self.restart(at, value);
        }
        let seconds = at - last.at;
        if seconds <= 0.0 {
            return Observed::Ignored;
        }
        let increase = increase(self.raw, value);
        self.raw = value;
        self.push(Point {
            at,
            total: last.total + increase,
        });
        Observed::Grew { increase, seconds }
    }

    fn restart(&mut self, at: f64, value: f64) -> Observed {
        self.points.clear();
        self.points.push_back(Point { at, total: 0.0 });
        self.raw = value;
        Observed::Baseline
    }

    /// Appends, keeping one sample at or before the start of the span so that a rate can reach back all of it.
    fn push(&mut self, point: Point) {
        self.points.push_back(point);
        let start = point.at - self.span_s;
        while self.points.len() > self.capacity || self.points.get(1).is_some_and(|p| p.at <= start)
        {
            self.points.pop_front();
        }
    }

    /// Time of the newest sample.
    #[must_use]
    pub fn newest(&self) -> Option<f64> {
        self.points.back().map(|p| p.at)
    }

    /// Events per second over the last `seconds` before `now`; of the part that samples cover, where they do not cover
    /// all. `None` when fewer than two samples bear on it.
    #[must_use]
    pub fn rate(&self, now: f64, seconds: f64) -> Option<f64> {
        let (count, covered) = self.count(now, seconds)?;
        Some(count / covered)
    }

    /// Events in the last `seconds` before `now`, and how many of those seconds the samples cover (more than 0).
    /// A sample interval that straddles the start counts in proportion.
    #[must_use]
    pub fn count(&self, now: f64, seconds: f64) -> Option<(f64, f64)> {
        let start = now - seconds;
        let end = self.points.partition_point(|p| p.at <= now);
        let last = self.points.get(end.checked_sub(1)?)?;
        let first = self.points.partition_point(|p| p.at <= start);
        let from = match (first.checked_sub(1), self.points.get(first)) {
            (Some(before), Some(after)) => between(&self.points[before], after, start),
            (None, Some(&oldest)) => oldest,
            (_, None) => return None,
        };
        let covered = last.at - from.at;
        (covered > 0.0).then(|| ((last.total - from.total).max(0.0), covered))
    }

    /// Consecutive intervals of at least `slot_s` seconds each (as few samples as make that up), oldest first, over the
    /// whole window. The newest may be missing a few samples: it is left out until full.
    #[must_use]
    pub fn slots(&self, slot_s: f64) -> Vec<Slot> {
        let mut slots = Vec::new();
        let Some(mut from) = self.points.front() else {
            return slots;
        };
        for p in &self.points {
            let seconds = p.at - from.at;
            if seconds > 0.0 && seconds >= slot_s * (1.0 - 1e-6) {
                slots.push(Slot {
                    end: p.at,
                    seconds,
                    count: p.total - from.total,
                });
                from = p;
            }
        }
        slots
    }
}

/// Whether a number can be a time in seconds.
pub(crate) fn is_time(at: f64) -> bool {
    at.abs() <= 1e12
}

/// Whether a number can be a count or a sum: beyond 10¹⁵ an f64 no longer tells neighbours apart.
pub(crate) fn is_amount(value: f64) -> bool {
    (0.0..=1e15).contains(&value)
}

/// How much a counter that showed `before` and now shows `after` has counted in between.
pub(super) fn increase(before: f64, after: f64) -> f64 {
    if after >= before {
        after - before
    } else if after < before / 2.0 {
        after
    } else {
        0.0
    }
}

fn between(a: &Point, b: &Point, at: f64) -> Point {
    let w = (at - a.at) / (b.at - a.at);
    Point {
        at,
        total: a.total + (b.total - a.total) * w,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(samples: &[(f64, f64)]) -> CounterWindow {
        let mut w = CounterWindow::new(300.0, 64);
        for &(at, v) in samples {
            w.observe(at, v);
        }
        w
    }

    #[test]
    fn rate_reaches_back_exactly_and_interpolates() {
        let w = fed(&[(0.0, 100.0), (10.0, 120.0), (20.0, 160.0), (30.0, 160.0)]);
        assert_eq!(w.rate(30.0, 30.0), Some(2.0));
        assert_eq!(w.rate(30.0, 15.0), Some(20.0 / 15.0));
        assert_eq!(w.rate(25.0, 25.0), Some(3.0));
        assert_eq!(w.rate(30.0, 1e6), Some(2.0));
        assert_eq!(w.rate(900.0, 60.0), None);
    }

    #[test]
    fn restarts_count_from_zero_and_small_falls_count_nothing() {
        let w = fed(&[(0.0, 1000.0), (10.0, 30.0), (20.0, 60.0)]);
        assert_eq!(w.rate(20.0, 20.0), Some(3.0));
        let w = fed(&[(0.0, 1000.0), (10.0, 700.0), (20.0, 720.0)]);
        assert_eq!(w.rate(20.0, 20.0), Some(1.0));
    }

    #[test]
    fn nonsense_is_ignored_and_a_far_jump_back_restarts() {
        let mut w = fed(&[(0.0, 0.0), (10.0, 10.0)]);
        for (at, v) in [
            (10.0, 99.0),
            (5.0, 99.0),
            (f64::NAN, 1.0),
            (20.0, f64::NAN),
            (20.0, -1.0),
        ] {
            assert_eq!(w.observe(at, v), Observed::Ignored);
        }
        assert_eq!(w.rate(10.0, 10.0), Some(1.0));
        assert_eq!(
            w.observe(1e11, 20.0),
            Observed::Grew {
                increase: 10.0,
                seconds: 1e11 - 10.0
            }
        );
        assert_eq!(w.observe(20.0, 21.0), Observed::Baseline);
        assert_eq!(
            w.observe(30.0, 31.0),
            Observed::Grew {
                increase: 10.0,
                seconds: 10.0
            }
        );
    }

    #[test]
    fn memory_is_bounded_and_covers_the_span() {
        let mut w = CounterWindow::new(60.0, 1000);
        for i in 0..10_000 {
            w.observe(f64::from(i), f64::from(i));
        }
        assert_eq!(w.points.len(), 61);
        assert_eq!(w.count(9999.0, 60.0), Some((60.0, 60.0)));
    }

    #[test]
    fn slots_follow_the_samples() {
        let w = fed(&[
            (0.0, 0.0),
            (7.0, 7.0),
            (16.0, 30.0),
            (31.0, 31.0),
            (35.0, 90.0),
        ]);
        let slots = w.slots(15.0);
        assert_eq!(slots.len(), 2);
        assert_eq!((slots[0].seconds, slots[0].count), (16.0, 30.0));
        assert_eq!((slots[1].seconds, slots[1].count), (15.0, 1.0));
    }
}
