//! The offline fit: from a benchmark sweep (mean ITL and TTFT at known rates and shapes) to a law.
//!
//! By Little's law the batch is B = λ·m·T, so a law that is linear in its parameters makes T = ITL satisfy
//! `T = a + T·λ·(s·m + b·n + g·m·(n + m/2))`: linear in (a, s, b, g), solved by non-negative least squares. That start
//! and the prior itself are both refined on the full law through a predictor (the one whose predictions will be used),
//! by a trust-region Gauss–Newton method on a robust loss; the better end wins. The prior stays in the loss: a sweep of
//! few shapes leaves directions open.
//!
//! Near saturation latency explodes with the rate, and a rate known to 2 % says little about latency there. Each
//! residual is therefore weighted by what an error of the rate would do to it: there, the fit is judged by which rate
//! gives this latency.

mod loss;
mod mean_field;
mod nnls;

use argmin::core::{Executor, State};
use argmin::solver::trustregion::{Steihaug, TrustRegion};
use nalgebra::{DMatrix, DVector};

use super::FitError;
use super::parameters::{PhysicalFloor, PriorSpread};
use crate::iteration::IterationLaw;
use crate::latency::Arrivals;
use crate::shape::RequestShape;
use loss::Loss;
pub use mean_field::mean_field;
use nnls::nnls;

/// One point of a sweep: an offered rate of one shape, and what was measured there.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepPoint {
    /// Offered rate, requests per second.
    pub rate: f64,
    /// Shape of the requests.
    pub shape: RequestShape,
    /// How the load generator spaced them.
    pub arrivals: Arrivals,
    /// Measured mean gap between output tokens, seconds.
    pub itl_s: Option<f64>,
    /// Measured mean time to first token, seconds.
    pub ttft_s: Option<f64>,
}

/// Mean latencies that a predictor gives for a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Predicted {
    /// Mean gap between output tokens, seconds.
    pub itl_s: f64,
    /// Mean time to first token, seconds.
    pub ttft_s: f64,
}

/// A law fitted to a sweep, with how well it fits.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepFit {
    /// The law.
    pub law: IterationLaw,
    /// Mean absolute relative error of mean ITL over the points that are stable under the law; `None` without any.
    pub itl_mape: Option<f64>,
    /// Likewise of mean TTFT.
    pub ttft_mape: Option<f64>,
    /// Points that the predictor calls unstable under the law.
    pub unstable: usize,
    /// Iterations of the solver.
    pub iterations: u64,
}

/// What a sweep is fitted with.
#[derive(Debug, Clone, Copy)]
pub struct SweepPrior<'a> {
    /// Law expected beforehand: the roofline's, for example.
    pub law: &'a IterationLaw,
    /// How far off it may be.
    pub spread: &'a PriorSpread,
    /// What physics allows.
    pub physical: PhysicalFloor,
}

/// Fewest measured latencies that a fit is made from.
const FEWEST: usize = 4;
/// Iterations of the solver between looks at its progress, and most such stretches per start and round.
const STRETCH: u64 = 5;
const MOST_STRETCHES: u32 = 10;
/// Rounds in which weights near saturation are renewed.
const ROUNDS: usize = 2;

/// The law that best explains a sweep under `predictor`, which returns `None` where the law makes a point unstable.
///
/// The predictor is called a few thousand times per ten points, and should be smooth in the law: one that samples stops
/// the solver early. [`mean_field`] is both fast and smooth; a slower model is better used to judge the law it gives.
///
/// # Errors
/// [`FitError::TooFewPoints`] when fewer than four latencies are measured; [`FitError::NoStart`] when under both starts
/// no point is stable; [`FitError::BelowPhysicalFloor`] when the best law is impossible.
pub fn fit_sweep(
    points: &[SweepPoint],
    prior: &SweepPrior<'_>,
    predictor: &dyn Fn(&IterationLaw, &SweepPoint) -> Option<Predicted>,
) -> Result<SweepFit, FitError> {
    let points: Vec<SweepPoint> = points.iter().filter_map(usable).collect();
    let have = points
        .iter()
        .map(|p| usize::from(p.itl_s.is_some()) + usize::from(p.ttft_s.is_some()))
        .sum();
    if have < FEWEST {
        return Err(FitError::TooFewPoints {
            have,
            needed: FEWEST,
        });
    }
    let starts = [Some(*prior.law), linear_start(&points, prior.law)];
    let best = starts
        .iter()
        .flatten()
        .filter_map(|start| refine(&points, prior, predictor, start))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    let (_, law, iterations) = best.ok_or(FitError::NoStart)?;
    if !prior.physical.allows(&law) {
        return Err(FitError::BelowPhysicalFloor { law });
    }
    Ok(report(&points, &law, iterations, predictor))
}

