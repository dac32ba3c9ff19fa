//! The record of forecast errors at one horizon: which candidate does best, and how far off the combination is.

use serde::{Deserialize, Serialize};

use super::Basis;
use super::band::{Band, LARGEST, Place};
use super::track::{FIRST_TREND, SEASON, TRACKS};

/// Memory of candidates' errors, in slots.
const LOSS_MEMORY: f64 = 160.0;
/// Candidates are weighted by (mean square error)^−SHARPNESS.
const SHARPNESS: i32 = 3;

/// Errors of past forecasts at one horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Errors {
    /// Outcomes scored.
    seen: f64,
    /// Outcomes that the prior is worth.
    prior: f64,
    /// Fading mean square error per candidate.
    losses: [f64; TRACKS],
    /// Errors of the combination.
    #[serde(flatten)]
    band: Band,
}

impl Errors {
    /// The prior at a horizon of `slots`.
    pub(super) fn prior(slots: u16) -> Self {
        let prior = 8.0 + f64::from(slots);
        let size = first_size(prior);
        Self {
            seen: 0.0,
            prior,
            losses: [size; TRACKS],
            band: Band::prior(size, prior),
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

    /// Files the outcome of a forecast that lay at `place`.
    pub(super) fn score(
        &mut self,
        candidates: &[f64; TRACKS],
        (combined, place): (f64, Place),
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
        let error = (outcome - combined) / unit;
        self.band.file(error, place, age, first_size(self.prior));
    }

    /// The quantiles of the error at ascending `probabilities`, in units, of a forecast at `place`.
    pub(super) fn quantiles<const N: usize>(
        &self,
        probabilities: &[f64; N],
        place: Place,
    ) -> [f64; N] {
        self.band
            .quantiles(probabilities, place, first_size(self.prior))
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

/// Mean square of errors before any was seen, in units: it grows with the horizon, as what the prior is worth does.
fn first_size(prior: f64) -> f64 {
    prior / 4.0
}
