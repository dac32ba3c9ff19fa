//! A fitted law with how sure it is, and the laws that it might be instead.

use nalgebra::Cholesky;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::FitEvent;
use crate::fit::parameters::{Matrix, PARAMETERS, Vector, to_law, to_log};
use crate::iteration::{Composition, IterationLaw};

/// A fitted iteration law.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fitted {
    /// The law.
    pub law: IterationLaw,
    /// Covariance of the logarithms of a, floor, b, g, s, p, e.
    pub covariance: [[f64; PARAMETERS]; PARAMETERS],
    /// How far to believe it, 0 to 1, from what it predicted before it saw: 0.2 is a prior without data.
    pub trust: f64,
    /// Running mean absolute relative error (in logarithms) of predicted mean token gaps; `None` before the first.
    pub gap_error: Option<f64>,
    /// Likewise of predicted prefill times.
    pub prefill_error: Option<f64>,
    /// Windows that it rests on, since the last reset.
    pub windows_used: u64,
    /// Windows and fits rejected.
    pub rejected: u64,
    /// What the last update did.
    pub event: FitEvent,
}

impl Fitted {
    /// `n` laws of equal weight that represent the uncertainty, always the same ones: capacity at a conservative
    /// quantile is the quantile over them. One draw is the law itself.
    ///
    /// Method: a Kronecker sequence on the generalised golden ratio (Roberts), mapped to normal deviates, each with its
    /// mirror image, through the Cholesky factor of the covariance. Covers better than as many random draws. Where only
    /// a sum of parameters is known, not each, the draws are some per cent slower than the law (they leave the curved
    /// set of equal sums along its tangent): [`Self::pessimistic`] does not, and costs one evaluation.
    #[must_use]
    pub fn draws(&self, n: usize) -> Vec<IterationLaw> {
        let mean = to_log(&self.law);
        let Some(root) = self.root() else {
            return vec![self.law; n];
        };
        let mut laws = Vec::with_capacity(n);
        if n % 2 == 1 {
            laws.push(self.law);
        }
        for i in 1..=n / 2 {
            let off = root * deviates(i);
            laws.push(to_law(&(mean + off), self.law.front_end_s));
            laws.push(to_law(&(mean - off), self.law.front_end_s));
        }
        laws
    }

    /// The most likely law among those under which an iteration of composition `at` takes as long as its `q`-quantile:
    /// one conservative law in place of many draws, exact to first order for whatever follows from that iteration's
    /// time. `q` above ½ is the slow side.
    #[must_use]
    pub fn pessimistic(&self, q: f64, at: &Composition) -> IterationLaw {
        let mean = to_log(&self.law);
        let slope = Vector::from_fn(|i, _| {
            let step = Vector::from_fn(|j, _| if i == j { 1e-4 } else { 0.0 });
            let seconds = |x: Vector| to_law(&x, 0.0).seconds(at).ln();
            (seconds(mean + step) - seconds(mean - step)) / 2e-4
        });
        let towards = Matrix::from(self.covariance) * slope;
        let sigma = slope.dot(&towards).sqrt();
        if !(sigma > 0.0 && sigma.is_finite()) {
            return self.law;
        }
        to_law(
            &(mean + towards * (deviate(q) / sigma)),
            self.law.front_end_s,
        )
    }

    /// Relative standard deviation of the time of an iteration of composition `at`.
    #[must_use]
    pub fn relative_sd(&self, at: &Composition) -> f64 {
        let median = self.law.seconds(at);
        let above = self.pessimistic(0.841_344_746, at).seconds(at);
        if median > 0.0 {
            (above / median).ln().max(0.0)
        } else {
            0.0
        }
    }

    fn root(&self) -> Option<Matrix> {
        let jitter = Matrix::identity() * 1e-12;
        Cholesky::new(Matrix::from(self.covariance) + jitter).map(|c| c.l())
    }
}

/// The `i`-th point of the Kronecker sequence, as normal deviates.
fn deviates(i: usize) -> Vector {
    // The root of x⁸ = x + 1.
    const GOLDEN: f64 = 1.096_981_557_798_56;
    Vector::from_fn(|j, _| {
        let alpha = GOLDEN.powi(-(j as i32 + 1));
        deviate((0.5 + alpha * i as f64).fract())
    })
}

/// The standard normal quantile, held to four standard deviations.
fn deviate(q: f64) -> f64 {
    let q = if q.is_nan() {
        0.5
    } else {
        q.clamp(3e-5, 1.0 - 3e-5)
    };
    Normal::standard().inverse_cdf(q)
}