/// The point without measurements that are no latencies; `None` when nothing is left.
fn usable(point: &SweepPoint) -> Option<SweepPoint> {
    let latency = |x: Option<f64>| x.filter(|x| (1e-6..1e5).contains(x));
    let (itl_s, ttft_s) = (latency(point.itl_s), latency(point.ttft_s));
    let measured = itl_s.is_some() || ttft_s.is_some();
    let rate = point.rate > 0.0 && point.rate.is_finite();
    (measured && rate).then(|| SweepPoint {
        itl_s,
        ttft_s,
        ..point.clone()
    })
}

/// Little's-law regression by NNLS. The constant is shared out between overhead and floor, and the per-token terms
/// between computing and sampling, as the prior has them.
fn linear_start(points: &[SweepPoint], prior: &IterationLaw) -> Option<IterationLaw> {
    let measured: Vec<(&SweepPoint, f64)> = points
        .iter()
        .filter_map(|p| p.itl_s.map(|t| (p, t)))
        .collect();
    if measured.len() < 4 {
        return None;
    }
    let rows: Vec<[f64; 4]> = measured
        .iter()
        .map(|(p, itl)| {
            let prompt = p.shape.mean_input() * (1.0 - p.shape.prefix_hit());
            let kv = p.shape.mean_of(|x| x.output * (x.input + x.output / 2.0));
            [
                1.0 / itl,
                p.rate * p.shape.mean_output(),
                p.rate * prompt,
                p.rate * kv,
            ]
        })
        .collect();
    let a = DMatrix::from_fn(rows.len(), 4, |i, j| rows[i][j]);
    let x = nnls(&a, &DVector::from_element(rows.len(), 1.0));
    let constant = prior.overhead_s + prior.floor_s;
    let least = |x: f64, prior: f64| if x > 0.0 { x } else { prior };
    let law = IterationLaw {
        overhead_s: x[0] * prior.overhead_s / constant,
        floor_s: x[0] * prior.floor_s / constant,
        per_token_s: least(x[2], prior.per_token_s),
        per_sequence_s: least(x[1] - x[2], prior.per_sequence_s),
        per_kv_token_s: least(x[3], prior.per_kv_token_s),
        ..*prior
    };
    (x[0] > 0.0 && law.floor_s.is_finite()).then_some(law)
}

/// Minimises the loss from `start`: (loss under common weights, law, iterations).
fn refine(
    points: &[SweepPoint],
    prior: &SweepPrior<'_>,
    predictor: &dyn Fn(&IterationLaw, &SweepPoint) -> Option<Predicted>,
    start: &IterationLaw,
) -> Option<(f64, IterationLaw, u64)> {
    let mut law = *start;
    let mut iterations = 0;
    let mut cost = f64::INFINITY;
    for _ in 0..ROUNDS {
        let loss = Loss::new(points, prior, predictor, &law)?;
        cost = f64::INFINITY;
        for _ in 0..MOST_STRETCHES {
            let solver = TrustRegion::new(Steihaug::new().with_max_iters(16));
            let run = Executor::new(&loss, solver)
                .configure(|s| s.param(loss::to_vector(&law)).max_iters(STRETCH))
                .timer(false)
                .run()
                .ok()?;
            let before = cost;
            (cost, law) = (
                run.state().get_best_cost(),
                loss::to_law(run.state().get_best_param()?),
            );
            iterations += run.state().get_iter();
            // The method itself only stops after so many iterations.
            if before - cost <= 3e-3 * cost || cost.is_nan() {
                break;
            }
        }
    }
    cost.is_finite().then_some((cost, law, iterations))
}

fn report(
    points: &[SweepPoint],
    law: &IterationLaw,
    iterations: u64,
    predictor: &dyn Fn(&IterationLaw, &SweepPoint) -> Option<Predicted>,
) -> SweepFit {
    let predicted: Vec<(&SweepPoint, Option<Predicted>)> =
        points.iter().map(|p| (p, predictor(law, p))).collect();
    let mape = |pick: &dyn Fn(&SweepPoint, &Predicted) -> Option<f64>| {
        let errors: Vec<f64> = predicted
            .iter()
            .filter_map(|(p, q)| pick(p, q.as_ref()?))
            .map(|ratio| (ratio - 1.0).abs())
            .collect();
        (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64)
    };
    SweepFit {
        law: *law,
        itl_mape: mape(&|p, q| Some(q.itl_s / p.itl_s?)),
        ttft_mape: mape(&|p, q| Some(q.ttft_s / p.ttft_s?)),
        unstable: predicted.iter().filter(|(_, q)| q.is_none()).count(),
        iterations,
    }
}
