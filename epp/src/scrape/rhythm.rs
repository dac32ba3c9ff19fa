//! When each server is read: at its own moment of every interval, and less often while it fails.
//!
//! Reading all servers at the same moment makes every request that comes then wait behind a hundred pages. Moments are
//! multiples of the golden ratio, modulo 1: any number of servers is spread evenly, also after some came and others went,
//! and no moment moves when another server comes. (A hash of the address would leave gaps and heaps.)
//!
//! To be woken costs as much as to read a page, so moments are rounded up to a [`GRID`]: a hundred servers each 500 ms are
//! read four at a time.

/// Failures in a row after which a server is read ever less often.
const PATIENCE: u32 = 1;
/// Longest time between two attempts, seconds, unless the interval itself is longer: a server that is back should be
/// noticed before its numbers are missed.
const LONGEST_S: f64 = 10.0;
/// Seconds between two moments at least.
pub const GRID: f64 = 0.020;
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
        let grid = GRID.min(self.interval);
        let moment = (from.floor() + 1.0 + self.phase) * self.interval;
        let moment = (moment / grid).ceil() * grid;
        if moment > now { moment } else { moment + grid }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hundred_servers_are_spread_evenly() {
        let mut at_once = [0; 25];
        for i in 0..100 {
            let after = Rhythm::of(i, 0.5).next(7.0, 0) - 7.0;
            at_once[(after / GRID).round() as usize - 1] += 1;
        }
        assert!(at_once.iter().all(|n| (3..=5).contains(n)), "{at_once:?}");
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
            prop_assert!(next > now && next - now <= LONGEST_S + 0.25 + GRID);
            let late = (next / 0.25 - rhythm.phase).rem_euclid(1.0) * 0.25;
            prop_assert!(!(GRID + 1e-6..0.25 - 1e-6).contains(&late), "{}", late);
        }
    }
}
