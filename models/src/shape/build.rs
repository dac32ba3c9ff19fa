//! Ways to make request shapes: from length distributions, from samples, from other shapes.

use super::compress::compress;
use super::{Length, RequestShape, ShapeError, ShapePoint};

/// Points that a shape is compressed to unless something else is asked for.
pub const POINTS: usize = 64;

/// The requests of a shape whose input length is in one interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Inputs in the bucket are longer than this.
    pub above: f64,
    /// Inputs in the bucket are at most this long; infinite for the last bucket.
    pub up_to: f64,
    /// Share of the requests that fall into the bucket.
    pub share: f64,
    /// Their shape.
    pub shape: RequestShape,
}

impl RequestShape {
    /// Independent input and output lengths, [`POINTS`] points at most. Both means are exact.
    ///
    /// # Errors
    /// [`ShapeError`] when `prefix_hit` is not a fraction.
    pub fn independent(
        input: &Length,
        output: &Length,
        prefix_hit: f64,
    ) -> Result<Self, ShapeError> {
        Self::new(
            compress(product(&input.cells(), &output.cells()), POINTS),
            prefix_hit,
        )
    }

    /// Input and output lengths with rank correlation, through a Gaussian copula of parameter `correlation` in [-1, 1]:
    /// long prompts then tend to have long (or, if negative, short) answers. Both means are exact.
    ///
    /// # Errors
    /// [`ShapeError`] when a fraction or the correlation is out of range.
    pub fn correlated(
        input: &Length,
        output: &Length,
        correlation: f64,
        prefix_hit: f64,
    ) -> Result<Self, ShapeError> {
        if !(-1.0..=1.0).contains(&correlation) {
            return Err(ShapeError::Invalid {
                what: "correlation",
                domain: "between -1 and 1",
                value: correlation,
            });
        }
        let pairs = copula(&input.cells(), &output.cells(), correlation);
        Self::new(compress(pairs, POINTS), prefix_hit)
    }

    /// Lognormal input and output lengths, each given by (mean, coefficient of variation), cut at `max` tokens each.
    ///
    /// # Errors
    /// [`ShapeError`] when a number is out of range.
    pub fn lognormal(
        input: (f64, f64),
        output: (f64, f64),
        max: Option<f64>,
    ) -> Result<Self, ShapeError> {
        Self::independent(
            &Length::lognormal(input.0, input.1, max)?,
            &Length::lognormal(output.0, output.1, max)?,
            0.0,
        )
    }

    /// The joint distribution of observed (input, output) pairs, as at most `limit` points. Means are exact, second
    /// moments nearly.
    ///
    /// # Errors
    /// [`ShapeError`] when there is no sample, a number is negative or not finite, or `prefix_hit` is not a fraction.
    pub fn empirical(
        samples: &[(f64, f64)],
        prefix_hit: f64,
        limit: usize,
    ) -> Result<Self, ShapeError> {
        let points = samples
            .iter()
            .map(|&(input, output)| ShapePoint {
                input,
                output,
                weight: 1.0,
            })
            .collect();
        Self::new(points, prefix_hit)?.compressed(limit)
    }

    /// This shape with at most `limit` points (at least 1).
    ///
    /// # Errors
    /// None in practice: a shape stays valid. The type follows [`RequestShape::new`].
    pub fn compressed(&self, limit: usize) -> Result<Self, ShapeError> {
        Self::new(compress(self.points.clone(), limit.max(1)), self.prefix_hit)
    }

    /// This shape with another prefix-hit fraction.
    ///
    /// # Errors
    /// [`ShapeError::Invalid`] when `prefix_hit` is outside [0, 1].
    pub fn with_prefix_hit(&self, prefix_hit: f64) -> Result<Self, ShapeError> {
        Self::new(self.points.clone(), prefix_hit)
    }

