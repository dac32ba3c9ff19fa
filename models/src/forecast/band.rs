//! How far off the forecasts at one horizon are, as a distribution: the conformal band.
//!
//! An error is measured in units of its expected deviation (see [`unit`]), then by the size of such errors of late (a fading
//! mean square, so that a turbulent half hour widens the band), and filed in a fading histogram. The size counts the error
//! that is being filed: an error that nobody expected would otherwise be filed as ever so many of the small ones before it,
//! and read as ever so many large ones.
//!
//! There is a record for each regime beside the one of all errors (Mondrian conformal prediction: Vovk, Gammerman and
//! Shafer, Algorithmic Learning in a Random World, 2005, §4.5): a stream that surges every few minutes errs upwards while it
//! is calm and downwards while it surges, and with one record for both a surge would be expected on top of each surge. An
//! outcome counts for the regimes about it in parts, so that nothing jumps. A regime that was hardly seen borrows from the
//! record of all; the highest from the prior, as calm times say nothing of what follows a surge.

use serde::{Deserialize, Serialize};

const BINS: usize = 80;
/// Standardised errors between these bounds get a bin; those outside go to the outermost.
const LOWEST: f64 = -6.0;
const HIGHEST: f64 = 10.0;
const WIDTH: f64 = (HIGHEST - LOWEST) / BINS as f64;
/// Memory of the size of errors, in outcomes.
const SIZE_MEMORY: f64 = 120.0;
/// Least mean square of errors, in units: what is always right so far will not always be.
const LEAST_SIZE: f64 = 0.05;
/// Memory of histograms, in slots: half a day at 15 s.
const SHAPE_MEMORY: f64 = 2880.0;
/// Errors beyond this many units count as this large.
pub(super) const LARGEST: f64 = 100.0;

/// Regimes: forecasts of half the usual rate, of the usual one, and of double.
const REGIMES: usize = 3;
/// Outcomes that what a regime borrows is worth.
const BORROWED: f64 = 10.0;

/// The unit of errors: the deviation of a Poisson count's rate over `outcome_s`, from a level known from `known_s` seconds of
/// such counts, and 5 %.
pub(super) fn unit(rate: f64, outcome_s: f64, known_s: f64) -> f64 {
    ((rate + 1.0 / outcome_s) * (1.0 / outcome_s + 1.0 / known_s.max(1.0)))
        .sqrt()
        .hypot(0.05 * rate)
}

/// Where a forecast lies: its parts in each regime, which sum to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place([f64; REGIMES]);

impl Place {
    /// Of a forecast of `rate` where `usual` is the mean rate of late.
    pub(super) fn of(rate: f64, usual: f64) -> Self {
        const TRICKLE: f64 = 1e-6;
        let doublings = ((rate + TRICKLE) / (usual + TRICKLE))
            .log2()
            .clamp(-1.0, 1.0);
        let (low, high) = ((-doublings).max(0.0), doublings.max(0.0));
        Self([low, 1.0 - low - high, high])
    }
}

/// Fading counts of standardised errors by bin, from the first to the last bin that was ever filled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Histogram {
    first: u8,
    counts: Vec<f64>,
}

impl Histogram {
    fn add(&mut self, bin: u8, part: f64) {
        if self.counts.is_empty() {
            self.first = bin;
        }
        let before = self.first.saturating_sub(bin);
        let zeros = std::iter::repeat_n(0.0, before.into());
        self.counts.splice(..0, zeros);
        self.first -= before;
        let place = usize::from(bin - self.first);
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0.0);
        }
        self.counts[place] += part;
    }

    fn fade(&mut self, keep: f64) {
        self.counts.iter_mut().for_each(|count| *count *= keep);
    }

    fn at(&self, bin: usize) -> f64 {
        let place = bin.checked_sub(self.first.into());
        place.and_then(|p| self.counts.get(p)).map_or(0.0, |c| *c)
    }
}

