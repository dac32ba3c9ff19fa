//! Token counts of generated requests, drawn from the distributions as the user wrote them.
//!
//! The models compress a shape to 64 points; drawing from those points would hand a policy the very approximation that
//! its plan is made of, and cut the tail that percentiles live on.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution, StandardNormal};
use statrs::distribution::{ContinuousCDF, Normal};
use wva_models::shape::{Length, ShapeError, ShapeText};

use super::traffic_file::columns::MOST_TOKENS;

/// Joint law of input and output tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizes {
    input: Length,
    output: Length,
    /// Parameter of the Gaussian copula that joins them, −1 to 1.
    correlation: f64,
}

impl Sizes {
    /// The law that `text` describes.
    ///
    /// # Errors
    /// As [`ShapeText::shape`].
    pub fn new(text: &ShapeText) -> Result<Self, ShapeError> {
        Ok(Self {
            input: text.input_tokens.length()?,
            output: text.output_tokens.length()?,
            correlation: text.correlation.map_or(0.0, f64::from),
        })
    }

    /// One request's input and output tokens, each at least 1.
    pub(super) fn draw(&self, rng: &mut Xoshiro256PlusPlus) -> (u32, u32) {
        let (u, v) = if self.correlation == 0.0 {
            (rng.random(), rng.random())
        } else {
            self.joined(rng)
        };
        (
            whole(self.input.quantile(u)),
            whole(self.output.quantile(v)),
        )
    }

    /// Two uniform numbers whose normal scores have the correlation.
    fn joined(&self, rng: &mut Xoshiro256PlusPlus) -> (f64, f64) {
        let normal = Normal::standard();
        let (x, y): (f64, f64) = (StandardNormal.sample(rng), StandardNormal.sample(rng));
        let rest = (1.0 - self.correlation * self.correlation).max(0.0).sqrt();
        (normal.cdf(x), normal.cdf(self.correlation * x + rest * y))
    }
}

fn whole(tokens: f64) -> u32 {
    tokens.round().clamp(1.0, f64::from(MOST_TOKENS)) as u32
}
