//! The daily profile: mean rate per ten minutes of the day, over the days seen.

use serde::{Deserialize, Serialize};

const DAY_S: f64 = 86_400.0;
const BIN_S: f64 = 600.0;
const BINS: usize = 144;
/// Weight of the newest day.
const NEWEST: f64 = 0.4;

/// Mean rate per ten minutes of the day. Empty until a day is nearly full.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Season {
    /// Rate per bin, 0 where nothing was seen.
    bins: Vec<f64>,
    /// Which bins were ever filled.
    filled: Vec<bool>,
    /// Number of the bin that is being filled (since the epoch), its seconds and its events.
    open: Option<(f64, f64, f64)>,
}

impl Season {
    /// Takes the rate of a slot of `seconds` around `middle`.
    pub(super) fn observe(&mut self, middle: f64, seconds: f64, rate: f64) {
        let number = (middle / BIN_S).floor();
        match &mut self.open {
            Some((open, covered, events)) if *open == number => {
                *covered += seconds;
                *events += rate * seconds;
            }
            open => {
                if let Some((full, covered, events)) =
                    open.replace((number, seconds, rate * seconds))
                    && covered >= BIN_S / 2.0
                {
                    self.close(full, events / covered);
                }
            }
        }
    }

    fn close(&mut self, number: f64, rate: f64) {
        if self.bins.is_empty() {
            self.bins = vec![0.0; BINS];
            self.filled = vec![false; BINS];
        }
        let i = number.rem_euclid(BINS as f64) as usize;
        if self.filled[i] {
            self.bins[i] += NEWEST * (rate - self.bins[i]);
        } else {
            self.bins[i] = rate;
            self.filled[i] = true;
        }
    }

    /// Profile at `to` over profile at `from`, held to [¼, 4]; 1 where either is unknown.
    pub(super) fn factor(&self, from: f64, to: f64) -> f64 {
        match (self.profile(from), self.profile(to)) {
            (Some(a), Some(b)) if a > 0.0 && b > 0.0 => (b / a).clamp(0.25, 4.0),
            _ => 1.0,
        }
    }

    /// Smoothed profile: triangle over three bins, linear between bin centres.
    fn profile(&self, at: f64) -> Option<f64> {
        let x = (at / BIN_S - 0.5).rem_euclid(BINS as f64);
        let (i, w) = (x.floor() as usize % BINS, x.fract());
        Some(self.smooth(i)? * (1.0 - w) + self.smooth((i + 1) % BINS)? * w)
    }

    fn smooth(&self, i: usize) -> Option<f64> {
        let at = |i: usize| {
            let i = i % BINS;
            (*self.filled.get(i)?).then(|| self.bins[i])
        };
        Some((at(i + BINS - 1)? + 2.0 * at(i)? + at(i + 1)?) / 4.0)
    }
}

const _: () = assert!(BINS as f64 * BIN_S == DAY_S);