/// The errors of one regime.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Regime {
    /// Mean square of the errors, in units.
    size: f64,
    shape: Histogram,
    /// Outcomes in memory: the sum of the shape's counts.
    outcomes: f64,
}

/// Errors of past forecasts at one horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Band {
    /// Fading mean square of all errors, in units.
    size: f64,
    /// Outcomes that the prior is still worth: normal errors.
    #[serde(default = "Band::unremembered")]
    normal: f64,
    #[serde(default)]
    regimes: [Regime; REGIMES],
}

impl Band {
    /// What the prior is worth where nothing else was kept: without it there would be no distribution.
    const fn unremembered() -> f64 {
        8.0
    }

    /// Before anything was seen: normal errors of this mean square, worth this many outcomes.
    pub(super) fn prior(size: f64, outcomes: f64) -> Self {
        Self {
            size,
            normal: outcomes,
            regimes: Default::default(),
        }
    }

    /// Files an error of this many units of a forecast that lay at `place`. `seen` outcomes are known, with what the prior
    /// was worth, whose mean square is `first`.
    pub(super) fn file(&mut self, error: f64, place: Place, seen: f64, first: f64) {
        let error = error.clamp(-LARGEST, LARGEST);
        let keep = 1.0 - 1.0 / SHAPE_MEMORY;
        approach(&mut self.size, error, (1.0 / SIZE_MEMORY).max(1.0 / seen));
        self.normal *= keep;
        for (regime, part) in self.regimes.iter_mut().zip(place.0) {
            regime.outcomes = regime.outcomes * keep + part;
            regime.shape.fade(keep);
            if part > 0.0 {
                let gain = (1.0 / SIZE_MEMORY).max(1.0 / regime.outcomes.max(part));
                approach(&mut regime.size, error, part * gain);
            }
        }
        let standardised = error / self.size_at(place, first).sqrt();
        let bin = (((standardised - LOWEST) / WIDTH).max(0.0) as u8).min(BINS as u8 - 1);
        for (regime, part) in self.regimes.iter_mut().zip(place.0) {
            if part > 0.0 {
                regime.shape.add(bin, part);
            }
        }
    }

