//! The filter itself: mean and covariance of the log-parameters.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::fit::parameters::{LARGEST, Matrix, PARAMETERS, PriorSpread, Vector, to_law};
use crate::iteration::IterationLaw;

/// Standardised innovations beyond this are weighted down.
const HUBER: f64 = 1.5;
/// Probability that the gate lets a true measurement through.
const GATE: f64 = 0.999;
/// Step of the central differences, in logarithms.
const STEP: f64 = 1e-4;
/// Iterations of one update, to follow the curvature of the law's corner.
const ITERATIONS: usize = 2;
/// Rounds over the constraints: each moves what the others have moved.
const ROUNDS: usize = 8;

/// What became of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    Taken,
    Rejected,
}

/// Mean and covariance of the log-parameters, and of the front end's constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Filter {
    mean: [f64; PARAMETERS],
    pub(super) covariance: [[f64; PARAMETERS]; PARAMETERS],
    /// The prior's covariance: forgetting never goes beyond it.
    prior: [[f64; PARAMETERS]; PARAMETERS],
    front_end_s: f64,
    front_end_variance: f64,
    front_end_prior: f64,
}

impl Filter {
    pub(super) fn new(mean: Vector, spread: &PriorSpread, front_end_s: f64) -> Self {
        let covariance = spread.covariance().into();
        let sane = (0.0..=LARGEST).contains(&front_end_s);
        Self {
            mean: mean.into(),
            covariance,
            prior: covariance,
            front_end_s: if sane { front_end_s } else { 0.0 },
            front_end_variance: spread.front_end_variance(),
            front_end_prior: spread.front_end_variance(),
        }
    }

    pub(super) fn law(&self) -> IterationLaw {
        to_law(&Vector::from(self.mean), self.front_end_s)
    }

    /// Fades information towards the prior's: Λ ← φΛ + (1 − φ)Λ₀ (Kulhavý and Zarrop's stabilised forgetting). Plain
    /// forgetting, P/φ, grows without bound along directions that the data leaves open.
    pub(super) fn forget(&mut self, keep: f64) {
        let now = Matrix::from(self.covariance).try_inverse();
        let prior = Matrix::from(self.prior).try_inverse();
        let mixed = now
            .zip(prior)
            .and_then(|(now, prior)| (now * keep + prior * (1.0 - keep)).try_inverse());
        match mixed {
            Some(p) if p.iter().all(|x| x.is_finite()) => self.covariance = symmetric(&p).into(),
            _ => self.covariance = self.prior,
        }
        self.front_end_variance =
            1.0 / (keep / self.front_end_variance + (1.0 - keep) / self.front_end_prior);
    }

    /// Back to the prior's covariance, at the present mean.
    pub(super) fn widen(&mut self) {
        self.covariance = self.prior;
        self.front_end_variance = self.front_end_prior;
    }

    /// Takes in a measurement `observed` (a logarithm) with variance `noise`, which `predict` predicts from a law.
    /// Returns the innovation before the update.
    pub(super) fn measure(
        &mut self,
        observed: f64,
        noise: f64,
        predict: impl Fn(&IterationLaw) -> f64,
    ) -> (f64, Judged) {
        let at = |x: &Vector| predict(&to_law(x, 0.0)).ln();
        let start = Vector::from(self.mean);
        let p = Matrix::from(self.covariance);
        let innovation = observed - at(&start);
        let slope = gradient(&at, &start);
        let variance = slope.dot(&(p * slope)) + noise;
        let nis = innovation * innovation / variance;
        if !nis.is_finite() || nis > gate() {
            let innovation = if innovation.is_finite() {
                innovation
            } else {
                2.0
            };
            return (innovation, Judged::Rejected);
        }
        let noise = noise * (nis.sqrt() / HUBER).max(1.0);
        let (mut x, mut slope) = (start, slope);
        for i in 0..ITERATIONS {
            if i > 0 {
                slope = gradient(&at, &x);
            }
            let ps = p * slope;
            let off = observed - at(&x) - slope.dot(&(start - x));
            x = start + ps * (off / (slope.dot(&ps) + noise));
        }
        let ps = p * slope;
        let p = symmetric(&(p - ps * ps.transpose() / (slope.dot(&ps) + noise)));
        if !x.iter().chain(p.iter()).all(|v| v.is_finite()) || x.iter().any(|v| v.abs() > 60.0) {
            return (innovation, Judged::Rejected);
        }
        self.mean = x.into();
        self.covariance = p.into();
        (innovation, Judged::Taken)
    }

    /// Moves the mean to the likeliest point at which each of these parameters is at least as great (its logarithm is
    /// given): what one of them gains, those that are known only together with it lose. (Simon 2010, "Kalman filtering
    /// with state constraints", estimate projection with the inverse covariance as weight, one active constraint at a
    /// time.)
    pub(super) fn hold_to(&mut self, least: &[(usize, f64)]) {
        let p = Matrix::from(self.covariance);
        let mut x = Vector::from(self.mean);
        for _ in 0..ROUNDS {
            for &(i, bound) in least {
                if x[i] >= bound {
                    continue;
                }
                let gain = p.column(i) / p[(i, i)].max(1e-300);
                x += gain * (bound - x[i]);
                x[i] = bound;
            }
        }
        // Where rounds do not suffice, the bounds themselves do.
        for &(i, bound) in least {
            x[i] = x[i].max(bound);
        }
        if x.iter().all(|v| v.is_finite() && v.abs() <= 60.0) {
            self.mean = x.into();
        }
    }

    /// Takes in a mean time outside the engine over `count` requests: a scalar filter, linear in the constant.
    pub(super) fn front_end(&mut self, observed: f64, count: f64) {
        let size = self.front_end_s.max(1e-3);
        let prior = self.front_end_variance * size * size;
        let noise = size * size * (0.1 + 1.0 / count.max(1.0));
        let off = observed - self.front_end_s;
        let sigma = (prior + noise).sqrt();
        let gain = prior / (prior + noise * (off.abs() / sigma / HUBER).max(1.0));
        self.front_end_s =
            (self.front_end_s + gain * off.clamp(-4.0 * sigma, 4.0 * sigma)).max(0.0);
        self.front_end_variance *= 1.0 - gain;
    }
}

fn gate() -> f64 {
    ChiSquared::new(1.0).map_or(10.83, |c| c.inverse_cdf(GATE))
}

fn gradient(f: &impl Fn(&Vector) -> f64, at: &Vector) -> Vector {
    Vector::from_fn(|i, _| {
        let step = Vector::from_fn(|j, _| if i == j { STEP } else { 0.0 });
        (f(&(at + step)) - f(&(at - step))) / (2.0 * STEP)
    })
}

fn symmetric(p: &Matrix) -> Matrix {
    (p + p.transpose()) * 0.5
}
