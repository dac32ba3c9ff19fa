//! The iteration law as a vector of logarithms, and what is known of it beforehand.

use nalgebra::{SMatrix, SVector};
use serde::{Deserialize, Serialize};

use crate::iteration::IterationLaw;

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

/// How far off a prior law may be: coefficient of variation per parameter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PriorSpread {
    /// Of what the roofline gives: floor, b, g, p.
    pub roofline: f64,
    /// Of overheads that are rules of thumb: a, s, e, o.
    pub overheads: f64,
}

impl Default for PriorSpread {
    /// A roofline prior: 50 % and 60 %.
    fn default() -> Self {
        Self {
            roofline: 0.5,
            overheads: 0.6,
        }
    }
}

impl PriorSpread {
    /// Of a law that was measured on this variant: 10 % and 20 %.
    #[must_use]
    pub const fn measured() -> Self {
        Self {
            roofline: 0.1,
            overheads: 0.2,
        }
    }

    /// Covariance of the logarithms. Floor and g share the memory bandwidth's efficiency, b and p the compute units':
    /// each pair is correlated by one half.
    pub(super) fn covariance(&self) -> Matrix {
        let (r, o) = (log_variance(self.roofline), log_variance(self.overheads));
        let mut p = Matrix::from_diagonal(&Vector::from([o, r, r, r, o, r, o]));
        for (i, j) in [(1, 3), (2, 5)] {
            p[(i, j)] = r / 2.0;
            p[(j, i)] = r / 2.0;
        }
        p
    }

    pub(super) fn front_end_variance(&self) -> f64 {
        log_variance(self.overheads)
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

impl PhysicalFloor {
    /// Whether the law is possible, with 5 % grace for datasheet figures.
    #[must_use]
    pub fn allows(&self, law: &IterationLaw) -> bool {
        const GRACE: f64 = 0.95;
        law.floor_s >= GRACE * self.floor_s
            && law.per_token_s >= GRACE * self.per_token_s
            && law.per_kv_token_s >= GRACE * self.per_kv_token_s
    }
}
