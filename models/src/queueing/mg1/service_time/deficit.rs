//! D(s) = 1 − (1 − β(s))/(s·E\[S\]) without cancellation.

use nalgebra::Complex;

use super::ServiceTime;
use super::atoms::{Atoms, Rotor};

const TERMS: usize = 20;

/// The moment series of D in z = s·unit, and the radius within which its 20 terms are enough.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    coefficients: [f64; TERMS],
    unit: f64,
    radius: f64,
}

impl Series {
    pub(super) fn of_atoms(atoms: &Atoms, mean: f64) -> Self {
        let unit = atoms.greatest();
        // Σ w·x̂^{j+1} unit/mean, x̂ = x/unit ≤ 1, divided by (j + 1)! below.
        let mut moments = [0.0; TERMS];
        for (seconds, weight) in atoms.pairs() {
            let relative = seconds / unit;
            let mut power = weight * seconds / mean;
            for moment in &mut moments {
                power *= relative;
                *moment += power;
            }
        }
        Self::new(moments, unit)
    }

    pub(super) fn of_gamma(mean: f64, scv: f64) -> Self {
        // E[S^{j+1}]/mean^{j+1} = Π_{i≤j} (1 + i·scv)
        let mut power = 1.0;
        let moments = std::array::from_fn(|index| {
            power *= 1.0 + (index + 1) as f64 * scv;
            power
        });
        Self::new(moments, mean)
    }

    fn new(moments: [f64; TERMS], unit: f64) -> Self {
        let mut factor = -1.0;
        let coefficients = std::array::from_fn(|index| {
            factor /= -((index + 2) as f64);
            factor * moments[index]
        });
        let mut series = Self {
            coefficients,
            unit,
            radius: 0.0,
        };
        series.radius = series.radius();
        series
    }

    /// Where the last term is 1e-17 of the first.
    fn radius(&self) -> f64 {
        let ratio = (self.coefficients[0] / self.coefficients[TERMS - 1]).abs();
        (1e-17 * ratio).powf(((TERMS - 1) as f64).recip()).min(1.0)
    }

    /// D(s), `None` where the series is not accurate.
    pub(super) fn at(&self, s: Complex<f64>) -> Option<Complex<f64>> {
        let z = s * self.unit;
        (z.norm_sqr() < self.radius * self.radius).then(|| {
            let terms = self.coefficients.iter().rev();
            z * terms.fold(Complex::from(0.0), |sum, c| sum * z + *c)
        })
    }
}

/// D at equally spaced points of a vertical line, in order.
#[derive(Debug)]
pub(in super::super) struct Deficits<'a> {
    service: &'a ServiceTime,
    series: &'a Series,
    rotor: Option<Rotor>,
}

impl<'a> Deficits<'a> {
    pub(super) fn new(service: &'a ServiceTime, series: &'a Series, rotor: Option<Rotor>) -> Self {
        Self {
            service,
            series,
            rotor,
        }
    }

    /// D(s), s being the next point of the line.
    pub(in super::super) fn next_at(&mut self, s: Complex<f64>) -> Complex<f64> {
        let rotated = self.rotor.as_mut().map(Rotor::next_transform);
        self.series.at(s).unwrap_or_else(|| {
            let transform = rotated.unwrap_or_else(|| self.service.transform(s));
            (transform - 1.0) / (s * self.service.mean()) + 1.0
        })
    }
}
