//! Headroom learned from what requests got, in two parts that answer different questions.
//!
//! - The *factor* on capacity: what a replica really carries. The share of misses grows steeply with the load, e-fold every
//!   seventh of the capacity or so, and is the promised one at the capacity itself; so each window's count of misses is
//!   evidence about the capacity, weighed as such: much near it, little in slack, and none in an overload that the forecast
//!   is to blame for. The estimate is Bayesian (an extended Kalman filter on ln(factor) with over-dispersed Poisson counts;
//!   West, Harrison and Migon 1985, "Dynamic generalized linear models"): it also says how much *doubt* is left, and the
//!   headroom that an uncertain latency law calls for shrinks with it.
//! - The *caution*: which quantile of the forecast to plan for, and what share of the requests may be expected to miss over
//!   all that is forecast. It moves with every miss, whatever the reason, and so closes the loop on what users were promised:
//!   adaptive conformal inference (Gibbs and Candès 2021, eq. 2) on sizing instead of on intervals, x ← x + γ(τ − miss share),
//!   with τ the tolerated share of misses.
//!
//! One number for both questions would take a burst for slow replicas and a calm night for fast ones. Learning rates are
//! per unit of time or of evidence, not per request: a busy stream does not learn more nervously than a calm one.

use serde::{Deserialize, Serialize};
use wva_models::forecast::Forecast;

/// Knobs of the learned headroom.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadroomSettings {
    /// Part of the promised misses (1 − promised share) that is aimed for; the rest is reserve.
    pub budget_share: f64,
    /// Least factor on capacity.
    pub least: f64,
    /// Greatest factor on capacity.
    pub greatest: f64,
    /// Fall of the caution per hour without a single miss, in log-odds of the forecast quantile.
    pub calming_per_hour: f64,
}

impl Default for HeadroomSettings {
    fn default() -> Self {
        Self {
            budget_share: 0.7,
            least: 0.5,
            greatest: 1.25,
            calming_per_hour: 0.5,
        }
    }
}

impl HeadroomSettings {
    /// Part of the budget that is aimed for, never nothing and never more than all of it.
    fn aim(&self) -> f64 {
        if self.budget_share.is_finite() {
            self.budget_share.clamp(0.05, 1.0)
        } else {
            1.0
        }
    }

    /// Load at which the aimed-for share misses, over the capacity: the load at which the promised share does.
    fn load_at_aim(&self) -> f64 {
        1.0 + self.aim().ln() / STEEPNESS
    }
}

/// Growth of ln(share of misses) with the load over the capacity, near it. Between 3 and 5 replicas for one trace of long
/// prompts the continuous-batching model has 6 to 9, as has the simulator.
const STEEPNESS: f64 = 7.0;
/// Misses come in clusters: a count of them varies this much more than a Poisson count of its mean.
const CLUSTER: f64 = 5.0;
/// Standard deviation of ln(factor) before anything was seen.
const DOUBT: f64 = 0.15;
/// Its growth where nothing is seen, per square root of an hour: shapes and engines change.
const DRIFT: f64 = 0.1;
/// Most standard deviations by which a count counts as greater than expected: one bad minute is not ten.
const SURPRISE: f64 = 3.0;
/// Multiple of the promised misses that may be expected of a forecast while the caution rests. A quantile hears nothing of
/// surges rarer than itself, however many requests they bring; this hears of them, at rest only where three requests in ten
/// would miss.
const EXPECTED: f64 = 30.0;
/// Fall of that multiple with the caution, in log per log-odds: at the most caution a third of the promised misses.
const EXPECTED_FALL: f64 = 1.5;
/// Load over capacity beyond which misses stop to say anything about capacity, over [`TRANSITION`].
const FULL: f64 = 1.0;
/// Width of that transition.
const TRANSITION: f64 = 0.3;
/// Load over capacity beyond which the share of misses grows no further.
const WORST_PRESSURE: f64 = 1.5;
/// Time in which what an overload has left behind is worked off, seconds.
const LINGER_S: f64 = 60.0;
/// Part of the promised misses at which the caution rests. It is the slower of the two, and so keeps the larger reserve.
const HEEDED: f64 = 0.5;
/// Multiple of the tolerated misses beyond which a window counts no more for the caution: it has a promise to keep over
/// hours and so hears bursts of misses; heard in full, one outage would keep a fleet large for the rest of the day.
const WORST_HEARD: f64 = 30.0;
/// Most that the caution adds to the log-odds of the forecast quantile: from the median to the 95th percentile.
const MOST_CAUTION: f64 = 3.0;

