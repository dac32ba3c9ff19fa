//! Simulated time: whole nanoseconds, so that sums never drift and two runs agree to the bit.
//!
//! f64 seconds would do for a day, but then `a + b + c` depends on the order of addition, and with it the order of
//! events. 2⁶⁴ ns are 584 years.

use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A point in simulated time, or a span of it: nanoseconds since the start of the run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The start of the run, or an empty span.
    pub const ZERO: Self = Self(0);
    /// Later than everything.
    pub const NEVER: Self = Self(u64::MAX);

    /// The nearest nanosecond to `seconds`; negative numbers and NaN give 0, what does not fit gives [`Time::NEVER`].
    #[must_use]
    #[inline]
    pub fn from_seconds(seconds: f64) -> Self {
        // `as` saturates and maps NaN to 0, which is the documented behaviour.
        Self((seconds * 1e9 + 0.5) as u64)
    }

    /// This time in seconds.
    #[must_use]
    #[inline]
    pub fn seconds(self) -> f64 {
        // Divided, not multiplied by 1e-9, which has no exact double: whole seconds stay whole.
        self.0 as f64 / 1e9
    }

    /// The span from `earlier` to this time, zero when `earlier` is later.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Time {
    type Output = Self;
    #[inline]
    fn add(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign for Time {
    #[inline]
    fn add_assign(&mut self, span: Self) {
        *self = *self + span;
    }
}

impl Sub for Time {
    type Output = Self;
    #[inline]
    fn sub(self, earlier: Self) -> Self {
        self.since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_the_nearest_nanosecond_and_saturates() {
        assert_eq!(Time::from_seconds(1.5), Time(1_500_000_000));
        assert_eq!(Time::from_seconds(0.6e-9), Time(1));
        assert_eq!(Time::from_seconds(-1.0), Time::ZERO);
        assert_eq!(Time::from_seconds(f64::NAN), Time::ZERO);
        assert_eq!(Time::from_seconds(f64::INFINITY), Time::NEVER);
        assert_eq!(Time(5) - Time(7), Time::ZERO);
    }
}
