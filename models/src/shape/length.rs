//! Distributions of a token count: what a user writes for input or output lengths.

use statrs::distribution::{ContinuousCDF, Gamma, Normal};

use super::ShapeError;

/// Greatest mean and maximum accepted, in tokens: far above any context, far below where f64 loses whole tokens.
const MOST_TOKENS: f64 = 1e9;
/// Greatest coefficient of variation accepted.
const MOST_CV: f64 = 20.0;

/// A distribution of input or output tokens, at least 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Length {
    family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Family {
    Fixed(f64),
    Uniform {
        low: f64,
        high: f64,
    },
    /// Underlying normal's μ and σ; values beyond `max` count as `max`.
    Lognormal {
        mu: f64,
        sigma: f64,
        max: f64,
    },
    /// Values beyond `max` count as `max`.
    Gamma {
        shape: f64,
        scale: f64,
        max: f64,
    },
}

impl Length {
    /// Always `tokens`.
    ///
    /// # Errors
    /// [`ShapeError::Invalid`] unless 1 ≤ `tokens` ≤ 10⁹.
    pub fn fixed(tokens: f64) -> Result<Self, ShapeError> {
        Ok(Self {
            family: Family::Fixed(count("tokens", tokens)?),
        })
    }

    /// Uniform on [`low`, `high`].
    ///
    /// # Errors
    /// [`ShapeError::Invalid`] when a bound is outside 1 to 10⁹, [`ShapeError::Contradiction`] when `low` > `high`.
    pub fn uniform(low: f64, high: f64) -> Result<Self, ShapeError> {
        let (low, high) = (count("low end", low)?, count("high end", high)?);
        if low > high {
            return Err(ShapeError::Contradiction {
                what: "the low end of a uniform length",
                value: low,
                other: "its high end",
                limit: high,
            });
        }
        Ok(Self {
            family: if low < high {
                Family::Uniform { low, high }
            } else {
                Family::Fixed(low)
            },
        })
    }

    /// Lognormal with this mean and coefficient of variation; values beyond `max` count as `max`. The mean is the one
    /// after that cut; the coefficient of variation is the one before it. `cv` 0 is a fixed length.
    ///
    /// # Errors
    /// [`ShapeError::Invalid`] when a number is out of range, [`ShapeError::Contradiction`] when `mean` ≥ `max`.
    pub fn lognormal(mean: f64, cv: f64, max: Option<f64>) -> Result<Self, ShapeError> {
        let (mean, cv, max) = moments(mean, cv, max)?;
        if cv < 1e-6 {
            return Self::fixed(mean);
        }
        let sigma = cv.mul_add(cv, 1.0).ln().sqrt();
        Ok(Self {
            family: with_mean(mean, max, |m| Family::Lognormal {
                mu: m.ln() - sigma * sigma / 2.0,
                sigma,
                max,
            }),
        })
    }

    /// Gamma with this mean and coefficient of variation (1 is exponential); `max` as in [`Length::lognormal`].
    ///
    /// # Errors
    /// As [`Length::lognormal`].
    pub fn gamma(mean: f64, cv: f64, max: Option<f64>) -> Result<Self, ShapeError> {
        let (mean, cv, max) = moments(mean, cv, max)?;
        if cv < 1e-3 {
            return Self::fixed(mean);
        }
        let shape = 1.0 / (cv * cv);
        Ok(Self {
            family: with_mean(mean, max, |m| Family::Gamma {
                shape,
                scale: m / shape,
                max,
            }),
        })
    }

    /// The `u`-quantile in tokens, u in (0, 1): feed it uniform numbers to draw lengths.
    #[must_use]
    pub fn quantile(&self, u: f64) -> f64 {
        self.family.quantile(u.clamp(1e-12, 1.0 - 1e-12)).max(1.0)
    }

    /// Mean in tokens.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.family.partial_mean(1.0).max(1.0)
    }

    /// (conditional mean, probability) of a fine partition with finer tails.
    pub(super) fn cells(&self) -> Vec<(f64, f64)> {
        if let Family::Fixed(v) = self.family {
            return vec![(v, 1.0)];
        }
        let edges = probabilities();
        let partial: Vec<f64> = edges.iter().map(|&u| self.family.partial_mean(u)).collect();
        let mut cells: Vec<(f64, f64)> = edges
            .windows(2)
            .zip(partial.windows(2))
            .map(|(u, m)| {
                let weight = u[1] - u[0];
                (((m[1] - m[0]) / weight).max(1.0), weight)
            })
            .collect();
        // Lifting the shortest to one token lifts the mean; the excess over one token gives it back.
        let excess: f64 = cells
            .iter()
            .map(|(value, weight)| (value - 1.0) * weight)
            .sum();
        if excess > 0.0 {
            let factor = (self.mean() - 1.0) / excess;
            cells
                .iter_mut()
                .for_each(|c| c.0 = (c.0 - 1.0).mul_add(factor, 1.0));
        }
        cells
    }
}

