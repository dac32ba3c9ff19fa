//! Whether the router sends a variant prompts of any length, or those that suit it.
//!
//! Small devices can take the short prompts of a class only where something sorts them: a router that sees load and size
//! does, one that counts requests, looks for prefixes or throws dice does not, and which one is in front the metrics of
//! the replicas tell: the mean prompt that a variant was sent, over what its model's prompts had in the mean meanwhile.

use serde::{Deserialize, Serialize};
use wva_models::fit::EngineWindow;

/// Prompts that are remembered: the newest so many.
const MEMORY: f64 = 200.0;
/// Fewest prompts that say something: with lengths that vary by their mean, about 15 % off.
const FEWEST: f64 = 40.0;
/// Prompts for which the presumption that nothing sorts them counts.
const PRESUMED: f64 = 5.0;
/// Mean length over that of the model's prompts beyond which nothing sorts them.
const UNSORTED: f64 = 0.75;
/// Time after which half of it is forgotten, seconds: routers are replaced, and then it is worth another try.
const HALF_LIFE_S: f64 = 43_200.0;

/// The prompts that a variant was sent, beside those of its model.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Sorting {
    prompts: f64,
    tokens: f64,
    /// Tokens that as many prompts of the model had in the mean.
    expected: f64,
    /// When it was last looked at; the first look forgets nothing.
    at: f64,
}

impl Sorting {
    /// Takes in what the variant's replicas did by `at`, seconds; `mean` is that of the model's prompts, without cached
    /// tokens, where it is known.
    pub fn observe(&mut self, at: f64, windows: &[EngineWindow], mean: Option<f64>) {
        if at > self.at {
            self.keep((-(at - self.at) / HALF_LIFE_S).exp2());
            self.at = at;
        }
        let Some(mean) = mean.filter(|m| m.is_finite() && *m > 0.0) else {
            return;
        };
        for w in windows {
            self.prompts += w.ttft_count;
            self.tokens += w.prompt_tokens;
            self.expected += w.ttft_count * mean;
        }
        self.keep((MEMORY / self.prompts).min(1.0));
    }

    /// Whether prompts of any length come; not while too little is known.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.prompts >= FEWEST && self.tokens > UNSORTED * self.expected
    }

    /// Mean length of its prompts over that of the model's, at most 1, which is also what is presumed of the first few and
    /// where nothing sorts them.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.prompts <= 0.0 || self.is_absent() {
            return 1.0;
        }
        let presumed = PRESUMED * self.expected / self.prompts;
        ((self.tokens + presumed) / (self.expected + presumed)).min(1.0)
    }

    fn keep(&mut self, share: f64) {
        for x in [&mut self.prompts, &mut self.tokens, &mut self.expected] {
            *x *= share;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(prompts: f64, mean: f64) -> Vec<EngineWindow> {
        vec![EngineWindow {
            seconds: 15.0,
            prompt_tokens: prompts * mean,
            ttft_count: prompts,
            ..EngineWindow::default()
        }]
    }

    #[test]
    fn prompts_of_any_length_are_told_from_short_ones() {
        let (mut short, mut any) = (Sorting::default(), Sorting::default());
        for i in 0..20 {
            let at = 15.0 * f64::from(i);
            short.observe(at, &windows(10.0, 2_000.0), Some(12_000.0));
            any.observe(at, &windows(10.0, 11_000.0), Some(12_000.0));
            assert!(!short.is_absent());
            // A few prompts say nothing yet.
            assert_eq!(any.is_absent(), i >= 4, "{i}");
        }
        // The router was replaced: the newest prompts count.
        for i in 20..60 {
            any.observe(15.0 * f64::from(i), &windows(10.0, 2_000.0), Some(12_000.0));
        }
        assert!(!any.is_absent());
    }

    #[test]
    fn nothing_is_held_against_a_variant_for_ever() {
        let mut sorting = Sorting::default();
        sorting.observe(0.0, &windows(500.0, 12_000.0), Some(12_000.0));
        sorting.observe(HALF_LIFE_S, &[], None);
        assert!(sorting.is_absent());
        sorting.observe(3.0 * HALF_LIFE_S, &[], None);
        assert!(!sorting.is_absent());
    }

    #[test]
    fn nonsense_says_nothing() {
        let mut sorting = Sorting::default();
        for mean in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            sorting.observe(0.0, &windows(100.0, 12_000.0), Some(mean));
        }
        sorting.observe(f64::NAN, &windows(100.0, 12_000.0), None);
        assert_eq!(sorting, Sorting::default());
    }
}
