//! Headroom learned from what requests got: capacity is scaled so that the share of misses tracks what the class allows.
//!
//! Every finished request moves the logarithm u of the factor: a met one up by γτ, a missed one down by γ(1 − τ), with τ
//! the tolerated share of misses. At rest exactly τ of the requests miss, whatever the latency model, the forecast or the
//! router got wrong: this is adaptive conformal inference (Gibbs and Candès 2021, eq. 2) on sizing instead of on
//! intervals. γ is per unit of time, not per request, so that a busy stream does not learn more nervously than a calm one.

use serde::{Deserialize, Serialize};

/// Knobs of the learned headroom.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadroomSettings {
    /// Part of the promised misses (1 − promised share) that is aimed for; the rest is reserve.
    pub budget_share: f64,
    /// Growth of ln(factor) per hour without a single miss.
    pub growth_per_hour: f64,
    /// Least factor on capacity.
    pub least: f64,
    /// Greatest factor on capacity.
    pub greatest: f64,
}

impl Default for HeadroomSettings {
    fn default() -> Self {
        Self {
            budget_share: 0.5,
            growth_per_hour: 1.5,
            least: 0.5,
            greatest: 2.0,
        }
    }
}

/// Multiple of the tolerated misses beyond which a window counts no more.
const WORST: f64 = 12.0;

/// The learned factor of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Headroom {
    /// ln(factor).
    log: f64,
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

    /// Takes the cumulative counters of `at` without learning from them: while replicas are still on their way, misses say
    /// nothing about the capacity of a replica.
    pub fn skip(&mut self, at: f64, met: f64, missed: f64) {
        if [at, met, missed].iter().all(|x| x.is_finite() && *x >= 0.0) {
            self.last = Some((at, met, missed));
        }
    }

    /// Takes the cumulative counters of `at`; `promised` is the share of requests that the class promises to serve well.
    pub fn observe(
        &mut self,
        at: f64,
        met: f64,
        missed: f64,
        promised: f64,
        settings: &HeadroomSettings,
    ) {
        if ![at, met, missed].iter().all(|x| x.is_finite() && *x >= 0.0) {
            return;
        }
        let Some((t0, met0, missed0)) = self.last else {
            self.last = Some((at, met, missed));
            return;
        };
        let (hours, good, bad) = ((at - t0) / 3600.0, met - met0, missed - missed0);
        if hours <= 0.0 {
            return;
        }
        self.last = Some((at, met, missed));
        // A fall is a restarted counter: nothing is known of that window.
        if good < 0.0 || bad < 0.0 || good + bad < 1.0 {
            return;
        }
        let tolerated = ((1.0 - promised) * settings.budget_share).clamp(1e-4, 0.5);
        let share = bad / (good + bad);
        self.recent_misses = share;
        // One bad minute is not ten: a burst of misses counts up to a multiple of what is tolerated.
        let share = share.min(WORST * tolerated);
        // Long pauses teach no more than a minute does.
        let gain = settings.growth_per_hour * hours.min(1.0 / 60.0) / tolerated;
        self.log = (self.log + gain * (tolerated - share))
            .clamp(settings.least.ln(), settings.greatest.ln());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(shares: &[f64]) -> Headroom {
        let mut h = Headroom::default();
        let (mut met, mut missed) = (0.0, 0.0);
        h.observe(0.0, 0.0, 0.0, 0.99, &HeadroomSettings::default());
        for (i, share) in shares.iter().enumerate() {
            missed += 1000.0 * share;
            met += 1000.0 * (1.0 - share);
            h.observe(
                60.0 * (i as f64 + 1.0),
                met,
                missed,
                0.99,
                &HeadroomSettings::default(),
            );
        }
        h
    }

    #[test]
    fn rests_where_the_tolerated_share_misses() {
        let h = after(&[0.005; 100]);
        assert!((h.factor() - 1.0).abs() < 1e-9, "{}", h.factor());
    }

    #[test]
    fn grows_slowly_and_falls_quickly() {
        assert!((after(&[0.0; 20]).factor().ln() - 0.5).abs() < 1e-9);
        assert!(after(&[0.1]).factor() < 0.9);
        assert!(after(&[1.0; 50]).factor() >= 0.5 - 1e-9);
    }

    #[test]
    fn a_restarted_counter_teaches_nothing() {
        let mut h = after(&[0.0; 5]);
        let before = h.factor();
        h.observe(400.0, 3.0, 1.0, 0.99, &HeadroomSettings::default());
        h.observe(f64::NAN, 1e9, 1e9, 0.99, &HeadroomSettings::default());
        assert_eq!(before, h.factor());
    }
}
