//! How long an endpoint takes to start, learned from those that did.

/// A learned start-up time, and the start-up under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StartUp {
    expected: f64,
    seen: u32,
    since: Option<f64>,
}

/// Weight of the newest start-up is at least one over this.
const MEMORY: u32 = 8;

impl StartUp {
    /// A start-up time in seconds to begin with: the variant's.
    #[must_use]
    pub fn new(expected: f64) -> Self {
        let expected = if expected.is_finite() {
            expected.max(0.0)
        } else {
            0.0
        };
        Self {
            expected,
            seen: 0,
            since: None,
        }
    }

    /// Seconds that a start-up takes.
    #[must_use]
    pub const fn expected(&self) -> f64 {
        self.expected
    }

    /// Takes over what somebody else has learned, until a start-up is seen here.
    pub fn expect(&mut self, seconds: f64) {
        if self.seen == 0 && seconds.is_finite() {
            self.expected = seconds.max(0.0);
        }
    }

    pub(super) fn wanted(&mut self, now: f64) {
        self.since.get_or_insert(now);
    }

    pub(super) fn ready(&mut self, now: f64) {
        if let Some(since) = self.since.take() {
            self.seen = (self.seen + 1).min(MEMORY);
            self.expected += ((now - since).max(0.0) - self.expected) / f64::from(self.seen);
        }
    }

    /// Seconds until the start-up under way ends, as far as can be told: what is overdue takes a quarter longer again.
    #[must_use]
    pub fn remaining(&self, now: f64) -> f64 {
        let elapsed = self.since.map_or(0.0, |since| (now - since).max(0.0));
        (self.expected - elapsed).max(0.25 * elapsed)
    }

    /// Seconds for which waiting for a start-up is worth while.
    #[must_use]
    pub fn patience(&self) -> f64 {
        1.5 * self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_up_replaces_the_guess_and_later_ones_refine_it() {
        let mut start_up = StartUp::new(60.0);
        start_up.expect(120.0);
        start_up.wanted(10.0);
        start_up.wanted(20.0);
        assert_eq!(start_up.remaining(40.0), 90.0);
        assert_eq!(start_up.remaining(210.0), 50.0);
        start_up.ready(70.0);
        assert_eq!(start_up.expected(), 60.0);
        start_up.ready(500.0);
        start_up.expect(5.0); // it knows better by now
        start_up.wanted(1000.0);
        start_up.ready(1100.0);
        assert_eq!(start_up.expected(), 80.0);
    }
}
