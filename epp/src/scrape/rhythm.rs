//! When each server is read: at its own moment of every interval, and less often while it fails.
//!
//! Reading all servers at the same moment makes every request that comes then wait behind a hundred pages. Moments are
//! multiples of the golden ratio, modulo 1: any number of servers is spread evenly, also after some came and others went,
//! and no moment moves when another server comes. (A hash of the address would leave gaps and heaps.)

/// Failures in a row after which a server is read ever less often.
const PATIENCE: u32 = 1;
/// Longest time between two attempts, seconds, unless the interval itself is longer: a server that is back should be
/// noticed before its numbers are missed.
const LONGEST_S: f64 = 10.0;
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// The moments of one server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rhythm {
    interval: f64,
    phase: f64,
}

impl Rhythm {
    /// The moments of the server with this number, every `interval` seconds.
    #[must_use]
    pub fn of(number: usize, interval: f64) -> Self {
        let phase = (number as f64 * GOLDEN).fract();
        Self { interval, phase }
    }

    /// The next moment after `now`, seconds, when the last `failures` attempts have failed. Moments that were missed
    /// are left out.
    #[must_use]
    pub fn next(&self, now: f64, failures: u32) -> f64 {
        let skipped = failures.saturating_sub(PATIENCE).min(16);
        let rest = self.interval * (f64::from(skipped).exp2() - 1.0);
        let rest = rest.min((LONGEST_S - self.interval).max(0.0));
        let from = (now + rest) / self.interval - self.phase;
        // Rounding may give the moment that is now.
        let moment = (from.floor() + 1.0 + self.phase) * self.interval;
        if moment > now {
            moment
        } else {
            moment + self.interval
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hundred_servers_are_spread_evenly() {
        let mut moments: Vec<f64> = (0..100).map(|i| Rhythm::of(i, 0.5).next(7.0, 0)).collect();
        moments.sort_by(f64::total_cmp);
        let widest = moments.windows(2).map(|w| w[1] - w[0]).fold(0.0, f64::max);
        // A hundredth of the interval would be perfect; three gap lengths exist, the largest below its double.
        assert!(widest < 2.0 * 0.5 / 100.0, "{widest}");
    }

    #[test]
    fn failures_make_it_rarer_up_to_a_bound() {
        let rhythm = Rhythm::of(3, 0.5);
        let wait = |failures| rhythm.next(100.0, failures) - 100.0;
        assert!(wait(1) <= 0.5 && wait(3) > 1.5 && wait(3) <= 2.0);
        assert!((0..40).all(|f| wait(f) <= LONGEST_S) && wait(30) > 9.0);
        assert!(Rhythm::of(3, 60.0).next(0.0, 9) <= 60.0);
    }

    proptest! {
        #[test]
        fn the_next_moment_is_after_now_and_in_step(n in 0_usize..5000, now in 0.0..1e7_f64, failures in 0_u32..40) {
            let rhythm = Rhythm::of(n, 0.25);
            let next = rhythm.next(now, failures);
            prop_assert!(next > now && next - now <= LONGEST_S + 0.25);
            let step = (next / 0.25 - rhythm.phase).fract();
            prop_assert!(step.min(1.0 - step) < 1e-6, "{}", step);
        }
    }
}
