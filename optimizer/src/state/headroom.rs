//! Headroom learned from what requests got, in two parts that answer different questions.
//!
//! - The *factor* on capacity: what a replica really carries. It moves only where a window can tell. A fleet with slack
//!   meets every promise whatever its capacity is, and an overloaded one misses whatever its capacity is, so only windows
//!   near the expected capacity count in full.
//! - The *caution*: which quantile of the forecast to plan for. It moves with every miss, whatever the reason, and so
//!   closes the loop on what users were promised.
//!
//! Both are adaptive conformal inference (Gibbs and Candès 2021, eq. 2) on sizing instead of on intervals: x ← x + γ(τ −
//! miss share), with τ the tolerated share of misses; at rest exactly τ miss, whatever the latency model, the forecast or
//! the router got wrong. γ is per unit of time, not per request, so that a busy stream does not learn more nervously than
//! a calm one. One factor for both questions would take a burst for slow replicas and a calm night for fast ones.

use serde::{Deserialize, Serialize};

/// Knobs of the learned headroom.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadroomSettings {
    /// Part of the promised misses (1 − promised share) that is aimed for; the rest is reserve.
    pub budget_share: f64,
    /// Growth of ln(factor) per hour without a single miss, near capacity.
    pub growth_per_hour: f64,
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
            budget_share: 0.5,
            growth_per_hour: 1.0,
            least: 0.5,
            greatest: 1.25,
            calming_per_hour: 0.5,
        }
    }
}

/// Multiple of the tolerated misses beyond which a window counts no more for the factor: one bad minute is not ten.
const WORST: f64 = 12.0;
/// Likewise for the caution, which has a promise to keep over hours and so hears bursts of misses more fully; heard in
/// full, one outage would keep a fleet large for the rest of the day.
const WORST_HEARD: f64 = 30.0;
/// Load over what the fleet is expected to carry up to which meeting promises says nothing about capacity.
const SLACK: f64 = 0.65;
/// Load beyond which missing them begins to say less.
const FULL: f64 = 1.0;
/// Width of the transition at either end.
const TRANSITION: f64 = 0.3;
/// Most that the caution adds to the log-odds of the forecast quantile: from the median to the 95th percentile.
const MOST_CAUTION: f64 = 3.0;

/// What one stream's requests have taught.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Headroom {
    /// ln(factor).
    log: f64,
    /// Log-odds added to the forecast quantile, from 0 to [`MOST_CAUTION`].
    #[serde(default)]
    caution: f64,
    /// Counters at the last update: time, met, missed.
    last: Option<(f64, f64, f64)>,
    /// Share of misses in the last window with any finished request.
    pub recent_misses: f64,
}

impl Headroom {
    /// The factor on capacity.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.log.exp()
    }

    /// The forecast quantile to plan for: `base`, which suffices while nothing is missed, or higher.
    #[must_use]
    pub fn quantile(&self, base: f64) -> f64 {
        let base = base.clamp(0.005, 0.995);
        let odds = base / (1.0 - base) * self.caution.exp();
        odds / (1.0 + odds)
    }

    /// Takes the cumulative counters of `at` without learning from them: while replicas are still on their way, misses say
    /// nothing about the capacity of a replica.
    pub fn skip(&mut self, at: f64, met: f64, missed: f64) {
        if [at, met, missed].iter().all(|x| x.is_finite() && *x >= 0.0) {
            self.last = Some((at, met, missed));
        }
    }

    /// Takes the cumulative counters of `at`. `promised` is the share of requests that the class promises to serve well,
    /// `pressure` the traffic over what the serving replicas were expected to carry; absent where that is not known, and
    /// then every window counts in full.
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
        let tolerated = ((1.0 - promised) * settings.budget_share).clamp(1e-4, 0.5);
        let share = bad / (good + bad);
        self.recent_misses = share;
        let surplus = |worst: f64| (tolerated - share.min(worst * tolerated)) / tolerated;
        // Long pauses teach no more than a minute does.
        let hours = hours.min(1.0 / 60.0);
        let weight = weight(pressure, share < tolerated);
        self.log = (self.log + weight * settings.growth_per_hour * hours * surplus(WORST))
            .clamp(settings.least.ln(), settings.greatest.ln());
        self.caution = (self.caution - settings.calming_per_hour * hours * surplus(WORST_HEARD))
            .clamp(0.0, MOST_CAUTION);
    }
}

/// How much a window at this pressure says about capacity, when fewer requests missed than tolerated or more.
fn weight(pressure: Option<f64>, fewer: bool) -> f64 {
    let Some(pressure) = pressure.filter(|p| p.is_finite()) else {
        return 1.0;
    };
    let beyond = |from: f64| ((pressure - from) / TRANSITION).clamp(0.0, 1.0);
    if fewer {
        beyond(SLACK)
    } else {
        1.0 - beyond(FULL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(shares: &[f64], pressure: Option<f64>) -> Headroom {
        let settings = HeadroomSettings::default();
        let mut h = Headroom::default();
        let (mut met, mut missed) = (0.0, 0.0);
        h.observe((0.0, 0.0, 0.0), 0.99, pressure, &settings);
        for (i, share) in shares.iter().enumerate() {
            missed += 1000.0 * share;
            met += 1000.0 * (1.0 - share);
            let at = 60.0 * (i as f64 + 1.0);
            h.observe((at, met, missed), 0.99, pressure, &settings);
        }
        h
    }

    #[test]
    fn rests_where_the_tolerated_share_misses() {
        let h = after(&[0.005; 100], None);
        assert!((h.factor() - 1.0).abs() < 1e-9, "{}", h.factor());
        assert!((h.quantile(0.5) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn grows_slowly_and_falls_quickly() {
        assert!((after(&[0.0; 10], None).factor().ln() - 10.0 / 60.0).abs() < 1e-9);
        assert!(after(&[0.1], None).factor() < 0.9);
        assert!(after(&[1.0; 50], None).factor() >= 0.5 - 1e-9);
    }

    #[test]
    fn slack_teaches_no_capacity_and_overload_no_lack_of_it() {
        assert_eq!(after(&[0.0; 20], Some(0.5)).factor(), 1.0);
        assert!(after(&[0.0; 20], Some(1.0)).factor() > 1.2);
        assert_eq!(after(&[0.5; 20], Some(1.5)).factor(), 1.0);
        assert!(after(&[0.5; 20], Some(0.9)).factor() < 0.6);
    }

    #[test]
    fn every_miss_calls_for_caution_and_calm_hours_take_it_back() {
        let wary = after(&[0.05; 10], Some(1.5));
        assert!(wary.quantile(0.5) > 0.55, "{}", wary.quantile(0.5));
        let mut shares = vec![0.05; 10];
        shares.extend([0.0; 200]);
        assert!((after(&shares, Some(1.5)).quantile(0.5) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_restarted_counter_teaches_nothing() {
        let mut h = after(&[0.0; 5], None);
        let before = h.factor();
        h.observe((400.0, 3.0, 1.0), 0.99, None, &HeadroomSettings::default());
        h.observe(
            (f64::NAN, 1e9, 1e9),
            0.99,
            None,
            &HeadroomSettings::default(),
        );
        assert_eq!(before, h.factor());
    }
}
