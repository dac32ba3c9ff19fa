//! The loss of a law on a sweep: robust, weighted, with the prior in it; as an `argmin` problem.

use std::cell::RefCell;

use argmin::core::{CostFunction, Error, Gradient, Hessian};
use nalgebra::{DMatrix, DVector};

use super::{Predicted, SweepPoint, SweepPrior};
use crate::fit::parameters::{self, PARAMETERS, Vector};
use crate::iteration::IterationLaw;

/// The log-parameters and the logarithm of the front end's constant.
const UNKNOWNS: usize = PARAMETERS + 1;
/// What a measured mean latency is off by, relative: ITL and TTFT (its front end varies).
const LATENCY_ERROR: [f64; 2] = [0.02, 0.06];
/// What an offered rate is off by, relative.
const RATE_ERROR: f64 = 0.02;
/// Residuals beyond this many standard deviations count linearly.
const HUBER: f64 = 2.0;
/// Residual of a point that was measured but is unstable under the law, in standard deviations.
const UNSTABLE: f64 = 30.0;
/// Step of differences, in logarithms.
const STEP: f64 = 1e-3;
/// Standard deviations per unit of a logarithm beyond which a slope is a jump.
const STEEPEST: f64 = 1e4;

pub(super) fn to_vector(law: &IterationLaw) -> DVector<f64> {
    let log = parameters::to_log(law);
    let front_end = law.front_end_s.clamp(1e-6, 1e3).ln();
    DVector::from_iterator(UNKNOWNS, log.iter().copied().chain([front_end]))
}

pub(super) fn to_law(x: &DVector<f64>) -> IterationLaw {
    let log = Vector::from_iterator(x.iter().take(PARAMETERS).map(|v| v.clamp(-50.0, 7.0)));
    parameters::to_law(&log, x[PARAMETERS].clamp(-50.0, 7.0).exp())
}

/// Half the sum of Huber's loss over the residuals, plus half the squared distance to the prior.
pub(super) struct Loss<'a> {
    points: &'a [SweepPoint],
    predictor: &'a dyn Fn(&IterationLaw, &SweepPoint) -> Option<Predicted>,
    /// Standard deviation of each residual: ITL and TTFT per point.
    sigma: Vec<[f64; 2]>,
    centre: DVector<f64>,
    precision: DMatrix<f64>,
    /// The latest place at which residuals and slopes were taken: gradient and curvature ask for the same.
    latest: RefCell<Option<Expansion>>,
}

/// The residuals' first-order expansion.
#[derive(Clone)]
struct Expansion {
    at: DVector<f64>,
    residuals: DVector<f64>,
    jacobian: DMatrix<f64>,
}

impl<'a> Loss<'a> {
    /// The loss with weights taken at `law`; `None` when no point is stable there.
    pub(super) fn new(
        points: &'a [SweepPoint],
        prior: &SweepPrior<'_>,
        predictor: &'a dyn Fn(&IterationLaw, &SweepPoint) -> Option<Predicted>,
        law: &IterationLaw,
    ) -> Option<Self> {
        let sigma: Vec<[f64; 2]> = points
            .iter()
            .map(|p| deviations(p, predictor, law))
            .collect();
        let stable = points.iter().any(|p| predictor(law, p).is_some());
        let covariance = prior.spread.covariance();
        let inverse = covariance.try_inverse()?;
        let mut precision = DMatrix::zeros(UNKNOWNS, UNKNOWNS);
        precision
            .view_mut((0, 0), (PARAMETERS, PARAMETERS))
            .copy_from(&inverse);
        precision[(PARAMETERS, PARAMETERS)] = 1.0 / prior.spread.front_end_variance();
        stable.then(|| Self {
            points,
            predictor,
            sigma,
            centre: to_vector(prior.law),
            precision,
            latest: RefCell::new(None),
        })
    }

