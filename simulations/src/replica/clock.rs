//! The engine's own clock and the closed form of a stretch of decode iterations.

use crate::time::Time;

/// A point in time with a fraction of a nanosecond, so that cutting a stretch in two rounds nothing away.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Clock {
    whole: u64,
    fraction: f64,
}

impl Clock {
    pub(super) const fn at(time: Time) -> Self {
        Self {
            whole: time.0,
            fraction: 0.0,
        }
    }

    /// The event time of the point `offset` nanoseconds later: the nearest whole nanosecond.
    #[inline]
    pub(super) fn after(&self, offset: f64) -> Time {
        Time(
            self.whole
                .saturating_add((self.fraction + offset + 0.5) as u64),
        )
    }

    /// Moves on by `offset` nanoseconds.
    #[inline]
    pub(super) fn advance(&mut self, offset: f64) {
        let total = self.fraction + offset;
        let whole = total.floor();
        self.whole = self.whole.saturating_add(whole as u64);
        self.fraction = total - whole;
    }
}

/// Decode iterations of one batch: every iteration reads one more KV token per sequence than the one before, so their
/// durations are an arithmetic progression and the end of the j-th is `j·first + step·j(j−1)/2` after the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stretch {
    /// Duration of the first iteration, ns, at least 1.
    pub(super) first: f64,
    /// What each iteration takes longer than the one before, ns.
    pub(super) step: f64,
    /// Iterations until something changes.
    pub(super) iterations: u64,
}

impl Stretch {
    /// Nanoseconds from the start to the end of the `j`-th iteration.
    #[inline]
    pub(super) fn offset(&self, j: u64) -> f64 {
        let j = j as f64;
        j * self.first + self.step * j * (j - 1.0) * 0.5
    }

    /// The first iteration that ends at or after `time`: the least j ≥ 1 with its event time ≥ `time`.
    pub(super) fn iteration_at(&self, start: &Clock, time: Time) -> u64 {
        let x = time.0.saturating_sub(start.whole) as f64 - start.fraction;
        let b = self.first - 0.5 * self.step;
        // The positive root of step/2·j² + b·j = x, in the form that stays exact as step goes to 0.
        let root = 2.0 * x / (b + (b * b + 2.0 * self.step * x).max(0.0).sqrt());
        let mut j = (root.ceil() as u64).max(1);
        while j > 1 && start.after(self.offset(j - 1)) >= time {
            j -= 1;
        }
        while start.after(self.offset(j)) < time {
            j += 1;
        }
        j
    }

    /// How many of its iterations have ended by `time`.
    pub(super) fn ended_by(&self, start: &Clock, time: Time) -> u64 {
        let j = self.iteration_at(start, time).min(self.iterations);
        if start.after(self.offset(j)) <= time {
            j
        } else {
            j - 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_iteration_in_progress(first in 1e3..1e8f64, step in 0.0..1e5f64, fraction in 0.0..1.0f64, t in 0..10_000_000_000u64) {
            let start = Clock { whole: 1_000, fraction };
            let s = Stretch { first, step, iterations: u64::MAX };
            let time = Time(1_000 + t);
            let j = s.iteration_at(&start, time);
            prop_assert!(start.after(s.offset(j)) >= time);
            prop_assert!(j == 1 || start.after(s.offset(j - 1)) < time);
        }

        #[test]
        fn a_cut_stretch_ends_where_the_whole_one_does(first in 1e5..1e8f64, step in 0.0..1e4f64, n in 2..2000u64, cut in 0.0..1.0f64) {
            let whole = Stretch { first, step, iterations: n };
            let j = ((n as f64 * cut) as u64).clamp(1, n - 1);
            let mut clock = Clock::at(Time(7));
            let end = clock.after(whole.offset(n));
            clock.advance(whole.offset(j));
            let rest = Stretch { first: first + step * j as f64, step, iterations: n - j };
            let end_of_cut = clock.after(rest.offset(n - j));
            prop_assert!(end.0.abs_diff(end_of_cut.0) <= 1);
        }
    }
}
