//! How service classes and their bounds are written in YAML.
//!
//! ```yaml
//! classes:
//!   - name: chat
//!     priority: 10
//!     ttft_ms: {p99: 500, per_1k_input_tokens: 200}   # the bound grows with the prompt
//!     itl_ms: {mean: 40}
//!   - name: nightly
//!     deadline_seconds: 3600                           # a batch class
//! ```
//! A bound without a statistic (`ttft_ms: 500`) is refused: whether 500 ms is a mean or a p99 changes the fleet severalfold.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::{Bound, Promise, ServiceClass, Slo, Statistic};
use crate::units::Seconds;

/// Key of the length allowance of a bound.
const ALLOWANCE: &str = "per_1k_input_tokens";

/// Why a class or a bound does not make sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TextError {
    /// Not `mean` or `p` and a number.
    #[error(
        "unknown statistic `{0}`: write mean, or p and a percentile such as p50, p95, p99, p99.9"
    )]
    Statistic(String),
    /// A bound without, or with more than one, statistic.
    #[error(
        "a bound needs exactly one statistic, such as {{p99: 500}} or {{mean: 300}}, in milliseconds; it has {0}"
    )]
    Count(usize),
    /// A bound that is not a positive number of milliseconds.
    #[error("the bound `{key}` must be a number of milliseconds above 0, not {value}")]
    Value {
        /// Key of the bound.
        key: String,
        /// The offending number.
        value: f64,
    },
    /// Deadline and latency bounds together.
    #[error(
        "class `{0}` has a deadline and latency bounds: a batch class waits for spare capacity until its deadline; \
         remove one of them"
    )]
    DeadlineAndBounds(String),
    /// A deadline of zero.
    #[error("the deadline of class `{0}` must be above 0 seconds")]
    NoTime(String),
    /// A class without a name.
    #[error("a class needs a name")]
    NoName,
}

impl FromStr for Statistic {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        if text == "mean" {
            return Ok(Self::Mean);
        }
        text.strip_prefix('p')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
            .and_then(|digits| digits.parse::<f64>().ok())
            .filter(|percent| *percent > 0.0 && *percent < 100.0)
            .map(|percent| Self::Quantile(percent / 100.0))
            .ok_or_else(|| TextError::Statistic(text.to_owned()))
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mean => f.write_str("mean"),
            // Nine digits hide that 0.999 · 100 is not 99.9 in binary.
            Self::Quantile(q) => write!(f, "p{}", (q * 1e11).round() / 1e9),
        }
    }
}

impl Bound {
    fn from_pairs(pairs: Vec<(String, f64)>) -> Result<Self, TextError> {
        let mut per_input_token = 0.0;
        let mut bounds = Vec::new();
        for (key, value) in pairs {
            if !(value.is_finite() && value > 0.0) {
                return Err(TextError::Value { key, value });
            }
            if key == ALLOWANCE {
                per_input_token = value / 1e6;
            } else {
                bounds.push((key.parse::<Statistic>()?, value / 1e3));
            }
        }
        let &[(statistic, limit)] = bounds.as_slice() else {
            return Err(TextError::Count(bounds.len()));
        };
        let seconds = |s: f64| Seconds::new(s).expect("positive and finite");
        Ok(Self {
            statistic,
            limit: seconds(limit),
            per_input_token: seconds(per_input_token),
        })
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoundVisitor)
    }
}

struct BoundVisitor;

impl<'de> Visitor<'de> for BoundVisitor {
    type Value = Bound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a statistic and milliseconds, such as {p99: 500} or {mean: 300}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bound, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            // Checked here already, so that the error points at the key.
            if key != ALLOWANCE {
                key.parse::<Statistic>().map_err(de::Error::custom)?;
            }
            pairs.push((key, map.next_value()?));
        }
        Bound::from_pairs(pairs).map_err(de::Error::custom)
    }
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(&self.statistic.to_string(), &self.limit.as_millis())?;
        if self.per_input_token.get() > 0.0 {
            map.serialize_entry(ALLOWANCE, &(self.per_input_token.get() * 1e6))?;
        }
        map.end()
    }
}

/// How a [`ServiceClass`] is written; deserialising checks the bounds, [`TryFrom`] that they go together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceClassText {
    /// Name, unique in the catalogue.
    pub name: String,
    /// Importance, higher first.
    #[serde(default)]
    pub priority: i32,
    /// TTFT bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<Bound>,
    /// ITL bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_ms: Option<Bound>,
    /// End-to-end bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e2e_ms: Option<Bound>,
    /// Makes it a batch class: finished within this many seconds of arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<Seconds>,
}

impl TryFrom<ServiceClassText> for ServiceClass {
    type Error = TextError;

    fn try_from(text: ServiceClassText) -> Result<Self, TextError> {
        if text.name.trim().is_empty() {
            return Err(TextError::NoName);
        }
        let slo = Slo {
            ttft: text.ttft_ms,
            itl: text.itl_ms,
            e2e: text.e2e_ms,
        };
        let promise = match text.deadline_seconds {
            None => Promise::Interactive(slo),
            Some(_) if slo != Slo::default() => {
                return Err(TextError::DeadlineAndBounds(text.name));
            }
            Some(deadline) if deadline.get() <= 0.0 => return Err(TextError::NoTime(text.name)),
            Some(deadline) => Promise::Batch { deadline },
        };
        Ok(Self {
            name: text.name,
            priority: text.priority,
            promise,
        })
    }
}

impl From<ServiceClass> for ServiceClassText {
    fn from(class: ServiceClass) -> Self {
        let slo = class.slo().copied().unwrap_or_default();
        let deadline_seconds = match class.promise {
            Promise::Interactive(_) => None,
            Promise::Batch { deadline } => Some(deadline),
        };
        Self {
            name: class.name,
            priority: class.priority,
            ttft_ms: slo.ttft,
            itl_ms: slo.itl,
            e2e_ms: slo.e2e,
            deadline_seconds,
        }
    }
}
