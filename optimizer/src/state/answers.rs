//! Whether the answers that have ended tell how long answers are.
//!
//! Engines and gateways count an answer's length when it ends. Where traffic began a short while ago, only short answers
//! have: with 1,800 tokens on average, some 90 s, those that ended within the first two minutes have a third of that, and
//! a fleet sized for them falls over when the others pile up. Two remedies:
//! - lengths are *stretched* by tokens generated over tokens of ended answers. Tokens generated per ended answer are the
//!   total time on test over the failures, the maximum-likelihood mean of exponential lifetimes that are cut off (Epstein
//!   and Sobel, Life Testing, JASA 48, 1953); how much of that holds goes with the share of answers that have not ended;
//! - until enough have ended, nothing is scaled down, and misses teach nothing of capacity.

use serde::{Deserialize, Serialize};

/// Ended answers per running one from which lengths count as known, and fewest of them.
const ENOUGH: f64 = 2.0;
const FEWEST: f64 = 20.0;
/// Greatest stretch: few lifetimes are exponential, and the first to end tell least.
const MOST: f64 = 1.5;
/// Share of answers not yet ended from which the stretch holds in full.
const MANY: f64 = 1.0 / 3.0;

/// Ended and unended answers of one stream.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answers {
    /// The count of ended answers at the first look, and since.
    before: Option<f64>,
    ended: f64,
    /// Requests that are being served.
    running: f64,
    /// Whether enough have ended once: later on, many that run are an overload.
    known: bool,
    /// Tokens generated over tokens of ended answers, of late and of all streams of the model.
    ratio: Option<f64>,
}

impl Answers {
    /// Takes the cumulative count of ended answers and the requests that are being served.
    pub fn observe(&mut self, count: f64, running: f64) {
        if !count.is_finite() || count < 0.0 {
            return;
        }
        // A fall is a restarted counter: what it counted before stays counted.
        let before = *self.before.get_or_insert(count);
        if count < before + self.ended {
            self.before = Some(count - self.ended);
        }
        self.ended = count - self.before.unwrap_or(count);
        self.running = if running.is_finite() {
            running.max(0.0)
        } else {
            0.0
        };
        self.known |= self.ended >= (ENOUGH * self.running).max(FEWEST);
    }

    /// Takes what the model's engines generated and what of it belongs to ended answers, tokens of late.
    pub fn compare(&mut self, generated: f64, of_ended: f64) {
        let ratio = generated / of_ended;
        self.ratio = (ratio.is_finite() && of_ended > 0.0).then_some(ratio);
    }

    /// Whether enough have ended to know how long answers are, or none is there.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.known || self.ended >= ENOUGH * self.running
    }

    /// Factor on the lengths of the `recent` ended answers, from 1 to 1.5.
    #[must_use]
    pub fn stretch(&self, recent: f64) -> f64 {
        let unended = self.running / (self.running + recent).max(1.0);
        let longer = self.ratio.unwrap_or(1.0).clamp(1.0, MOST) - 1.0;
        1.0 + longer * (unended / MANY).min(1.0)
    }

    /// In words, why lengths are not known.
    #[must_use]
    pub fn told(&self) -> String {
        format!(
            "{:.0} answers have ended and {:.0} are being generated: too few to know how long they are",
            self.ended, self.running
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(samples: &[(f64, f64)]) -> Answers {
        let mut answers = Answers::default();
        for &(count, running) in samples {
            answers.observe(count, running);
        }
        answers
    }

    #[test]
    fn lengths_are_known_when_twice_as_many_have_ended_as_run() {
        assert!(!after(&[(0.0, 0.0), (30.0, 100.0)]).are_known());
        assert!(after(&[(0.0, 0.0), (200.0, 100.0)]).are_known());
        // Counted before the first look: nobody knows of what.
        assert!(!after(&[(1e6, 100.0), (1e6 + 30.0, 100.0)]).are_known());
        assert!(after(&[(0.0, 0.0), (0.0, 0.0)]).are_known());
        assert!(!after(&[(0.0, 0.0), (0.0, 0.0), (0.0, 10.0)]).are_known());
        // What piles up later is an overload, and says nothing of lengths.
        assert!(after(&[(0.0, 0.0), (200.0, 100.0), (210.0, 1000.0)]).are_known());
    }

    #[test]
    fn a_restarted_counter_takes_nothing_back() {
        let answers = after(&[(1000.0, 10.0), (1300.0, 100.0), (5.0, 100.0), (20.0, 100.0)]);
        assert!(answers.are_known());
        assert!((answers.ended - 315.0).abs() < 1e-9, "{}", answers.ended);
    }

    #[test]
    fn the_stretch_goes_with_what_has_not_ended() {
        let mut answers = after(&[(0.0, 0.0), (300.0, 150.0)]);
        answers.compare(1300.0, 1000.0);
        assert!((answers.stretch(300.0) - 1.3).abs() < 1e-9);
        assert!(answers.stretch(100_000.0) < 1.01);
        answers.compare(9000.0, 1000.0);
        assert_eq!(answers.stretch(300.0), 1.5);
        for (generated, ended) in [(500.0, 1000.0), (f64::NAN, 1.0), (1.0, 0.0), (0.0, 0.0)] {
            answers.compare(generated, ended);
            assert_eq!(answers.stretch(300.0), 1.0);
        }
    }

    #[test]
    fn nonsense_is_not_taken() {
        let mut answers = after(&[(0.0, 0.0), (300.0, 10.0)]);
        let before = answers.clone();
        answers.observe(f64::NAN, 1e9);
        answers.observe(-1.0, 1e9);
        assert_eq!(answers, before);
        answers.observe(301.0, f64::INFINITY);
        assert!(answers.are_known());
    }
}