    /// The quantiles of the error at ascending `probabilities`, in units, of a forecast at `place`.
    pub(super) fn quantiles<const N: usize>(
        &self,
        probabilities: &[f64; N],
        place: Place,
        first: f64,
    ) -> [f64; N] {
        let shape = self.shape_at(place);
        let total: f64 = shape.iter().sum();
        let size = self.size_at(place, first).sqrt();
        let (mut bin, mut below) = (0, 0.0);
        probabilities.map(|p| {
            let rank = p * total;
            while bin + 1 < BINS && below + shape[bin] < rank {
                below += shape[bin];
                bin += 1;
            }
            let into = ((rank - below) / shape[bin].max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
            size * (LOWEST + (bin as f64 + into) * WIDTH)
        })
    }

    /// Mean square of errors at `place`, in units.
    fn size_at(&self, place: Place, first: f64) -> f64 {
        let lent = [self.size, self.size, first];
        let sizes = self.regimes.iter().zip(lent).map(|(regime, lent)| {
            (regime.outcomes * regime.size + BORROWED * lent) / (regime.outcomes + BORROWED)
        });
        sizes.zip(place.0).map(|(size, part)| part * size).sum()
    }

    /// Density of standardised errors at `place`, by bin.
    fn shape_at(&self, place: Place) -> [f64; BINS] {
        let outcomes: f64 = self.regimes.iter().map(|r| r.outcomes).sum();
        let all = (self.normal + outcomes).max(f64::MIN_POSITIVE);
        std::array::from_fn(|i| {
            let normal = normal(i);
            let filed = self.regimes.iter().map(|r| r.shape.at(i)).sum::<f64>();
            let common = (self.normal * normal + filed) / all;
            let lent = [common, common, normal];
            let densities = self.regimes.iter().zip(lent).map(|(regime, lent)| {
                (regime.shape.at(i) + BORROWED * lent) / (regime.outcomes + BORROWED)
            });
            densities.zip(place.0).map(|(d, part)| part * d).sum()
        })
    }
}

/// Moves a mean square towards the square of an error.
fn approach(size: &mut f64, error: f64, gain: f64) {
    *size = (*size + gain.min(1.0) * (error * error - *size)).max(LEAST_SIZE);
}

/// Probability of a bin under the standard normal distribution.
fn normal(bin: usize) -> f64 {
    let z = LOWEST + (bin as f64 + 0.5) * WIDTH;
    WIDTH * (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: f64 = 4.0;
    const CALM: f64 = 3.0;
    const SURGE: f64 = 18.0;
    const USUAL: f64 = 4.5;

    /// After hours in which nine of ten forecasts are right, one of ten in calm is 40 units too low, and those in surges are
    /// 10 too high.
    fn surging() -> Band {
        let mut band = Band::prior(FIRST, 16.0);
        for i in 0..800 {
            let (rate, error) = match i % 10 {
                0 => (CALM, 40.0),
                1 => (SURGE, -10.0),
                even if even % 2 == 0 => (CALM, 0.3),
                _ => (CALM, -0.3),
            };
            band.file(error, Place::of(rate, USUAL), 17.0 + f64::from(i), FIRST);
        }
        band
    }

    #[test]
    fn parts_of_a_place_sum_to_one() {
        for (rate, parts) in [
            (4.5, [0.0, 1.0, 0.0]),
            (2.25, [1.0, 0.0, 0.0]),
            (0.0, [1.0, 0.0, 0.0]),
            (9.0, [0.0, 0.0, 1.0]),
            (1e9, [0.0, 0.0, 1.0]),
        ] {
            let Place(got) = Place::of(rate, USUAL);
            for (g, p) in got.iter().zip(parts) {
                assert!((g - p).abs() < 1e-6, "{rate}: {got:?}");
            }
        }
        let Place(between) = Place::of(USUAL * 1.3, USUAL);
        assert!((between.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(between[1] > 0.0 && between[2] > 0.0, "{between:?}");
        let Place(silent) = Place::of(0.0, 0.0);
        assert_eq!(silent, [0.0, 1.0, 0.0]);
    }

    #[test]
    fn a_surge_is_feared_in_calm_and_not_on_top_of_a_surge() {
        let band = surging();
        let at = |rate| band.quantiles(&[0.5, 0.95], Place::of(rate, USUAL), FIRST);
        let [median, high] = at(CALM);
        assert!(median.abs() < 2.0 && high > 30.0, "{median} {high}");
        let [median, high] = at(SURGE);
        assert!(median < -5.0 && high < 5.0, "{median} {high}");
    }

    #[test]
    fn counts_stand_where_they_were_put() {
        let mut histogram = Histogram::default();
        for (bin, part) in [(7, 1.0), (9, 0.5), (4, 0.25), (7, 2.0)] {
            histogram.add(bin, part);
        }
        histogram.fade(0.5);
        let got: Vec<f64> = (3..11).map(|bin| histogram.at(bin)).collect();
        assert_eq!(got, [0.0, 0.125, 0.0, 0.0, 1.5, 0.0, 0.25, 0.0]);
        assert_eq!(histogram.counts.len(), 6);
    }

    #[test]
    fn an_error_that_nobody_expected_is_read_back_as_large_as_it_was() {
        let mut band = Band::prior(FIRST, 16.0);
        let calm = Place::of(CALM, CALM);
        for i in 0..200 {
            band.file(0.5, calm, 17.0 + f64::from(i), FIRST);
        }
        band.file(60.0, calm, 217.0, FIRST);
        let [highest] = band.quantiles(&[0.999], calm, FIRST);
        assert!((30.0..70.0).contains(&highest), "{highest}");
    }
}
