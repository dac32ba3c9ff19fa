//! The iteration law as a vector of logarithms, and what is known of it beforehand.

use nalgebra::{SMatrix, SVector};
use serde::{Deserialize, Serialize};

use crate::iteration::IterationLaw;
use crate::roofline::{PRIOR_CV, Roofline};
use crate::shape::ShapePoint;

/// Fitted parameters: a, floor, b, g, s, p, e. The front end's constant is apart: no iteration shows it.
pub const PARAMETERS: usize = 7;

pub(super) type Vector = SVector<f64, PARAMETERS>;
pub(super) type Matrix = SMatrix<f64, PARAMETERS, PARAMETERS>;

/// Stands for a parameter that is 0: its logarithm is finite and its effect nothing.
const NOTHING: f64 = 1e-15;
/// No parameter exceeds this many seconds.
pub(super) const LARGEST: f64 = 1e3;

/// Logarithms of the law's parameters.
pub(super) fn to_log(law: &IterationLaw) -> Vector {
    Vector::from([
        law.overhead_s,
        law.floor_s,
        law.per_token_s,
        law.per_kv_token_s,
        law.per_sequence_s,
        law.per_chunk_context_s,
        law.prefill_overhead_s,
    ])
    .map(|x| {
        if x.is_finite() {
            x.clamp(NOTHING, LARGEST).ln()
        } else {
            NOTHING.ln()
        }
    })
}

/// The law with these logarithms of parameters and this front-end constant.
pub(super) fn to_law(log: &Vector, front_end_s: f64) -> IterationLaw {
    let x = log.map(|x| {
        let x = x.exp();
        if x <= NOTHING * 1.001 { 0.0 } else { x }
    });
    IterationLaw {
        overhead_s: x[0],
        floor_s: x[1],
        per_token_s: x[2],
        per_kv_token_s: x[3],
        per_sequence_s: x[4],
        per_chunk_context_s: x[5],
        prefill_overhead_s: x[6],
        front_end_s,
    }
}

/// How far off a prior law may be: coefficient of variation per parameter, in the order of [`IterationLaw`]'s fields.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PriorSpread(pub [f64; PARAMETERS + 1]);

impl Default for PriorSpread {
    /// Of the roofline's prior: [`PRIOR_CV`].
    fn default() -> Self {
        Self(PRIOR_CV)
    }
}

impl PriorSpread {
    /// Of a law that was measured on this variant: 10 % for a, floor, b and g, 20 % for the rest.
    #[must_use]
    pub const fn measured() -> Self {
        Self([0.1, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.2])
    }

    /// Covariance of the logarithms. Floor and g share the memory bandwidth's efficiency, b and p the compute units':
    /// each pair is correlated by one half.
    pub(super) fn covariance(&self) -> Matrix {
        let variance = Vector::from_fn(|i, _| log_variance(self.0[i]));
        let mut p = Matrix::from_diagonal(&variance);
        for (i, j) in [(1, 3), (2, 5)] {
            let shared = (variance[i] * variance[j]).sqrt() / 2.0;
            p[(i, j)] = shared;
            p[(j, i)] = shared;
        }
        p
    }

    pub(super) fn front_end_variance(&self) -> f64 {
        log_variance(self.0[PARAMETERS])
    }
}

/// Variance of the logarithm of a lognormal with coefficient of variation `cv`.
fn log_variance(cv: f64) -> f64 {
    let cv = if cv.is_finite() {
        cv.clamp(0.01, 3.0)
    } else {
        0.5
    };
    (1.0 + cv * cv).ln()
}

/// What physics allows at best: a fit below it is impossible and is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PhysicalFloor {
    /// Weight bytes read once over peak bandwidth, s.
    pub floor_s: f64,
    /// Least compute time per token: 2 × active parameters over peak FLOPS, s.
    pub per_token_s: f64,
    /// KV bytes per token over peak bandwidth, s.
    pub per_kv_token_s: f64,
}

/// Part of the datasheet's least that is still taken for possible.
const GRACE: f64 = 0.95;

impl PhysicalFloor {
    /// What the roofline's hardware allows at best, all efficiencies being 1.
    #[must_use]
    pub fn of(roofline: &Roofline<'_>) -> Self {
        let request = |input| ShapePoint {
            input,
            output: 0.0,
            weight: 1.0,
        };
        let weights = roofline.itl_floor(&request(0.0));
        Self {
            floor_s: weights,
            per_token_s: roofline.ttft_floor(&request(1.0), 0.0),
            per_kv_token_s: roofline.itl_floor(&request(1.0)) - weights,
        }
    }

    /// Whether the law is possible, with 5 % grace for datasheet figures.
    #[must_use]
    pub fn allows(&self, law: &IterationLaw) -> bool {
        law.floor_s >= GRACE * self.floor_s
            && law.per_token_s >= GRACE * self.per_token_s
            && law.per_kv_token_s >= GRACE * self.per_kv_token_s
    }

    /// The least logarithms of floor, b and g, a hair above what [`PhysicalFloor::allows`] asks for.
    pub(super) fn least(&self) -> [(usize, f64); 3] {
        let least = |x: f64| (GRACE * (1.0 + 1e-9) * x).max(NOTHING).ln();
        [
            (1, least(self.floor_s)),
            (2, least(self.per_token_s)),
            (3, least(self.per_kv_token_s)),
        ]
    }
}
