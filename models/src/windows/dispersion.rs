//! Burstiness of arrivals: the index of dispersion for counts at a time scale.
//!
//! The index, Var N(τ)/E N(τ), is 1 at every τ for a Poisson process and grows with τ where the rate itself wanders.
//! The squared variation of gaps is the usual choice, but real services look Poisson by it while their counts per
//! minute vary sixteen times as much as Poisson's: it under-provisions.
//!
//! A day's rise and fall is not burstiness, since the forecast follows it. So the slots are cut into short segments,
//! each gets a straight line, and the index is Pearson's χ² per degree of freedom about the lines.

use serde::{Deserialize, Serialize};

use super::counter::Slot;

/// Fewest slots per segment, to leave degrees of freedom.
const SEGMENT: usize = 10;
/// A segment with more than this multiple of the median segment's index holds a step, not more burstiness.
const OUTLIER: f64 = 3.0;

/// An index of dispersion for counts, measured at one time scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Dispersion {
    /// Index of dispersion at [`Self::seconds`]; 1 is Poisson.
    pub index: f64,
    /// Time scale: mean length of the slots, seconds.
    pub seconds: f64,
    /// Slots that it was measured over.
    pub slots: usize,
}

impl Dispersion {
    /// The index at another time scale of `seconds`.
    ///
    /// Counts of a Poisson process whose rate wanders slowly have I(τ) = 1 + c·τ, so the excess over 1 is scaled in
    /// proportion. Below the measured scale that is nearly exact; above it, it is an upper estimate, and the scale is
    /// taken as at most four times the measured one. An index below 1 (evenly spaced arrivals) is kept.
    #[must_use]
    pub fn at(&self, seconds: f64) -> f64 {
        let scale = (seconds / self.seconds).clamp(0.0, 4.0);
        if self.index > 1.0 {
            1.0 + (self.index - 1.0) * scale
        } else {
            self.index
        }
    }
}

/// Index of dispersion of the counts in `slots`, which follow one another; `None` with fewer than 8 slots or no events.
/// What wanders more slowly than `segment_s` seconds is left out: it is for the forecast to follow or to allow for.
///
/// Method: rates r_i = N_i/d_i, a weighted line per segment of 10 slots or `segment_s`, whichever is longer, I = Σ d_i (r_i − fit_i)²/mean r / (slots − 2),
/// segments averaged with steps capped at three times their median. O(slots).
#[must_use]
pub fn dispersion(slots: &[Slot], segment_s: f64) -> Option<Dispersion> {
    const LEAST: usize = 8;
    let valid = |s: &Slot| {
        s.seconds > 0.0 && s.seconds.is_finite() && s.count.is_finite() && s.count >= 0.0
    };
    let slots: Vec<Slot> = slots.iter().copied().filter(valid).collect();
    if slots.len() < LEAST {
        return None;
    }
    let seconds = slots.iter().map(|s| s.seconds).sum::<f64>() / slots.len() as f64;
    let segment = SEGMENT.max((segment_s / seconds) as usize);
    let pieces = (slots.len() / segment).max(1);
    let size = slots.len().div_ceil(pieces);
    let mut indices: Vec<f64> = slots.chunks(size).filter_map(segment_index).collect();
    if indices.is_empty() {
        return None;
    }
    indices.sort_by(f64::total_cmp);
    // The lower of two in the middle: of two segments, one may hold a step.
    let cap = OUTLIER * indices[(indices.len() - 1) / 2].max(1.0);
    let index = indices.iter().map(|i| i.min(cap)).sum::<f64>() / indices.len() as f64;
    (index.is_finite() && seconds.is_finite()).then_some(Dispersion {
        index,
        seconds,
        slots: slots.len(),
    })
}

/// Pearson's χ² per degree of freedom about the segment's weighted line.
fn segment_index(slots: &[Slot]) -> Option<f64> {
    if slots.len() < 4 {
        return None;
    }
    let weight: f64 = slots.iter().map(|s| s.seconds).sum();
    let mean = slots.iter().map(|s| s.count).sum::<f64>() / weight;
    if mean <= 0.0 || !mean.is_finite() {
        return None;
    }
    let origin = slots[0].end;
    let centre = |s: &Slot| s.end - s.seconds / 2.0 - origin;
    let middle = slots.iter().map(|s| s.seconds * centre(s)).sum::<f64>() / weight;
    let (mut xx, mut xy) = (0.0, 0.0);
    for s in slots {
        let x = centre(s) - middle;
        xx += s.seconds * x * x;
        xy += x * (s.count - mean * s.seconds);
    }
    let slope = if xx > 0.0 { xy / xx } else { 0.0 };
    let squares: f64 = slots
        .iter()
        .map(|s| {
            let off = s.count / s.seconds - mean - slope * (centre(s) - middle);
            s.seconds * off * off
        })
        .sum();
    Some(squares / mean / (slots.len() - 2) as f64)
}
