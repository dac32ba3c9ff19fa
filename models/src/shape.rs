//! Request shapes: the joint distribution of input and output tokens, and the prefix-hit fraction.
//!
//! A shape is a weighted set of points. Real prompt lengths are heavy-tailed and correlated with output lengths; a
//! parametric family would have to be chosen per workload, whereas 64 quantile points carry any of them, and every
//! moment and integral that the models need becomes a sum.

mod build;
mod compress;
mod histogram;
mod length;
mod text;

pub use build::{Bucket, POINTS};
pub use histogram::CumulativeHistogram;
pub use length::Length;
pub use text::{Correlation, LengthFamily, LengthText, ShapeText};

use serde::{Deserialize, Serialize};

/// One kind of request and how often it comes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShapePoint {
    /// Input tokens n, at least 1.
    pub input: f64,
    /// Output tokens m, at least 1.
    pub output: f64,
    /// Probability of this point.
    pub weight: f64,
}

/// Why something is not a request shape.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// There is no point with a positive weight.
    #[error("a request shape needs at least one point with a positive weight")]
    Empty,
    /// A number is NaN, infinite or out of range.
    #[error("{what} of a request shape must be {domain}, not {value}")]
    Invalid {
        /// Which number.
        what: &'static str,
        /// Its domain in words.
        domain: &'static str,
        /// The offending number.
        value: f64,
    },
    /// Two numbers exclude each other.
    #[error("{what} ({value}) must be less than {other} ({limit})")]
    Contradiction {
        /// The number that is too large.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it must stay below.
        other: &'static str,
        /// That number's value.
        limit: f64,
    },
    /// The text says too little or too much.
    #[error("{0}")]
    Text(&'static str),
}

/// Joint distribution of input and output tokens, and the share of input tokens found in the prefix cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestShape {
    points: Vec<ShapePoint>,
    prefix_hit: f64,
}

impl RequestShape {
    /// A shape from weighted points; weights are normalised to sum to 1. Inputs and outputs are rounded up to 1 token.
    ///
    /// # Errors
    /// [`ShapeError`] when no weight is positive, a number is not finite, or `prefix_hit` is outside [0, 1].
    pub fn new(mut points: Vec<ShapePoint>, prefix_hit: f64) -> Result<Self, ShapeError> {
        for p in &points {
            check("input tokens", p.input)?;
            check("output tokens", p.output)?;
            check("weight", p.weight)?;
        }
        if !(0.0..=1.0).contains(&prefix_hit) {
            return Err(ShapeError::Invalid {
                what: "prefix-hit fraction",
                domain: "between 0 and 1",
                value: prefix_hit,
            });
        }
        points.retain(|p| p.weight > 0.0);
        let total: f64 = points.iter().map(|p| p.weight).sum();
        if points.is_empty() || !total.is_finite() {
            return Err(ShapeError::Empty);
        }
        for p in &mut points {
            p.weight /= total;
            p.input = p.input.max(1.0);
            p.output = p.output.max(1.0);
        }
        Ok(Self { points, prefix_hit })
    }

    /// Every request has `input` and `output` tokens.
    ///
    /// # Errors
    /// As [`RequestShape::new`].
    pub fn fixed(input: f64, output: f64) -> Result<Self, ShapeError> {
        Self::new(
            vec![ShapePoint {
                input,
                output,
                weight: 1.0,
            }],
            0.0,
        )
    }

    /// The points; weights sum to 1.
    #[must_use]
    pub fn points(&self) -> &[ShapePoint] {
        &self.points
    }

    /// Share of input tokens found in the prefix cache, h.
    #[must_use]
    pub const fn prefix_hit(&self) -> f64 {
        self.prefix_hit
    }

    /// The same requests with every point and the prefix-hit fraction changed; `None` where the result is no shape.
    #[must_use]
    pub fn map_points(
        &self,
        f: impl Fn(&ShapePoint) -> ShapePoint,
        prefix_hit: f64,
    ) -> Option<Self> {
        Self::new(self.points.iter().map(f).collect(), prefix_hit).ok()
    }

    /// `E[f(point)]` under this shape.
    pub fn mean_of(&self, f: impl Fn(&ShapePoint) -> f64) -> f64 {
        self.points.iter().map(|p| p.weight * f(p)).sum()
    }

    /// Mean input tokens `E[n]`.
    #[must_use]
    pub fn mean_input(&self) -> f64 {
        self.mean_of(|p| p.input)
    }

    /// Mean output tokens `E[m]`.
    #[must_use]
    pub fn mean_output(&self) -> f64 {
        self.mean_of(|p| p.output)
    }

    /// Second moment of the input tokens, `E[n²]`.
    #[must_use]
    pub fn mean_square_input(&self) -> f64 {
        self.mean_of(|p| p.input * p.input)
    }

    /// Second moment of the output tokens, `E[m²]`.
    #[must_use]
    pub fn mean_square_output(&self) -> f64 {
        self.mean_of(|p| p.output * p.output)
    }

    /// Mean context per output token, `E[nm + m²/2]/E[m]`: the KV tokens that one decode step of a random token reads.
    #[must_use]
    pub fn mean_context(&self) -> f64 {
        self.mean_of(|p| p.output * (p.input + p.output / 2.0)) / self.mean_output()
    }

    /// The `q`-quantile of the input tokens, q in [0, 1]: the least n of a point with `P[N ≤ n]` ≥ q.
    #[must_use]
    pub fn input_quantile(&self, q: f64) -> f64 {
        self.quantile_of(q, |p| p.input)
    }

    /// The `q`-quantile of the output tokens, q in [0, 1].
    #[must_use]
    pub fn output_quantile(&self, q: f64) -> f64 {
        self.quantile_of(q, |p| p.output)
    }

    /// The `q`-quantile of `f(point)`, q in [0, 1].
    pub fn quantile_of(&self, q: f64, f: impl Fn(&ShapePoint) -> f64) -> f64 {
        let mut values: Vec<(f64, f64)> = self.points.iter().map(|p| (f(p), p.weight)).collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut cumulative = 0.0;
        for (value, weight) in &values {
            cumulative += weight;
            if cumulative >= q - 1e-12 {
                return *value;
            }
        }
        values.last().map_or(0.0, |v| v.0)
    }

    /// Longest input plus output of any point, in tokens.
    #[must_use]
    pub fn longest(&self) -> f64 {
        self.points
            .iter()
            .map(|p| p.input + p.output)
            .fold(0.0, f64::max)
    }
}

fn check(what: &'static str, value: f64) -> Result<(), ShapeError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(ShapeError::Invalid {
            what,
            domain: "a finite number of at least 0",
            value,
        })
    }
}
