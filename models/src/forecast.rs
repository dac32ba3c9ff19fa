//! The offered rate a start-up time from now, as quantiles.
//!
//! ```text
//! counts ─> slots ─> tracks: levels, damped trends, the daily profile ─┐ weighted by each one's recent error
//!              └──> outcomes ─> errors of past forecasts, per horizon ─┴─> mean ± what such forecasts were off by
//! ```
//! A replica that is asked for now serves after its start-up time, so capacity must fit the rate then, and how sure one
//! is of it. Every quantile here is the forecast plus an empirical quantile of the errors that this forecaster has made
//! on this stream at this horizon when the rate stood where it stands: split-conformal prediction with fading memory, by
//! regime (`band`). No distribution is assumed, so a Poisson stream, a bursty one and a ramp all get the coverage they ask
//! for, after some tens of minutes; before that a prior of the errors stands in. A slot far beyond the usual starts the
//! levels afresh (`leap`).
//!
//! A full state-space model (ARIMA, ETS by likelihood) has to be refitted per stream and misjudges its own errors at
//! steps; a learned model would need training data per tenant.

mod band;
mod distribution;
mod errors;
mod leap;
mod season;
mod track;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::windows::counter::{is_amount, is_time};
use distribution::PROBABILITIES;
use errors::Errors;
use leap::Leaps;
use season::Season;
use track::{Origin, TRACKS, Tracks, Usual};

pub use distribution::{Basis, Forecast};

/// Horizons, in slots, at which forecasts are scored; in between they are interpolated.
const LADDER: [u16; 6] = [0, 2, 4, 8, 16, 32];
/// Longest gap, in slots, that is bridged with its mean rate; a longer one starts the levels afresh.
const LONGEST_GAP: f64 = 20.0;
/// Most slots in an outcome.
const LONGEST_OUTCOME: usize = 16;

/// Time scales of a forecaster.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ForecastSettings {
    /// Shortest slot, seconds: observations are gathered until they span it.
    pub slot_s: f64,
    /// The outcome that is forecast: the mean rate over this many seconds. What varies faster is for the queueing
    /// model's burstiness to absorb.
    pub outcome_s: f64,
}

impl Default for ForecastSettings {
    fn default() -> Self {
        Self {
            slot_s: 15.0,
            outcome_s: 60.0,
        }
    }
}

/// Forecasts the arrival rate of one stream. About 15 kB of state and a few microseconds per slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecaster {
    settings: ForecastSettings,
    /// Start of the slot that is being filled, and its count.
    open: Option<(f64, f64)>,
    /// Latest time observed.
    at: f64,
    /// Typical length of a slot, seconds.
    step_s: f64,
    tracks: Tracks,
    season: Season,
    /// Rates of the latest slots, newest last.
    rates: VecDeque<f64>,
    /// What was known and forecast at the end of each of the latest slots, newest last.
    origins: VecDeque<Origin>,
    errors: Vec<Errors>,
    #[serde(default)]
    leaps: Leaps,
    #[serde(default)]
    usual: Usual,
    /// Seconds of slots that the levels rest on.
    #[serde(default)]
    known_s: f64,
}

impl Forecaster {
    /// A forecaster that has seen nothing.
    #[must_use]
    pub fn new(settings: ForecastSettings) -> Self {
        let sane = |x: f64, low: f64| {
            if x.is_finite() {
                x.clamp(low, 3600.0)
            } else {
                low
            }
        };
        let slot_s = sane(settings.slot_s, 1.0);
        let settings = ForecastSettings {
            slot_s,
            outcome_s: sane(settings.outcome_s, slot_s),
        };
        Self {
            settings,
            open: None,
            at: 0.0,
            step_s: slot_s,
            tracks: Tracks::default(),
            season: Season::default(),
            rates: VecDeque::new(),
            origins: VecDeque::new(),
            errors: LADDER.iter().map(|&k| Errors::prior(k)).collect(),
            leaps: Leaps::default(),
            usual: Usual::default(),
            known_s: 0.0,
        }
    }

    /// Its time scales.
    #[must_use]
    pub const fn settings(&self) -> &ForecastSettings {
        &self.settings
    }

    /// Takes `count` arrivals since the previous call, seen at `at`. The first call only starts the clock.
    ///
    /// NaN, infinite or negative numbers are ignored. A time no later than the last adds its count to the open slot;
    /// one that is more than an hour earlier means that the clock was reset, and starts the levels afresh.
    pub fn observe(&mut self, at: f64, count: f64) {
        if !is_time(at) || !is_amount(count) {
            return;
        }
        let Some((start, so_far)) = self.open else {
            self.open = Some((at, 0.0));
            self.at = at;
            return;
        };
        if at < self.at - 3600.0 {
            self.restart();
            self.open = Some((at, 0.0));
            self.at = at;
            return;
        }
        self.at = self.at.max(at);
        let (count, elapsed) = (so_far + count, self.at - start);
        if elapsed < self.settings.slot_s * (1.0 - 1e-6) {
            self.open = Some((start, count));
            return;
        }
        self.open = Some((self.at, 0.0));
        self.close(start, elapsed, count / elapsed);
    }

    /// Forgets levels and pending forecasts; keeps the daily profile and the record of errors.
    fn restart(&mut self) {
        self.tracks = Tracks::default();
        self.rates.clear();
        self.origins.clear();
        self.known_s = 0.0;
    }

