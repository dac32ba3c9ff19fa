//! Candidate forecasts: levels and damped trends with different memories (Holt's linear method with Gardner–McKenzie
//! damping), and the daily profile.

use serde::{Deserialize, Serialize};

use super::LADDER;
use super::band::{self, Place};

/// (α, β, φ) of each Holt track at slots of a quarter of the outcome time: fast, medium and slow level; fast and slow
/// trend.
const HOLT: [(f64, f64, f64); 5] = [
    (0.5, 0.0, 0.0),
    (0.2, 0.0, 0.0),
    (0.06, 0.0, 0.0),
    (0.2, 0.04, 0.96),
    (0.08, 0.015, 0.985),
];
/// Candidates: the Holt tracks and the season.
pub(super) const TRACKS: usize = HOLT.len() + 1;
/// Which Holt track the season multiplies.
const SEASON_LEVEL: usize = 1;
/// The first track with a trend.
pub(super) const FIRST_TREND: usize = 3;
/// The season's place among the candidates.
pub(super) const SEASON: usize = HOLT.len();

/// The mean rate of the last two hours of slots of 15 s.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Usual {
    pub(super) rate: f64,
    slots: f64,
}

impl Usual {
    /// Memory, slots.
    const MEMORY: f64 = 480.0;

    pub(super) fn observe(&mut self, rate: f64) {
        self.slots = (self.slots + 1.0).min(Self::MEMORY);
        self.rate += (rate - self.rate) / self.slots;
    }
}

/// Levels and trends now.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Tracks {
    /// (level in requests per second, trend in requests per second per slot).
    state: [(f64, f64); HOLT.len()],
    /// Slots seen.
    seen: u32,
}

impl Tracks {
    /// Takes the rate of a slot that is `step` quarters of the outcome time long.
    pub(super) fn update(&mut self, rate: f64, step: f64) {
        self.seen = self.seen.saturating_add(1);
        for ((level, trend), (alpha, beta, phi)) in self.state.iter_mut().zip(HOLT) {
            let alpha = per_slot(alpha, step).max(1.0 / f64::from(self.seen));
            let before = *level;
            let expected = before + phi * *trend;
            *level = (expected + alpha * (rate - expected)).max(0.0);
            if beta > 0.0 && self.seen > 4 {
                *trend = phi * *trend + per_slot(beta, step) / alpha * (*level - expected);
            }
        }
    }

    /// Starts all levels anew at `rate`, without a trend.
    pub(super) fn leap(&mut self, rate: f64) {
        self.state = [(rate, 0.0); HOLT.len()];
        self.seen = 1;
    }

    /// The rate now by the medium level.
    pub(super) fn level(&self) -> f64 {
        self.state[SEASON_LEVEL].0
    }

    /// What is known now, to be compared with outcomes later.
    pub(super) fn origin(&self, season: [f64; LADDER.len()], usual: f64, known_s: f64) -> Origin {
        Origin {
            state: self.state,
            season,
            combined: [0.0; LADDER.len()],
            usual,
            known_s,
        }
    }
}

/// A smoothing weight for slots of a quarter of the outcome time, for slots of another length.
fn per_slot(weight: f64, step: f64) -> f64 {
    1.0 - (1.0 - weight).powf(step)
}

/// What was known and forecast at the end of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Origin {
    state: [(f64, f64); HOLT.len()],
    season: [f64; LADDER.len()],
    /// Combined forecast per horizon of the ladder.
    pub(super) combined: [f64; LADDER.len()],
    /// Mean rate of late.
    #[serde(default)]
    usual: f64,
    /// Seconds of slots that the levels rested on.
    #[serde(default)]
    known_s: f64,
}

impl Origin {
    /// Where the combined forecast at a horizon lies.
    pub(super) fn place(&self, horizon: usize) -> Place {
        Place::of(self.combined[horizon], self.usual)
    }

    /// Unit of that forecast's error, for outcomes over `outcome_s`.
    pub(super) fn unit(&self, horizon: usize, outcome_s: f64) -> f64 {
        band::unit(self.combined[horizon], outcome_s, self.known_s)
    }

    /// Each candidate's forecast `lead` slots ahead, which is the ladder's horizon number `horizon`. A trend may take
    /// the rate to a quarter or four times of its level, no further.
    pub(super) fn candidates(&self, lead: f64, horizon: usize) -> [f64; TRACKS] {
        let mut out = [0.0; TRACKS];
        for (i, ((level, trend), (_, beta, phi))) in self.state.iter().zip(HOLT).enumerate() {
            let ahead = if beta > 0.0 {
                trend * phi * (1.0 - phi.powf(lead)) / (1.0 - phi)
            } else {
                0.0
            };
            out[i] = (level + ahead).clamp(level / 4.0, level * 4.0);
        }
        out[SEASON] = self.state[SEASON_LEVEL].0 * self.season[horizon];
        out
    }
}