impl Family {
    fn quantile(&self, u: f64) -> f64 {
        match *self {
            Self::Fixed(v) => v,
            Self::Uniform { low, high } => low + u * (high - low),
            Self::Lognormal { mu, sigma, max } => (mu + sigma * standard_normal().inverse_cdf(u))
                .exp()
                .min(max),
            Self::Gamma { shape, scale, max } => (gamma(shape).inverse_cdf(u) * scale).min(max),
        }
    }

    /// `E[X; U ≤ u]`, the part of the mean that lies below the `u`-quantile.
    fn partial_mean(&self, u: f64) -> f64 {
        match *self {
            Self::Fixed(v) => v * u,
            Self::Uniform { low, high } => low * u + (high - low) * u * u / 2.0,
            Self::Lognormal { mu, sigma, max } => {
                let normal = standard_normal();
                let cut = (max.ln() - mu) / sigma;
                let z = if u >= 1.0 {
                    f64::INFINITY
                } else {
                    normal.inverse_cdf(u)
                };
                let below = z.min(cut) - sigma;
                (mu + sigma * sigma / 2.0).exp() * cdf(&normal, below)
                    + beyond(max, u - cdf(&normal, cut))
            }
            Self::Gamma { shape, scale, max } => {
                let (law, tilted) = (gamma(shape), gamma(shape + 1.0));
                let x = if u >= 1.0 {
                    f64::INFINITY
                } else {
                    law.inverse_cdf(u)
                };
                let cut = max / scale;
                let below = x.min(cut);
                let part = if below.is_finite() {
                    tilted.cdf(below)
                } else {
                    1.0
                };
                let mass = if cut.is_finite() { law.cdf(cut) } else { 1.0 };
                shape * scale * part + beyond(max, u - mass)
            }
        }
    }
}

/// `max` × the probability beyond it, 0 when there is none (also when `max` is infinite).
fn beyond(max: f64, mass: f64) -> f64 {
    if mass > 0.0 && max.is_finite() {
        max * mass
    } else {
        0.0
    }
}

fn cdf(normal: &Normal, z: f64) -> f64 {
    if z == f64::INFINITY {
        1.0
    } else {
        normal.cdf(z)
    }
}

fn standard_normal() -> Normal {
    Normal::new(0.0, 1.0).expect("a valid standard normal")
}

fn gamma(shape: f64) -> Gamma {
    Gamma::new(shape, 1.0).expect("the shape is positive and finite")
}

/// The family member whose mean after the cut at `max` is `mean`, by bisection on the mean before it.
fn with_mean(mean: f64, max: f64, family: impl Fn(f64) -> Family) -> Family {
    if max.is_infinite() {
        return family(mean);
    }
    let (mut low, mut high) = (mean.ln(), mean.ln() + 1.0);
    while family(high.exp()).partial_mean(1.0) < mean && high < 200.0 {
        high += high - low;
    }
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if family(middle.exp()).partial_mean(1.0) < mean {
            low = middle;
        } else {
            high = middle;
        }
    }
    family(high.exp())
}

/// Partition of [0, 1]: 40 equal steps, the first and last refined geometrically.
fn probabilities() -> Vec<f64> {
    let tail = [1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2];
    let mut edges = vec![0.0, 1e-3, 1e-2];
    edges.extend((1..40).map(|i| f64::from(i) / 40.0));
    edges.extend(tail.iter().rev().map(|t| 1.0 - t));
    edges.push(1.0);
    edges
}

fn moments(mean: f64, cv: f64, max: Option<f64>) -> Result<(f64, f64, f64), ShapeError> {
    let mean = count("mean", mean)?;
    if !(0.0..=MOST_CV).contains(&cv) {
        return Err(ShapeError::Invalid {
            what: "the coefficient of variation (cv)",
            domain: "between 0 and 20",
            value: cv,
        });
    }
    let max = max.map_or(Ok(f64::INFINITY), |m| count("max", m))?;
    if mean >= max && cv > 0.0 {
        return Err(ShapeError::Contradiction {
            what: "the mean length",
            value: mean,
            other: "max",
            limit: max,
        });
    }
    Ok((mean, cv, max))
}

fn count(what: &'static str, value: f64) -> Result<f64, ShapeError> {
    if (1.0..=MOST_TOKENS).contains(&value) {
        Ok(value)
    } else {
        Err(ShapeError::Invalid {
            what,
            domain: "between 1 and 10⁹ tokens",
            value,
        })
    }
}