    /// Standardised residuals at `x`, ITL and TTFT of every point, 0 where not measured.
    fn residuals(&self, x: &DVector<f64>) -> DVector<f64> {
        let law = to_law(x);
        let each = self.points.iter().zip(&self.sigma).flat_map(|(p, sigma)| {
            let predicted = (self.predictor)(&law, p);
            let residual = |measured: Option<f64>, predicted: Option<f64>, sigma: f64| match (
                measured, predicted,
            ) {
                (None, _) => 0.0,
                (Some(m), Some(q)) => {
                    let off = (q / m).ln() / sigma;
                    if off.is_finite() {
                        off.clamp(-UNSTABLE, UNSTABLE)
                    } else {
                        UNSTABLE
                    }
                }
                (Some(_), None) => UNSTABLE,
            };
            [
                residual(p.itl_s, predicted.map(|q| q.itl_s), sigma[0]),
                residual(p.ttft_s, predicted.map(|q| q.ttft_s), sigma[1]),
            ]
        });
        DVector::from_iterator(2 * self.points.len(), each)
    }

    fn expansion(&self, x: &DVector<f64>) -> Expansion {
        if let Some(known) = self.latest.borrow().as_ref().filter(|e| e.at == *x) {
            return known.clone();
        }
        let residuals = self.residuals(x);
        let mut jacobian = DMatrix::zeros(residuals.len(), UNKNOWNS);
        for k in 0..UNKNOWNS {
            let mut moved = x.clone();
            moved[k] += STEP;
            jacobian.set_column(k, &((self.residuals(&moved) - &residuals) / STEP));
        }
        // A point that a step takes across the bound of stability has no slope worth following.
        jacobian.apply(|v| {
            if v.abs() > STEEPEST {
                *v = 0.0;
            }
        });
        let expansion = Expansion {
            at: x.clone(),
            residuals,
            jacobian,
        };
        *self.latest.borrow_mut() = Some(expansion.clone());
        expansion
    }
}

/// Standard deviations of a point's residuals: the latency's own, and what the rate's error does to it at `law`.
fn deviations(
    point: &SweepPoint,
    predictor: &dyn Fn(&IterationLaw, &SweepPoint) -> Option<Predicted>,
    law: &IterationLaw,
) -> [f64; 2] {
    let shifted = SweepPoint {
        rate: point.rate * (1.0 - RATE_ERROR),
        ..point.clone()
    };
    let by_rate = match (predictor(law, point), predictor(law, &shifted)) {
        (Some(at), Some(below)) => [at.itl_s / below.itl_s, at.ttft_s / below.ttft_s].map(|r| {
            if r.is_finite() && r > 0.0 {
                r.ln().abs().min(1.0)
            } else {
                1.0
            }
        }),
        _ => [1.0; 2],
    };
    [
        LATENCY_ERROR[0].hypot(by_rate[0]),
        LATENCY_ERROR[1].hypot(by_rate[1]),
    ]
}

impl CostFunction for &Loss<'_> {
    type Param = DVector<f64>;
    type Output = f64;

    fn cost(&self, x: &DVector<f64>) -> Result<f64, Error> {
        let huber = |r: f64| {
            if r.abs() <= HUBER {
                r * r / 2.0
            } else {
                HUBER * (r.abs() - HUBER / 2.0)
            }
        };
        let off = x - &self.centre;
        let fit: f64 = self.residuals(x).iter().map(|&r| huber(r)).sum();
        Ok(fit + 0.5 * off.dot(&(&self.precision * &off)))
    }
}

impl Gradient for &Loss<'_> {
    type Param = DVector<f64>;
    type Gradient = DVector<f64>;

    fn gradient(&self, x: &DVector<f64>) -> Result<DVector<f64>, Error> {
        let e = self.expansion(x);
        let bounded = e.residuals.map(|r| r.clamp(-HUBER, HUBER));
        Ok(e.jacobian.tr_mul(&bounded) + &self.precision * (x - &self.centre))
    }
}

impl Hessian for &Loss<'_> {
    type Param = DVector<f64>;
    type Hessian = DMatrix<f64>;

    /// Gauss–Newton: curvature of the residuals themselves is left out.
    fn hessian(&self, x: &DVector<f64>) -> Result<DMatrix<f64>, Error> {
        let e = self.expansion(x);
        let mut j = e.jacobian;
        for (mut row, r) in j.row_iter_mut().zip(e.residuals.iter()) {
            row *= (HUBER / r.abs().max(HUBER)).sqrt();
        }
        Ok(j.tr_mul(&j) + &self.precision)
    }
}