    /// The shape of a stream in which each part occurs in proportion to its weight (a rate, say); at most
    /// [`POINTS`] points. Prefix hits are averaged by input tokens.
    ///
    /// # Errors
    /// [`ShapeError::Empty`] when no weight is positive, [`ShapeError::Invalid`] when one is negative or not finite.
    pub fn mix(parts: &[(f64, &Self)]) -> Result<Self, ShapeError> {
        let mut points = Vec::new();
        let (mut hits, mut tokens) = (0.0, 0.0);
        for &(weight, shape) in parts {
            super::check("weight", weight)?;
            points.extend(shape.points.iter().map(|p| ShapePoint {
                weight: p.weight * weight,
                ..*p
            }));
            hits += weight * shape.mean_input() * shape.prefix_hit;
            tokens += weight * shape.mean_input();
        }
        let prefix_hit = if tokens > 0.0 {
            (hits / tokens).clamp(0.0, 1.0)
        } else {
            0.0
        };
        Self::new(points, prefix_hit)?.compressed(POINTS)
    }

    /// The shape split by input length at ascending `edges`; intervals without requests are left out, so the shares
    /// sum to 1.
    #[must_use]
    pub fn buckets(&self, edges: &[f64]) -> Vec<Bucket> {
        let bounds: Vec<f64> = std::iter::once(0.0)
            .chain(edges.iter().copied())
            .chain([f64::INFINITY])
            .collect();
        bounds
            .windows(2)
            .filter_map(|b| self.bucket(b[0], b[1]))
            .collect()
    }

    fn bucket(&self, above: f64, up_to: f64) -> Option<Bucket> {
        let points: Vec<ShapePoint> = self
            .points
            .iter()
            .filter(|p| p.input > above && p.input <= up_to)
            .copied()
            .collect();
        let share = points.iter().map(|p| p.weight).sum();
        Some(Bucket {
            above,
            up_to,
            share,
            shape: Self::new(points, self.prefix_hit).ok()?,
        })
    }
}

/// All pairs of two independent marginals.
pub(super) fn product(input: &[(f64, f64)], output: &[(f64, f64)]) -> Vec<ShapePoint> {
    input
        .iter()
        .flat_map(|&(n, u)| {
            output.iter().map(move |&(m, v)| ShapePoint {
                input: n,
                output: m,
                weight: u * v,
            })
        })
        .collect()
}

/// Pairs under a Gaussian copula: the probability of each cell is that of the bivariate normal over it, by conditioning
/// on the middle of the input cell, then balanced (Sinkhorn) until both marginals hold.
fn copula(input: &[(f64, f64)], output: &[(f64, f64)], rho: f64) -> Vec<ShapePoint> {
    use statrs::distribution::{ContinuousCDF, Normal};
    let normal = Normal::new(0.0, 1.0).expect("a valid standard normal");
    let rho = rho.clamp(-0.999, 0.999);
    let spread = rho.mul_add(-rho, 1.0).sqrt();
    let edges = |cells: &[(f64, f64)]| -> Vec<f64> {
        let mut u = 0.0;
        cells
            .iter()
            .map(|c| {
                u += c.1;
                normal.inverse_cdf(u.clamp(1e-15, 1.0 - 1e-15))
            })
            .collect()
    };
    let output_edges = edges(output);
    let mut u = 0.0;
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(input.len());
    for &(_, weight) in input {
        let z = normal.inverse_cdf((u + weight / 2.0).clamp(1e-15, 1.0 - 1e-15));
        u += weight;
        let mut below = 0.0;
        let last = output.len() - 1;
        let row = output_edges.iter().enumerate().map(|(j, e)| {
            let upto = if j == last {
                1.0
            } else {
                normal.cdf((e - rho * z) / spread)
            };
            let mass = (upto - below).max(1e-300);
            below = upto;
            mass * weight
        });
        rows.push(row.collect());
    }
    balance(&mut rows, input, output);
    let mut points = Vec::with_capacity(input.len() * output.len());
    for (row, &(n, _)) in rows.iter().zip(input) {
        points.extend(row.iter().zip(output).map(|(&weight, &(m, _))| ShapePoint {
            input: n,
            output: m,
            weight,
        }));
    }
    points
}

/// Scales rows and columns in turn until the column sums are `output`'s weights and the row sums are `input`'s.
fn balance(rows: &mut [Vec<f64>], input: &[(f64, f64)], output: &[(f64, f64)]) {
    for _ in 0..60 {
        for (j, &(_, weight)) in output.iter().enumerate() {
            let sum: f64 = rows.iter().map(|r| r[j]).sum();
            rows.iter_mut().for_each(|r| r[j] *= weight / sum);
        }
        for (row, &(_, weight)) in rows.iter_mut().zip(input) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|x| *x *= weight / sum);
        }
    }
}
