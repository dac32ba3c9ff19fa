//! Service-time distributions and their transforms.
//!
//! Two forms carry all: a finite mixture of fixed durations (an empirical distribution, a constant,
//! a lognormal by quadrature) and the gamma (the exponential is one). The quantity the queue needs
//! is not the transform β(s) but the *deficit* D(s) = 1 − (1 − β(s))/(s·E\[S\]), which loses its
//! digits by cancellation for small s: there it comes from the moments,
//! D(s) = Σ_{j≥1} (−1)^{j+1} E\[S^{j+1}\] s^j / ((j + 1)! E\[S\]).

mod atoms;
mod deficit;

use nalgebra::Complex;
use statrs::function::gamma::gamma_ur;

use super::super::{QueueingError, positive, size_up_to, within};
use atoms::Atoms;
use deficit::Series;

pub(super) use deficit::Deficits;

/// Quadrature points accepted for a lognormal: finding the nodes is quadratic in their number.
const MOST_POINTS: usize = 1024;

/// Distribution of service times in seconds: its moments and transforms.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceTime {
    form: Form,
    mean: f64,
    second_moment: f64,
    series: Series,
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Atoms(Atoms),
    Gamma { shape: f64, scale: f64 },
}

impl ServiceTime {
    /// Always `seconds` > 0.
    ///
    /// # Errors
    /// `seconds` zero, negative, NaN or infinite.
    pub fn deterministic(seconds: f64) -> Result<Self, QueueingError> {
        Self::empirical([(positive("service time", seconds)?, 1.0)])
    }

    /// Exponential with mean `mean` > 0 seconds.
    ///
    /// # Errors
    /// `mean` zero, negative, NaN or infinite.
    pub fn exponential(mean: f64) -> Result<Self, QueueingError> {
        Self::gamma(mean, 1.0)
    }

    /// Gamma with mean `mean` > 0 seconds and squared coefficient of variation `scv` in
    /// [1e-4, 1e4]; below, [`ServiceTime::deterministic`] is meant.
    ///
    /// # Errors
    /// An argument out of its domain.
    pub fn gamma(mean: f64, scv: f64) -> Result<Self, QueueingError> {
        let mean = positive("mean service time", mean)?;
        let holds = (1e-4..=1e4).contains(&scv);
        let scv = within(
            holds,
            "squared variation of service times",
            scv,
            "in [1e-4, 1e4]",
        )?;
        Ok(Self {
            form: Form::Gamma {
                shape: scv.recip(),
                scale: mean * scv,
            },
            mean,
            second_moment: mean * mean * (1.0 + scv),
            series: Series::of_gamma(mean, scv),
        })
    }

    /// Mixture of fixed durations: (service seconds, weight) pairs, in any order. Weights need not
    /// sum to 1; pairs of weight 0 are dropped.
    ///
    /// # Errors
    /// A duration or weight that is negative, NaN or infinite; a mean of zero, no pairs included;
    /// more than [`super::super::MAX_STATES`] pairs.
    pub fn empirical(pairs: impl IntoIterator<Item = (f64, f64)>) -> Result<Self, QueueingError> {
        let atoms = Atoms::new(pairs)?;
        let mean = positive("mean service time", atoms.mean_of(|x| x))?;
        let second_moment = positive("second moment of service times", atoms.mean_of(|x| x * x))?;
        let series = Series::of_atoms(&atoms, mean);
        Ok(Self {
            form: Form::Atoms(atoms),
            mean,
            second_moment,
            series,
        })
    }