    /// Closes a slot, or the several that a gap spans, each with the mean rate.
    fn close(&mut self, start: f64, elapsed: f64, rate: f64) {
        let slots = (elapsed / self.step_s).round().max(1.0);
        if slots > LONGEST_GAP {
            self.restart();
        } else {
            self.step_s += 0.1 * (elapsed / slots - self.step_s);
        }
        let slots = if slots > LONGEST_GAP { 1.0 } else { slots };
        let seconds = elapsed / slots;
        for i in 0..slots as u32 {
            self.slot(start + f64::from(i + 1) * seconds, seconds, rate);
        }
    }

    fn slot(&mut self, end: f64, seconds: f64, rate: f64) {
        self.rates.push_back(rate);
        if self.rates.len() > LONGEST_OUTCOME {
            self.rates.pop_front();
        }
        self.score();
        // Memories are as long as the outcomes that are forecast: whoever plans for seconds must not remember minutes.
        let quarter = self.settings.outcome_s / 4.0;
        let expected = self.origins.back().map(|o| o.combined[0]);
        let leap = expected.and_then(|e| self.leaps.observe(rate, e, seconds));
        if let Some(level) = leap {
            self.tracks.leap(level);
        }
        self.tracks.update(rate, self.step_s / quarter);
        self.season.observe(end - seconds / 2.0, seconds, rate);
        let season = LADDER.map(|k| self.season_factor(end, k));
        self.usual.observe(rate);
        self.known_s += seconds;
        let mut origin = self.tracks.origin(season, self.usual.rate, self.known_s);
        for (i, errors) in self.errors.iter().enumerate() {
            origin.combined[i] = errors.combine(&self.candidates(&origin, i));
        }
        self.origins.push_back(origin);
        let outcome = self.outcome_slots();
        while self.origins.len() > usize::from(LADDER[LADDER.len() - 1]) + outcome {
            self.origins.pop_front();
        }
    }

    fn outcome_slots(&self) -> usize {
        ((self.settings.outcome_s / self.step_s).round() as usize).clamp(1, LONGEST_OUTCOME)
    }

    /// Compares the outcome that has just become known with what was forecast of it, horizon by horizon.
    fn score(&mut self) {
        let slots = self.outcome_slots();
        if self.rates.len() < slots {
            return;
        }
        let outcome = self.rates.iter().rev().take(slots).sum::<f64>() / slots as f64;
        for (i, &ahead) in LADDER.iter().enumerate() {
            let back = usize::from(ahead) + slots;
            let Some(origin) = self
                .origins
                .len()
                .checked_sub(back)
                .map(|o| self.origins[o])
            else {
                break;
            };
            let candidates = self.candidates(&origin, i);
            let combined = (origin.combined[i], origin.place(i));
            let unit = origin.unit(i, self.settings.outcome_s);
            self.errors[i].score(&candidates, combined, outcome, unit);
        }
    }

    fn candidates(&self, origin: &Origin, horizon: usize) -> [f64; TRACKS] {
        let lead = f64::from(LADDER[horizon]) + (self.outcome_slots() + 1) as f64 / 2.0;
        origin.candidates(lead, horizon)
    }

    /// How the daily profile changes from `now` to the middle of the outcome `slots` ahead.
    fn season_factor(&self, now: f64, slots: u16) -> f64 {
        let ahead = f64::from(slots) * self.step_s + self.settings.outcome_s / 2.0;
        self.season.factor(now, now + ahead)
    }

    /// The rate over the outcome time that starts `horizon_s` seconds (at least 0) after the latest observation; `None`
    /// before one slot was filled.
    ///
    /// Beyond the longest horizon scored (32 slots) the spread of that one is widened by the square root of the ratio.
    #[must_use]
    pub fn forecast(&self, horizon_s: f64) -> Option<Forecast> {
        let origin = self.origins.back()?;
        let horizon_s = if horizon_s.is_finite() {
            horizon_s.max(0.0)
        } else {
            0.0
        };
        let slots = horizon_s / self.step_s;
        let above = LADDER.partition_point(|&k| f64::from(k) < slots);
        let high = above.min(LADDER.len() - 1);
        let low = above.saturating_sub(1).min(high);
        let (from, to) = (f64::from(LADDER[low]), f64::from(LADDER[high]));
        let w = if to > from {
            (slots - from) / (to - from)
        } else {
            1.0
        };
        let widen = (slots / f64::from(LADDER[LADDER.len() - 1]))
            .max(1.0)
            .sqrt();
        let mix = |a: f64, b: f64| a * (1.0 - w) + b * w;
        let mean = mix(origin.combined[low], origin.combined[high]);
        let level = self.tracks.level();
        let (below, above) = (
            self.band(origin, low, widen),
            self.band(origin, high, widen),
        );
        Some(Forecast {
            mean,
            level,
            trend: (mean - level) / (horizon_s + self.settings.outcome_s / 2.0),
            horizon_s,
            basis: self.errors[high].basis(),
            quantiles: below.iter().zip(above).map(|(&a, b)| mix(a, b)).collect(),
        })
    }

    /// Quantiles of the outcome at one horizon of the ladder.
    fn band(&self, origin: &Origin, horizon: usize, widen: f64) -> [f64; PROBABILITIES.len()] {
        let mean = origin.combined[horizon];
        let unit = origin.unit(horizon, self.settings.outcome_s) * widen;
        let errors = self.errors[horizon].quantiles(&PROBABILITIES, origin.place(horizon));
        errors.map(|e| (mean + e * unit).max(0.0))
    }
}
