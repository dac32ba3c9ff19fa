//! Finite mixtures of fixed durations.

use nalgebra::Complex;

use crate::queueing::{QueueingError, non_negative, positive, size};

/// Durations in seconds with weights that are positive and sum to 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Atoms {
    seconds: Vec<f64>,
    weights: Vec<f64>,
}

impl Atoms {
    pub(super) fn new(pairs: impl IntoIterator<Item = (f64, f64)>) -> Result<Self, QueueingError> {
        let (mut seconds, mut weights) = (Vec::new(), Vec::new());
        for (duration, weight) in pairs {
            let duration = non_negative("service time", duration)?;
            if non_negative("weight of a service time", weight)? > 0.0 {
                seconds.push(duration);
                weights.push(weight);
            }
        }
        let total = positive("total weight of service times", weights.iter().sum())?;
        size("number of service times", seconds.len())?;
        weights.iter_mut().for_each(|weight| *weight /= total);
        Ok(Self { seconds, weights })
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        self.seconds
            .iter()
            .copied()
            .zip(self.weights.iter().copied())
    }

    pub(super) fn count(&self) -> usize {
        self.seconds.len()
    }

    pub(super) fn greatest(&self) -> f64 {
        self.seconds.iter().copied().fold(0.0, f64::max)
    }

    pub(super) fn mean_of(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.pairs().map(|(x, weight)| weight * f(x)).sum()
    }

    pub(super) fn transform(&self, s: Complex<f64>) -> Complex<f64> {
        self.pairs()
            .map(|(x, weight)| (-s * x).exp() * weight)
            .sum()
    }

    pub(super) fn rotor(&self, start: f64, step: f64) -> Rotor {
        Rotor::new(self, start, step)
    }
}

/// The transform at start + i·k·step for k = 0, 1, …: every atom is a phasor that turns by a fixed
/// angle, so that a point costs products where it would cost a sine and a cosine.
#[derive(Debug)]
pub(super) struct Rotor {
    real: Vec<f64>,
    imaginary: Vec<f64>,
    cosine: Vec<f64>,
    sine: Vec<f64>,
}

impl Rotor {
    fn new(atoms: &Atoms, start: f64, step: f64) -> Self {
        let real = atoms.pairs().map(|(x, weight)| weight * (-start * x).exp());
        let (sine, cosine) = atoms.seconds.iter().map(|x| (step * x).sin_cos()).unzip();
        Self {
            real: real.collect(),
            imaginary: vec![0.0; atoms.count()],
            cosine,
            sine,
        }
    }

    /// The transform at the current point; moves on to the next.
    pub(super) fn next_transform(&mut self) -> Complex<f64> {
        let sum = Complex::new(lane_sum(&self.real), lane_sum(&self.imaginary));
        let phasors = self.real.iter_mut().zip(&mut self.imaginary);
        let angles = self.cosine.iter().zip(&self.sine);
        for ((real, imaginary), (cosine, sine)) in phasors.zip(angles) {
            let turned = *real * cosine + *imaginary * sine;
            *imaginary = *imaginary * cosine - *real * sine;
            *real = turned;
        }
        sum
    }
}

/// Sum in four lanes, which the compiler may not introduce by itself: additions do not commute.
fn lane_sum(values: &[f64]) -> f64 {
    let (chunks, rest) = values.as_chunks::<4>();
    let mut lanes = [0.0; 4];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).sum()
}

/// (seconds, weight) pairs of a lognormal below `top` spreads: Gauss–Legendre nodes in ln S.
///
/// Nine spreads below the median nothing is left; above, the weight of moments sits up to a few
/// spreads further out, so an interval ending at 9 + 3·spread holds all of it.
pub(super) fn lognormal_nodes(
    location: f64,
    spread: f64,
    top: f64,
    points: usize,
) -> Vec<(f64, f64)> {
    let (low, high) = (-9.0, top.min(9.0 + 3.0 * spread));
    let (middle, half) = ((low + high) / 2.0, (high - low) / 2.0);
    let nodes = legendre_nodes(points).into_iter();
    nodes
        .map(|(node, weight)| {
            let normal = middle + half * node;
            let density = (-normal * normal / 2.0).exp();
            ((location + spread * normal).exp(), weight * density)
        })
        .collect()
}

/// Nodes and weights of the Gauss–Legendre rule on (−1, 1), by Newton's method on the polynomial
/// from Tricomi's approximation of its roots. O(points²).
fn legendre_nodes(points: usize) -> Vec<(f64, f64)> {
    let n = points as f64;
    let node = |index: usize| {
        let angle = std::f64::consts::PI * (index as f64 + 0.75) / (n + 0.5);
        let mut x = (1.0 - (n - 1.0) / (8.0 * n * n * n)) * angle.cos();
        let mut slope = 1.0;
        for _ in 0..6 {
            let (value, derivative) = legendre(points, x);
            slope = derivative;
            x -= value / derivative;
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..points).map(node).collect()
}

/// The Legendre polynomial of degree `points` ≥ 1 and its derivative at |x| < 1.
fn legendre(points: usize, x: f64) -> (f64, f64) {
    let (mut previous, mut current) = (1.0, x);
    for degree in 2..=points {
        let d = degree as f64;
        let next = ((2.0 * d - 1.0) * x * current - (d - 1.0) * previous) / d;
        (previous, current) = (current, next);
    }
    (
        current,
        points as f64 * (x * current - previous) / (x * x - 1.0),
    )
}