    /// Lognormal with parameters `location` (mean of ln S, S in seconds) and `spread` > 0 (its
    /// standard deviation), conditioned on S ≤ `cap` seconds: a lognormal proper has no exponential
    /// moment. Becomes `points` atoms at Gauss–Legendre nodes of ln S: 64 give the moments to nine
    /// digits and waiting-time percentiles to about 1e-4.
    ///
    /// # Errors
    /// `location` not finite, `spread` outside (0, 4], `cap` more than 6 spreads below the median or
    /// not finite, `points` of 0 or above 1024.
    pub fn truncated_lognormal(
        location: f64,
        spread: f64,
        cap: f64,
        points: usize,
    ) -> Result<Self, QueueingError> {
        within(
            location.is_finite(),
            "lognormal location",
            location,
            "finite",
        )?;
        within(
            spread > 0.0 && spread <= 4.0,
            "lognormal spread",
            spread,
            "in (0, 4]",
        )?;
        let top = (positive("lognormal cap", cap)?.ln() - location) / spread;
        let domain = "at least e^(location - 6 spread)";
        within(top >= -6.0, "lognormal cap", cap, domain)?;
        let points = size_up_to(MOST_POINTS, "quadrature points", points)?;
        Self::empirical(atoms::lognormal_nodes(location, spread, top, points))
    }

    /// E\[S\], seconds.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// E\[S²\], seconds².
    pub fn second_moment(&self) -> f64 {
        self.second_moment
    }

    /// Squared coefficient of variation, at least 0.
    pub fn scv(&self) -> f64 {
        (self.second_moment / (self.mean * self.mean) - 1.0).max(0.0)
    }

    /// Laplace transform β(s) = E[e^{−sS}], for Re s > −1/scale of a gamma and any s otherwise.
    pub fn transform(&self, s: Complex<f64>) -> Complex<f64> {
        match &self.form {
            Form::Atoms(atoms) => atoms.transform(s),
            Form::Gamma { shape, scale } => (s * *scale + 1.0).powf(-shape),
        }
    }

    /// E[(S − `time`)⁺] in seconds, for `time` ≥ 0 seconds.
    pub fn mean_excess(&self, time: f64) -> f64 {
        match &self.form {
            Form::Atoms(atoms) => atoms.mean_of(|x| (x - time).max(0.0)),
            Form::Gamma { shape, scale } => {
                let x = time / scale;
                if x <= 0.0 {
                    return self.mean;
                }
                let excess = self.mean * gamma_ur(shape + 1.0, x) - time * gamma_ur(*shape, x);
                excess.max(0.0)
            }
        }
    }

    /// E[e^{sR}] for s ≥ 0, R the residual service; +∞ from the abscissa on or on overflow.
    pub(super) fn residual_moment_generating(&self, s: f64) -> f64 {
        if let Some(deficit) = self.series.at(Complex::from(-s)) {
            return 1.0 - deficit.re;
        }
        let moment_generating = match &self.form {
            Form::Atoms(atoms) => atoms.mean_of(|x| (s * x).exp()),
            Form::Gamma { shape, scale } => (1.0 - s * scale).max(0.0).powf(-shape),
        };
        (moment_generating - 1.0) / (s * self.mean)
    }

    /// E[Se^{sS}], seconds, for s below the abscissa.
    pub(super) fn moment_generating_slope(&self, s: f64) -> f64 {
        match &self.form {
            Form::Atoms(atoms) => atoms.mean_of(|x| x * (s * x).exp()),
            Form::Gamma { shape, scale } => self.mean * (1.0 - s * scale).powf(-shape - 1.0),
        }
    }

    /// Least s at which E[e^{sS}] is infinite, per second.
    pub(super) fn abscissa(&self) -> f64 {
        match &self.form {
            Form::Atoms(_) => f64::INFINITY,
            Form::Gamma { scale, .. } => scale.recip(),
        }
    }

    /// Cost of one transform value, in atoms.
    pub(super) fn atom_count(&self) -> usize {
        match &self.form {
            Form::Atoms(atoms) => atoms.count(),
            // A complex power costs as much as some twenty rotations.
            Form::Gamma { .. } => 20,
        }
    }

    /// The deficits D(start + i·k·step), k = 0, 1, ….
    pub(super) fn deficits_along(&self, start: f64, step: f64) -> Deficits<'_> {
        let rotor = match &self.form {
            Form::Atoms(atoms) => Some(atoms.rotor(start, step)),
            Form::Gamma { .. } => None,
        };
        Deficits::new(self, &self.series, rotor)
    }
}
