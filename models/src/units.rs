//! Physical quantities as newtypes, so that a mean is never added to a rate and milliseconds never pass for seconds.
//!
//! Every constructor rejects NaN, infinities and negative numbers; conversions happen only here, at the edge.
//! The numeric cores work on the plain `f64` from [`Seconds::get`] and friends: a newtype per arithmetic
//! intermediate would hide the mathematics without catching more mistakes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a number is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum UnitError {
    /// The number is NaN or infinite.
    #[error("{quantity} must be a finite number, not {value}")]
    NotFinite {
        /// What was being made.
        quantity: &'static str,
        /// The offending number.
        value: f64,
    },
    /// The number is outside the quantity's domain.
    #[error("{quantity} must be {domain}, not {value}")]
    OutOfDomain {
        /// What was being made.
        quantity: &'static str,
        /// The offending number.
        value: f64,
        /// The domain in words.
        domain: &'static str,
    },
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $label:literal, $max:expr, $domain:literal, $suffix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            /// Zero of this quantity.
            pub const ZERO: Self = Self(0.0);

            /// The quantity, or why `value` cannot be one.
            ///
            /// # Errors
            /// [`UnitError`] when `value` is NaN, infinite or outside the domain.
            pub fn new(value: f64) -> Result<Self, UnitError> {
                if !value.is_finite() {
                    return Err(UnitError::NotFinite { quantity: $label, value });
                }
                if !(0.0..=$max).contains(&value) {
                    return Err(UnitError::OutOfDomain { quantity: $label, value, domain: $domain });
                }
                Ok(Self(value))
            }

            /// The plain number, in the unit that the type is named after.
            #[must_use]
            pub const fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = UnitError;
            fn try_from(value: f64) -> Result<Self, UnitError> {
                Self::new(value)
            }
        }

        impl From<$name> for f64 {
            fn from(value: $name) -> f64 {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)?;
                f.write_str($suffix)
            }
        }
    };
}

quantity!(
    /// A duration in seconds, at least 0.
    Seconds, "a duration in seconds", f64::MAX, "at least 0", " s"
);
quantity!(
    /// A rate of requests per second, at least 0.
    RequestsPerSecond, "a request rate", f64::MAX, "at least 0", " rps"
);
quantity!(
    /// A (mean) number of tokens, at least 0.
    Tokens, "a number of tokens", f64::MAX, "at least 0", " tokens"
);
quantity!(
    /// A price in US dollars per hour, at least 0.
    DollarsPerHour, "a price in $/h", f64::MAX, "at least 0", " $/h"
);
quantity!(
    /// A fraction between 0 and 1.
    Fraction, "a fraction", 1.0, "between 0 and 1", ""
);

impl Seconds {
    /// The duration of `millis` milliseconds.
    ///
    /// # Errors
    /// [`UnitError`] when `millis` is NaN, infinite or negative.
    pub fn from_millis(millis: f64) -> Result<Self, UnitError> {
        Self::new(millis / 1e3)
    }

    /// This duration in milliseconds.
    #[must_use]
    pub fn as_millis(self) -> f64 {
        self.0 * 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_what_is_not_a_quantity() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e-9] {
            assert!(Seconds::new(bad).is_err(), "{bad}");
            assert!(DollarsPerHour::new(bad).is_err(), "{bad}");
        }
        assert!(Fraction::new(1.000_001).is_err());
        assert_eq!(Fraction::new(1.0).map(Fraction::get), Ok(1.0));
    }

    #[test]
    fn converts_only_at_the_edge() {
        let s = Seconds::from_millis(250.0).expect("finite");
        assert_eq!((s.get(), s.as_millis()), (0.25, 250.0));
    }
}