/// What one stream's requests have taught.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Headroom {
    /// ln(factor), as it is believed most likely to be.
    log: f64,
    /// Variance of that belief; absent before the first evidence.
    #[serde(default)]
    variance: Option<f64>,
    /// Greatest load over capacity of late, fading.
    #[serde(default)]
    peak: f64,
    /// Log-odds added to the forecast quantile, from 0 to [`MOST_CAUTION`].
    #[serde(default)]
    caution: f64,
    /// Counters at the last update: time, met, missed.
    last: Option<(f64, f64, f64)>,
    /// Share of misses in the last window with any finished request.
    pub recent_misses: f64,
}

/// What happened between two looks at the counters.
struct Window {
    hours: f64,
    requests: f64,
    missed: f64,
}

impl Headroom {
    /// The factor on capacity, at which the part of the promised misses that is aimed for would miss.
    #[must_use]
    pub fn factor(&self, settings: &HeadroomSettings) -> f64 {
        self.log.exp() * settings.load_at_aim()
    }

    /// How much of the doubt about capacity is left, in [0, 1]: 1 before anything was seen.
    #[must_use]
    pub fn doubt(&self) -> f64 {
        self.variance
            .map_or(1.0, |v| (v.sqrt() / DOUBT).clamp(0.0, 1.0))
    }

    /// The forecast quantile to plan for: `base`, which suffices while nothing is missed, or higher.
    #[must_use]
    pub fn quantile(&self, base: f64) -> f64 {
        let base = base.clamp(0.005, 0.995);
        let odds = base / (1.0 - base) * self.caution.exp();
        odds / (1.0 + odds)
    }

    /// The rate to plan for of what is forecast, requests per second: the quantile that the caution asks for (`base` while
    /// nothing is missed), or more where surges are to be expected that bring too many of the requests to be missed. Where
    /// the quantile is nothing, nothing: a model that nobody asks may sleep, whatever once surged.
    #[must_use]
    pub fn planned_rate(&self, forecast: &Forecast, base: f64, promised: f64) -> f64 {
        let promised = promised_misses(promised);
        let tolerated = promised * EXPECTED * (-EXPECTED_FALL * self.caution).exp();
        let quantile = forecast.quantile(self.quantile(base));
        if quantile <= 0.0 {
            return 0.0;
        }
        forecast.capacity_for(tolerated, quantile, |load| missed_at(load, promised))
    }

    /// Drops what was learned of capacity: it was that of a fleet which nobody will build again.
    pub fn forget_capacity(&mut self) {
        (self.log, self.variance, self.peak) = (0.0, None, 0.0);
    }

    /// Takes the cumulative counters of `at` without learning from them: while replicas are still on their way, misses say
    /// nothing about the capacity of a replica.
    pub fn skip(&mut self, at: f64, met: f64, missed: f64) {
        if [at, met, missed].iter().all(|x| x.is_finite() && *x >= 0.0) {
            self.last = Some((at, met, missed));
        }
    }

    /// Takes the cumulative counters of `at`. `promised` is the share of requests that the class promises to serve well,
    /// `pressure` the traffic over what the serving replicas were expected to carry, [`Headroom::factor`] and all; absent
    /// where that is not known, and then nothing is learned of capacity.
    pub fn observe(
        &mut self,
        (at, met, missed): (f64, f64, f64),
        promised: f64,
        pressure: Option<f64>,
        settings: &HeadroomSettings,
    ) {
        if ![at, met, missed].iter().all(|x| x.is_finite() && *x >= 0.0) {
            return;
        }
        let Some((t0, met0, missed0)) = self.last.replace((at, met, missed)) else {
            return;
        };
        let (hours, good, bad) = ((at - t0) / 3600.0, met - met0, missed - missed0);
        if hours <= 0.0 {
            self.last = Some((t0, met0, missed0));
            return;
        }
        // A fall is a restarted counter: nothing is known of that window.
        if good < 0.0 || bad < 0.0 || good + bad < 1.0 {
            return;
        }
        let window = Window {
            hours,
            requests: good + bad,
            missed: bad,
        };
        let promised_misses = promised_misses(promised);
        if let Some(pressure) = pressure.filter(|p| p.is_finite() && *p >= 0.0) {
            // Of the capacity at which the promised share misses, not the aimed-for one.
            let pressure = pressure * settings.load_at_aim();
            self.weigh(&window, promised_misses, pressure, settings);
        }
        self.heed(&window, promised_misses * HEEDED, settings);
    }

