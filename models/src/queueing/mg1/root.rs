//! Root of an increasing function that is nearly straight and costly to evaluate.

use std::ops::Range;

/// Evaluations after which every other step halves the bracket, whatever the secant proposes.
const SECANT_STEPS: usize = 8;
/// Enough for the halvings to exhaust the 53 bits of any bracket.
const MAX_STEPS: usize = 128;

/// The root of `f` in `bracket`, to relative `tolerance`.
///
/// `f` is increasing, negative at the start of the bracket and not negative at its end; +∞ is a
/// legal value. Begins at `start` with a step of the given `slope`, then follows secants, and
/// halves the bracket whenever a step leaves it or convergence is slow.
pub(super) fn increasing(
    f: impl Fn(f64) -> f64,
    bracket: Range<f64>,
    start: f64,
    slope: f64,
    tolerance: f64,
) -> f64 {
    let (mut low, mut high) = (bracket.start, bracket.end);
    let mut x = start.clamp(low, high);
    let mut slope = slope;
    let mut previous: Option<(f64, f64)> = None;
    for step in 0..MAX_STEPS {
        let y = f(x);
        if y > 0.0 {
            high = x;
        } else if y < 0.0 {
            low = x;
        } else {
            return x;
        }
        let secant = previous.map_or(slope, |(px, py)| (y - py) / (x - px));
        if secant.is_finite() && secant > 0.0 {
            slope = secant;
        }
        let proposed = x - y / slope;
        let halve = step >= SECANT_STEPS && step % 2 == 0;
        let next = if proposed >= low && proposed <= high && !halve {
            proposed
        } else {
            low + (high - low) / 2.0
        };
        if (next - x).abs() <= tolerance * next.abs() || high - low <= tolerance * high {
            return next;
        }
        previous = Some((x, y));
        x = next;
    }
    x
}
