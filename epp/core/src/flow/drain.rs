//! How fast requests are let through.

/// An exponentially weighted rate, corrected for the time it has not seen yet.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Drain {
    weight: f64,
    first: Option<f64>,
    last: f64,
    count: u32,
    /// What the latency models say the pool serves per second, for when nothing was seen.
    pub expected: Option<f64>,
}

/// Seconds over which the rate is averaged.
const OVER_S: f64 = 30.0;
/// Departures from which the rate counts as seen.
const ENOUGH: u32 = 5;

impl Drain {
    pub(super) fn went(&mut self, now: f64) {
        let idle = now - self.last;
        // A rate from before a long quiet time says nothing.
        if self.first.is_none() || idle > 4.0 * OVER_S {
            *self = Self {
                first: Some(now),
                last: now,
                expected: self.expected,
                ..Self::default()
            };
            return;
        }
        self.weight = self.weight * (-idle.max(0.0) / OVER_S).exp() + 1.0 / OVER_S;
        self.last = now;
        self.count = self.count.saturating_add(1);
    }

    /// Requests per second; what is expected where too few were seen, `None` where nothing is.
    #[must_use]
    pub fn rate(&self, now: f64) -> Option<f64> {
        let seen = self
            .first
            .filter(|_| self.count >= ENOUGH && now - self.last < 4.0 * OVER_S);
        let seen = seen.map(|first| {
            let share = 1.0 - (-(now - first).max(1e-3) / OVER_S).exp();
            self.weight * (-(now - self.last).max(0.0) / OVER_S).exp() / share
        });
        seen.or(self.expected).filter(|r| r.is_finite() && *r > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_what_went() {
        let mut drain = Drain::default();
        assert_eq!(drain.rate(0.0), None);
        drain.expected = Some(3.0);
        assert_eq!(drain.rate(0.0), Some(3.0));
        for i in 0..=100 {
            drain.went(f64::from(i) * 0.1);
            if i >= 20 {
                let rate = drain.rate(f64::from(i) * 0.1).expect("seen");
                assert!((8.0..12.0).contains(&rate), "{i}: {rate}");
            }
        }
        assert_eq!(drain.rate(1000.0), Some(3.0));
    }
}