    /// What the window's count of misses says of capacity.
    fn weigh(
        &mut self,
        window: &Window,
        promised_misses: f64,
        pressure: f64,
        settings: &HeadroomSettings,
    ) {
        let kept = (-window.hours * 3600.0 / LINGER_S).exp();
        self.peak = pressure.max(pressure + (self.peak - pressure) * kept);
        let pressure = pressure.min(WORST_PRESSURE);
        let expected = window.requests * missed_at(pressure, promised_misses);
        let blame = if window.missed > expected {
            (1.0 - (self.peak - FULL) / TRANSITION).clamp(0.0, 1.0)
        } else {
            1.0
        };
        let drifted =
            self.variance.unwrap_or(DOUBT * DOUBT) + DRIFT * DRIFT * window.hours.min(1.0);
        let slope = STEEPNESS * pressure;
        let information = slope * slope * expected * blame / CLUSTER;
        let variance = 1.0 / (1.0 / drifted.min(DOUBT * DOUBT) + information);
        let most = SURPRISE * (CLUSTER * expected).sqrt().max(1.0);
        let surprise = (window.missed - expected).min(most);
        self.log = (self.log - variance * slope * surprise * blame / CLUSTER)
            .clamp(settings.least.ln(), settings.greatest.ln());
        self.variance = Some(variance);
    }

    /// Moves the caution by the window's misses.
    fn heed(&mut self, window: &Window, tolerated: f64, settings: &HeadroomSettings) {
        let share = window.missed / window.requests;
        self.recent_misses = share;
        let surplus = 1.0 - (share / tolerated).min(WORST_HEARD);
        // Long pauses teach no more than a minute does.
        let hours = window.hours.min(1.0 / 60.0);
        self.caution =
            (self.caution - settings.calming_per_hour * hours * surplus).clamp(0.0, MOST_CAUTION);
    }
}

/// Share of requests that a class which promises this share of them may miss.
fn promised_misses(promised: f64) -> f64 {
    (1.0 - promised).clamp(1e-4, 0.5)
}

