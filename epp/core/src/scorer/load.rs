//! Scores from what endpoints have to do.

use crate::endpoint::Slot;
use crate::round::Round;

/// (max − x) / (max − min): 1 for the least, 0 for the most, 1 for all if all are equal; 0 for NaN unless all are.
pub(super) fn least(of: &[Slot], out: &mut Vec<f64>, x: impl Fn(Slot) -> f64) {
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    out.extend(of.iter().map(|&s| {
        let x = x(s);
        min = min.min(x);
        max = max.max(x);
        x
    }));
    let unknown = if max >= min { 0.0 } else { 1.0 };
    let range = max - min;
    for score in out {
        *score = match () {
            () if score.is_nan() => unknown,
            () if range > 0.0 => (max - *score) / range,
            () => 1.0,
        };
    }
}

/// Requests in flight from here: 1 up to `idle`, else (max − x) / max · `busy`.
pub(super) fn active(round: &Round<'_>, of: &[Slot], idle: u32, busy: f64, out: &mut Vec<f64>) {
    let count = |s: Slot| round.own(s).requests;
    let max = of.iter().map(|&s| count(s)).max().unwrap_or(0);
    out.extend(of.iter().map(|&s| match count(s) {
        few if few <= idle => 1.0,
        many => f64::from(max - many) / f64::from(max) * busy,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Vec<f64> {
        let slots: Vec<Slot> = (0..values.len() as u32).map(Slot).collect();
        let mut out = Vec::new();
        least(&slots, &mut out, |s| values[s.index()]);
        out
    }

    #[test]
    fn least_is_best() {
        assert_eq!(of(&[3.0, 0.0, 10.0]), [0.7, 1.0, 0.0]);
        assert_eq!(of(&[4.0, 4.0]), [1.0, 1.0]);
        assert_eq!(of(&[f64::NAN, 1.0, 2.0]), [0.0, 1.0, 0.0]);
        assert_eq!(of(&[f64::NAN, 1.0]), [0.0, 1.0]);
        assert_eq!(of(&[f64::NAN, f64::NAN]), [1.0, 1.0]);
        assert!(of(&[]).is_empty());
    }
}
