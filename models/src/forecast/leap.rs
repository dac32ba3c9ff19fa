//! Leaps: a slot so far above its forecast that the rate must have changed at once.
//!
//! Levels follow a step as fast as their memories allow, and where the rate was steady those with long memories weigh
//! most: minutes pass until replicas are asked for. So each slot is held against its forecast, a one-sided control chart
//! (Shewhart, Economic Control of Quality of Manufactured Product, 1931) whose limit is in units of what the slots of this
//! stream usually deviate by: one that bursts every few minutes has wide limits. Only upwards: a fleet that is too large for
//! minutes costs little.

use serde::{Deserialize, Serialize};

/// Deviation beyond which a slot is no chance, in usual deviations.
const LIMIT: f64 = 5.0;
/// Slots before which nobody knows what is usual.
const LEARNING: f64 = 8.0;
/// Square of the usual deviation before anything was seen, in Poisson variances, and the slots that it is worth.
const PRIOR: f64 = 1.5;
const PRIOR_SLOTS: f64 = 20.0;
/// Memory of what is usual, slots.
const MEMORY: f64 = 160.0;
/// Deviations count as no greater than this: a leap is not usual.
const GREATEST: f64 = 10.0;

/// What the slots of one stream usually deviate by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Leaps {
    seen: f64,
    /// Mean square of the deviations from the forecast, in Poisson variances.
    size: f64,
}

impl Default for Leaps {
    fn default() -> Self {
        Self {
            seen: 0.0,
            size: PRIOR,
        }
    }
}

impl Leaps {
    /// Takes a slot of `seconds` with this rate, of which `expected` was forecast. The new level where it is a leap: the
    /// slot's rate less the standard deviation of its count.
    pub(super) fn observe(&mut self, rate: f64, expected: f64, seconds: f64) -> Option<f64> {
        let deviation = (expected.max(1.0 / seconds) / seconds).sqrt();
        let z = (rate - expected) / deviation;
        let leapt = self.seen >= LEARNING && z > LIMIT * self.size.max(1.0).sqrt();
        self.seen += 1.0;
        let gain = (1.0 / MEMORY).max(1.0 / (self.seen + PRIOR_SLOTS));
        self.size += gain * (z.clamp(-GREATEST, GREATEST).powi(2) - self.size);
        leapt.then(|| rate - (rate / seconds).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: f64 = 15.0;

    fn after(rates: impl Iterator<Item = f64>) -> Leaps {
        let mut leaps = Leaps::default();
        rates.for_each(|rate| {
            leaps.observe(rate, 4.0, SLOT);
        });
        leaps
    }

    #[test]
    fn a_step_is_told_from_chance() {
        // Two Poisson deviations to either side.
        let wobble = (0..40).map(|i| if i % 2 == 0 { 5.0 } else { 3.0 });
        let mut leaps = after(wobble);
        assert_eq!(leaps.observe(6.0, 4.0, SLOT), None);
        let level = leaps.observe(12.0, 4.0, SLOT).unwrap();
        assert!((10.5..12.0).contains(&level), "{level}");
        assert_eq!(leaps.observe(0.0, 4.0, SLOT), None);
    }

    #[test]
    fn what_bursts_every_few_minutes_is_used_to_it() {
        let mut leaps = after((0..400).map(|i| if i % 10 == 0 { 10.0 } else { 3.5 }));
        assert_eq!(leaps.observe(10.0, 4.0, SLOT), None);
    }

    #[test]
    fn nothing_is_a_leap_before_the_usual_is_known() {
        assert_eq!(after((0..7).map(|_| 4.0)).observe(40.0, 4.0, SLOT), None);
        assert!(
            after((0..8).map(|_| 4.0))
                .observe(40.0, 4.0, SLOT)
                .is_some()
        );
    }
}
