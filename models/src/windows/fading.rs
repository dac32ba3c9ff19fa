//! A sum that forgets.

use serde::{Deserialize, Serialize};

use super::counter::{is_amount, is_time};

/// A sum of amounts whose weight halves every half-life.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FadingSum {
    half_life_s: f64,
    at: f64,
    sum: f64,
}

impl FadingSum {
    /// Nothing yet; weights halve every `half_life_s` seconds (at least 1).
    #[must_use]
    pub const fn new(half_life_s: f64) -> Self {
        Self {
            half_life_s: if half_life_s >= 1.0 { half_life_s } else { 1.0 },
            at: 0.0,
            sum: 0.0,
        }
    }

    /// Adds `amount`, seen at `at` seconds. What is NaN, infinite or negative is ignored; what is late counts as if it
    /// had come with the latest; what is older by many half-lives comes from a clock that went back, and starts afresh.
    pub fn add(&mut self, at: f64, amount: f64) {
        if !is_time(at) || !is_amount(amount) {
            return;
        }
        let elapsed = at - self.at;
        if elapsed < -20.0 * self.half_life_s {
            (self.at, self.sum) = (at, amount);
            return;
        }
        self.sum = self.sum * (-elapsed.max(0.0) / self.half_life_s).exp2() + amount;
        self.at = self.at.max(at);
    }

    /// The sum as of the latest addition.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_in_its_half_life_and_ignores_nonsense() {
        let mut sum = FadingSum::new(100.0);
        sum.add(1000.0, 8.0);
        sum.add(1100.0, 1.0);
        assert_eq!(sum.value(), 5.0);
        sum.add(1050.0, 1.0);
        for (at, amount) in [
            (f64::NAN, 1.0),
            (1200.0, f64::NAN),
            (1200.0, -1.0),
            (f64::INFINITY, 1.0),
        ] {
            sum.add(at, amount);
        }
        assert_eq!(sum.value(), 6.0);
        sum.add(1e11, 1.0);
        sum.add(1200.0, 2.0);
        assert_eq!(sum.value(), 2.0);
    }
}
