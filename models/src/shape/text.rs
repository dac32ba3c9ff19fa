//! How a request shape is written in YAML.
//!
//! ```yaml
//! input_tokens: {mean: 1155, cv: 1.2, max: 8192}   # lognormal; `family: gamma` for gamma, `cv: 1` then is exponential
//! output_tokens: 211                                # always 211; or {uniform: [100, 300]}
//! correlation: 0.3                                  # optional, Gaussian copula
//! prefix_hit: 0.2                                   # share of input tokens found in the prefix cache
//! ```

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{Length, RequestShape, ShapeError};
use crate::units::Fraction;

/// A request shape as a user writes it; deserialising it checks every number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeText {
    /// Input tokens per request.
    pub input_tokens: LengthText,
    /// Output tokens per request.
    pub output_tokens: LengthText,
    /// Correlation between the two, −1 to 1; absent means independent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Correlation>,
    /// Share of input tokens found in the prefix cache.
    #[serde(default = "no_hits")]
    pub prefix_hit: Fraction,
}

const fn no_hits() -> Fraction {
    Fraction::ZERO
}

impl ShapeText {
    /// The shape.
    ///
    /// # Errors
    /// None for a text that was deserialised, since that checks the numbers; the type follows [`RequestShape::new`].
    pub fn shape(&self) -> Result<RequestShape, ShapeError> {
        let (input, output) = (self.input_tokens.length()?, self.output_tokens.length()?);
        let hit = self.prefix_hit.get();
        match self.correlation {
            Some(rho) if rho.0 != 0.0 => RequestShape::correlated(&input, &output, rho.0, hit),
            _ => RequestShape::independent(&input, &output, hit),
        }
    }
}

/// A correlation between −1 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Correlation(f64);

impl TryFrom<f64> for Correlation {
    type Error = ShapeError;
    fn try_from(value: f64) -> Result<Self, ShapeError> {
        if (-1.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(ShapeError::Invalid {
                what: "correlation",
                domain: "between -1 and 1",
                value,
            })
        }
    }
}

impl From<Correlation> for f64 {
    fn from(value: Correlation) -> Self {
        value.0
    }
}

/// A length distribution as a user writes it: a number, `{mean, cv, max, family}`, or `{uniform: [low, high]}`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LengthText {
    /// Always this many tokens.
    Fixed(f64),
    /// Between two numbers of tokens.
    Uniform(f64, f64),
    /// A family with mean, coefficient of variation and, where given, a maximum.
    Family {
        /// Shape of the distribution.
        family: LengthFamily,
        /// Mean tokens.
        mean: f64,
        /// Coefficient of variation.
        cv: f64,
        /// Longer values count as this many.
        max: Option<f64>,
    },
}

/// Families of length distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LengthFamily {
    /// Lognormal, the usual fit for prompts.
    #[default]
    Lognormal,
    /// Gamma; exponential when cv is 1.
    Gamma,
}

impl LengthText {
    /// The distribution.
    ///
    /// # Errors
    /// [`ShapeError`] when a number is out of range or numbers contradict each other.
    pub fn length(&self) -> Result<Length, ShapeError> {
        match *self {
            Self::Fixed(tokens) => Length::fixed(tokens),
            Self::Uniform(low, high) => Length::uniform(low, high),
            Self::Family {
                family,
                mean,
                cv,
                max,
            } => match family {
                LengthFamily::Lognormal => Length::lognormal(mean, cv, max),
                LengthFamily::Gamma => Length::gamma(mean, cv, max),
            },
        }
    }
}

/// The map form, with every key optional so that a wrong combination gets one clear message.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LengthMap {
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cv: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<LengthFamily>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uniform: Option<(f64, f64)>,
}

impl TryFrom<LengthMap> for LengthText {
    type Error = ShapeError;
    fn try_from(map: LengthMap) -> Result<Self, ShapeError> {
        match map {
            LengthMap {
                mean: None,
                cv: None,
                max: None,
                family: None,
                uniform: Some((low, high)),
            } => Ok(Self::Uniform(low, high)),
            LengthMap {
                mean: Some(mean),
                cv,
                max,
                family,
                uniform: None,
            } => match (cv, max, family) {
                (None, None, None) => Ok(Self::Fixed(mean)),
                (None, ..) => Err(ShapeError::Text(
                    "a length with a mean and a max or family needs its coefficient of variation too: \
                     {mean: 1155, cv: 1.2}",
                )),
                (Some(cv), ..) => Ok(Self::Family {
                    family: family.unwrap_or_default(),
                    mean,
                    cv,
                    max,
                }),
            },
            _ => Err(ShapeError::Text(
                "a length is a number, {mean: 1155, cv: 1.2} or {uniform: [100, 300]}",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for LengthText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(LengthVisitor)?;
        text.length().map_err(de::Error::custom)?;
        Ok(text)
    }
}

struct LengthVisitor;

impl<'de> Visitor<'de> for LengthVisitor {
    type Value = LengthText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of tokens, {mean: 1155, cv: 1.2} or {uniform: [100, 300]}")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<LengthText, E> {
        Ok(LengthText::Fixed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<LengthText, E> {
        Ok(LengthText::Fixed(value as f64))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<LengthText, E> {
        Ok(LengthText::Fixed(value as f64))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<LengthText, A::Error> {
        LengthMap::deserialize(MapAccessDeserializer::new(map))?
            .try_into()
            .map_err(de::Error::custom)
    }
}

impl Serialize for LengthText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Fixed(tokens) => serializer.serialize_f64(tokens),
            Self::Uniform(low, high) => LengthMap {
                uniform: Some((low, high)),
                ..LengthMap::default()
            }
            .serialize(serializer),
            Self::Family {
                family,
                mean,
                cv,
                max,
            } => LengthMap {
                mean: Some(mean),
                cv: Some(cv),
                max,
                family: (family != LengthFamily::default()).then_some(family),
                uniform: None,
            }
            .serialize(serializer),
        }
    }
}
