//! The record of forecast errors at one horizon: which candidate does best, and how far off the combination is.
//!
//! An error is measured in units of √(Poisson variance + (5 %)²), then in units of its own recent size (a fading mean
//! square, so that a turbulent half hour widens the band), and filed in a fading histogram whose quantiles are the
//! conformal band. The prior is a normal histogram worth a few outcomes.

use serde::{Deserialize, Serialize};

use super::Basis;
use super::track::{FIRST_TREND, SEASON, TRACKS};

const BINS: usize = 80;
/// Standardised errors between these bounds get a bin; those outside go to the outermost.
const LOWEST: f64 = -6.0;
const HIGHEST: f64 = 10.0;
/// Memory of candidates' errors and of the size of errors, in slots.
const LOSS_MEMORY: f64 = 160.0;
const SIZE_MEMORY: f64 = 120.0;
/// Memory of the histogram, in slots: half a day at 15 s.
const SHAPE_MEMORY: f64 = 2880.0;
/// Errors beyond this many units count as this large.
const LARGEST: f64 = 100.0;
/// Candidates are weighted by (mean square error)^−SHARPNESS.
const SHARPNESS: i32 = 3;

/// The unit of errors: standard deviation of a Poisson count's rate over `outcome_s`, and 5 %.
pub(super) fn unit(rate: f64, outcome_s: f64) -> f64 {
    ((rate + 1.0 / outcome_s) / outcome_s)
        .sqrt()
        .hypot(0.05 * rate)
}

/// Errors of past forecasts at one horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Errors {
    /// Outcomes scored.
    seen: f64,
    /// Outcomes that the prior is worth.
    prior: f64,
    /// Fading mean square error per candidate.
    losses: [f64; TRACKS],
    /// Fading mean square of the combination's error.
    size: f64,
    /// Fading counts of standardised errors.
    shape: Vec<f64>,
}

impl Errors {
    /// The prior at a horizon of `slots`: normal errors of three units, growing with the square root of the horizon.
    pub(super) fn prior(slots: u16) -> Self {
        let ahead = f64::from(slots);
        let size = 4.0 + ahead / 2.0;
        let prior = 8.0 + ahead;
        let density = |i: usize| {
            let z = LOWEST + (i as f64 + 0.5) * (HIGHEST - LOWEST) / BINS as f64;
            (-z * z / 2.0).exp()
        };
        let total: f64 = (0..BINS).map(density).sum();
        Self {
            seen: 0.0,
            prior,
            losses: [size; TRACKS],
            size,
            shape: (0..BINS).map(|i| prior * density(i) / total).collect(),
        }
    }

    /// Weights of the candidates, summing to 1.
    fn weights(&self) -> [f64; TRACKS] {
        let least = self
            .losses
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min)
            .max(1e-9);
        let raw = self.losses.map(|l| (least / l.max(1e-9)).powi(SHARPNESS));
        let total: f64 = raw.iter().sum();
        raw.map(|w| w / total)
    }

    /// The candidates' weighted mean.
    pub(super) fn combine(&self, candidates: &[f64; TRACKS]) -> f64 {
        self.weights()
            .iter()
            .zip(candidates)
            .map(|(w, c)| w * c)
            .sum()
    }

    /// Files the outcome of a forecast.
    pub(super) fn score(
        &mut self,
        candidates: &[f64; TRACKS],
        combined: f64,
        outcome: f64,
        unit: f64,
    ) {
        self.seen += 1.0;
        let age = self.prior + self.seen;
        let loss_gain = (1.0 / LOSS_MEMORY).max(1.0 / age);
        for (loss, c) in self.losses.iter_mut().zip(candidates) {
            let e = ((outcome - c) / unit).clamp(-LARGEST, LARGEST);
            *loss += loss_gain * (e * e - *loss);
        }
        let error = ((outcome - combined) / unit).clamp(-LARGEST, LARGEST);
        self.file(error / self.size.sqrt());
        self.size += (1.0 / SIZE_MEMORY).max(1.0 / age) * (error * error - self.size);
        self.size = self.size.max(0.05);
    }

    fn file(&mut self, z: f64) {
        let keep = 1.0 - 1.0 / SHAPE_MEMORY;
        self.shape.iter_mut().for_each(|c| *c *= keep);
        let bin = (z - LOWEST) / (HIGHEST - LOWEST) * BINS as f64;
        self.shape[(bin.max(0.0) as usize).min(BINS - 1)] += 1.0;
    }

    /// The quantiles of the error at ascending `probabilities`, in units.
    pub(super) fn quantiles<const N: usize>(&self, probabilities: &[f64; N]) -> [f64; N] {
        let total: f64 = self.shape.iter().sum();
        let size = self.size.sqrt();
        let (mut bin, mut below) = (0, 0.0);
        probabilities.map(|p| {
            let rank = p * total;
            while bin + 1 < BINS && below + self.shape[bin] < rank {
                below += self.shape[bin];
                bin += 1;
            }
            let into = ((rank - below) / self.shape[bin].max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
            size * (LOWEST + (bin as f64 + into) * (HIGHEST - LOWEST) / BINS as f64)
        })
    }

    /// Which kind of candidate weighs most.
    pub(super) fn basis(&self) -> Basis {
        if self.seen < 2.0 * self.prior {
            return Basis::Learning;
        }
        let w = self.weights();
        let level: f64 = w[..FIRST_TREND].iter().sum();
        let trend: f64 = w[FIRST_TREND..SEASON].iter().sum();
        if w[SEASON] >= level.max(trend) {
            Basis::Season
        } else if trend > level {
            Basis::Trend
        } else {
            Basis::Level
        }
    }
}