/// Share of requests that miss at this load over the capacity, at which the promised share does.
fn missed_at(load: f64, promised_misses: f64) -> f64 {
    (promised_misses * (STEEPNESS * (load - 1.0)).exp()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wva_models::forecast::{ForecastSettings, Forecaster};

    const PER_WINDOW: f64 = 400.0;

    /// After minutes with these shares of misses, each at this pressure.
    fn after(shares: &[f64], pressure: Option<f64>) -> Headroom {
        let settings = HeadroomSettings::default();
        let mut h = Headroom::default();
        let (mut met, mut missed) = (0.0, 0.0);
        h.observe((0.0, 0.0, 0.0), 0.99, pressure, &settings);
        for (i, share) in shares.iter().enumerate() {
            missed += PER_WINDOW * share;
            met += PER_WINDOW * (1.0 - share);
            let at = 60.0 * (i as f64 + 1.0);
            h.observe((at, met, missed), 0.99, pressure, &settings);
        }
        h
    }

    fn learned(h: &Headroom) -> f64 {
        h.log.exp()
    }

    #[test]
    fn rests_where_the_aimed_for_share_misses() {
        let aim = HeadroomSettings::default().budget_share;
        let h = after(&[0.01 * aim; 100], Some(1.0));
        assert!((learned(&h) - 1.0).abs() < 1e-3, "{}", learned(&h));
        assert!((after(&[0.01 * HEEDED; 100], None).quantile(0.5) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn finds_what_replicas_really_carry() {
        let settings = HeadroomSettings::default();
        for truth in [0.7, 0.85, 1.0, 1.15] {
            let mut h = Headroom::default();
            let (mut met, mut missed) = (0.0, 0.0);
            for minute in 0..240 {
                // The planner keeps the fleet at its aim; misses follow from what the replicas really carry.
                let load = h.factor(&settings);
                let share = (0.01 * (STEEPNESS * (load / truth - 1.0)).exp()).min(1.0);
                missed += PER_WINDOW * share;
                met += PER_WINDOW * (1.0 - share);
                h.observe(
                    (60.0 * f64::from(minute), met, missed),
                    0.99,
                    Some(1.0),
                    &settings,
                );
            }
            assert!(
                (learned(&h) / truth - 1.0).abs() < 0.03,
                "{truth}: {}",
                learned(&h)
            );
            assert!(h.doubt() < 0.7, "{}", h.doubt());
        }
    }

    #[test]
    fn doubt_ends_with_evidence_and_returns_with_time() {
        assert_eq!(Headroom::default().doubt(), 1.0);
        assert!(after(&[0.0; 5], Some(0.2)).doubt() > 0.99);
        let mut h = after(&[0.01; 30], Some(1.0));
        let sure = h.doubt();
        assert!(sure < 0.5, "{sure}");
        for hour in 1..6 {
            let at = 1800.0 + 3600.0 * f64::from(hour);
            let (met, missed) = (
                30.0 * PER_WINDOW + 10.0 * f64::from(hour),
                30.0 * PER_WINDOW,
            );
            h.observe(
                (at, met, missed),
                0.99,
                Some(0.1),
                &HeadroomSettings::default(),
            );
        }
        assert!(h.doubt() > sure + 0.2, "{} after {sure}", h.doubt());
    }

    #[test]
    fn slack_teaches_little_and_overload_no_lack_of_capacity() {
        assert!(learned(&after(&[0.0; 20], Some(0.3))) < 1.02);
        assert!(learned(&after(&[0.0; 20], Some(1.0))) > 1.1);
        assert_eq!(learned(&after(&[0.5; 20], Some(1.5))), 1.0);
        assert!(learned(&after(&[0.5; 20], Some(0.9))) < 0.7);
    }

    #[test]
    fn what_an_overload_leaves_behind_says_nothing_of_capacity() {
        let settings = HeadroomSettings::default();
        let mut h = Headroom::default();
        h.observe((0.0, 0.0, 0.0), 0.99, Some(1.0), &settings);
        h.observe((15.0, 50.0, 50.0), 0.99, Some(2.5), &settings);
        h.observe((30.0, 50.0, 150.0), 0.99, Some(0.9), &settings);
        assert_eq!(learned(&h), 1.0);
        h.observe((300.0, 50.0, 250.0), 0.99, Some(0.9), &settings);
        assert!(learned(&h) < 1.0);
    }

    #[test]
    fn stays_within_its_bounds_whatever_it_is_told() {
        for (share, pressure) in [(1.0, 0.9), (0.0, 1e300), (0.3, 0.0), (1.0, f64::NAN)] {
            let h = after(&[share; 300], Some(pressure));
            assert!(
                (0.5 - 1e-9..=1.25 + 1e-9).contains(&learned(&h)),
                "{share} {pressure}"
            );
            assert!((0.0..=1.0).contains(&h.doubt()));
        }
    }

    #[test]
    fn every_miss_calls_for_caution_and_calm_hours_take_it_back() {
        let wary = after(&[0.1; 10], Some(1.5));
        assert!(wary.quantile(0.5) > 0.55, "{}", wary.quantile(0.5));
        let mut shares = vec![0.1; 10];
        shares.extend([0.0; 200]);
        assert!((after(&shares, Some(1.5)).quantile(0.5) - 0.5).abs() < 1e-9);
    }

    /// What is forecast of a stream of three a second that surges to eighteen for a minute in every eight.
    fn surging() -> Forecast {
        let mut forecaster = Forecaster::new(ForecastSettings::default());
        forecaster.observe(0.0, 0.0);
        // It ends in the middle of a pause.
        for slot in 1..=950 {
            let rate = if slot % 32 < 4 { 18.0 } else { 3.0 };
            forecaster.observe(f64::from(slot) * 15.0, rate * 15.0);
        }
        forecaster.forecast(105.0).unwrap()
    }

    #[test]
    fn surges_that_were_missed_are_stood_by_for() {
        let forecast = surging();
        let rate = |shares: &[f64]| after(shares, Some(1.5)).planned_rate(&forecast, 0.5, 0.99);
        let (calm, wary, warned) = (rate(&[0.0]), rate(&[0.5; 4]), rate(&[0.5; 20]));
        assert!(forecast.quantile(0.5) < 4.0, "{forecast:?}");
        assert!(calm >= forecast.quantile(0.5));
        assert!(wary > calm && warned > wary, "{calm} {wary} {warned}");
        assert!((12.0..24.0).contains(&warned), "{warned}");
        // No less than the quantile, and nothing more where nothing surges.
        let mut steady = Forecaster::new(ForecastSettings::default());
        (0..400).for_each(|slot| steady.observe(f64::from(slot) * 15.0, 75.0));
        let steady = steady.forecast(105.0).unwrap();
        let h = after(&[0.5; 4], Some(1.5));
        assert_eq!(
            h.planned_rate(&steady, 0.5, 0.99),
            steady.quantile(h.quantile(0.5))
        );
    }

    #[test]
    fn nothing_is_planned_for_once_nobody_asks() {
        for rate in [0.2, 1.5, 20.0] {
            let mut forecaster = Forecaster::new(ForecastSettings::default());
            let mut at = 0.0;
            let mut observe = |minutes: u32, rate: f64| {
                for _ in 0..4 * minutes {
                    at += 15.0;
                    forecaster.observe(at, rate * 15.0);
                }
                let forecast = forecaster.forecast(105.0).unwrap();
                Headroom::default().planned_rate(&forecast, 0.5, 0.99)
            };
            assert!(observe(10, rate) > 0.0);
            assert_eq!(observe(10, 0.0), 0.0, "{rate} requests per second");
        }
    }

    #[test]
    fn a_restarted_counter_teaches_nothing() {
        let mut h = after(&[0.0; 5], Some(1.0));
        let before = learned(&h);
        let settings = HeadroomSettings::default();
        h.observe((400.0, 3.0, 1.0), 0.99, Some(1.0), &settings);
        h.observe((f64::NAN, 1e9, 1e9), 0.99, Some(1.0), &settings);
        assert_eq!(before, learned(&h));
    }
}
