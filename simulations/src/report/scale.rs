//! Axes: where a value lies between 0 and 1, and which round values get a tick.

use super::figures;

/// What the values of an axis are, for the text of its ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Whole numbers: replicas, requests.
    Count,
    /// Other plain numbers: requests per second.
    Number,
    /// Dollars.
    Dollars,
    /// Milliseconds.
    Latency,
}

impl Unit {
    /// Letter that tells the page's script how to write a value.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Count | Self::Number => "n",
            Self::Dollars => "$",
            Self::Latency => "ms",
        }
    }

    /// The step between ticks, which is whole for counts.
    fn at_least(self, step: f64) -> f64 {
        if self == Self::Count {
            step.max(1.0)
        } else {
            step
        }
    }

    fn tick(self, value: f64) -> String {
        match self {
            Self::Count | Self::Number => figures::digits(value, 4),
            Self::Dollars if value.fract() == 0.0 => {
                format!("${}", figures::digits(value, 4))
            }
            Self::Dollars => figures::dollars(value),
            Self::Latency => figures::latency(value),
        }
    }
}

/// A finite axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    unit: Unit,
}

/// A tick: position from the low end, 0 to 1, and text.
pub(super) type Tick = (f64, String);

/// Values beyond this are drawn at the edge.
const LARGEST: f64 = 1e15;

impl Scale {
    /// From 0 to a round value at or above the greatest finite one; to 1 where there is none.
    pub(super) fn from_zero(values: impl Iterator<Item = f64>, unit: Unit) -> Self {
        let greatest = finite(values).fold(0.0, f64::max);
        let high = if greatest > 0.0 { greatest } else { 1.0 };
        let step = unit.at_least(round_step(high / 5.0));
        Self {
            low: 0.0,
            high: (high / step - 1e-9).ceil() * step,
            logarithmic: false,
            unit,
        }
    }

    /// From a round value below the least finite one to a round one above the greatest; from 0 where that is near.
    pub(super) fn around(values: impl Iterator<Item = f64>, unit: Unit) -> Self {
        let all = finite(values).fold(None, |range: Option<(f64, f64)>, v| {
            Some(range.map_or((v, v), |(l, h)| (l.min(v), h.max(v))))
        });
        let (least, greatest) = all.unwrap_or((0.0, 1.0));
        let spread = (greatest - least).max(greatest.abs() * 0.1).max(1e-6);
        let step = round_step(spread / 5.0);
        let low = ((least - spread * 0.1) / step).floor() * step;
        Self {
            low: if least >= 0.0 && low < greatest * 0.25 {
                0.0
            } else {
                low
            },
            high: ((greatest + spread * 0.1) / step).ceil() * step,
            logarithmic: false,
            unit,
        }
    }

    /// Whole 1–2–5 steps around all positive finite values; `None` without any.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64>, unit: Unit) -> Option<Self> {
        let positive = finite(values).filter(|v| *v > 1e-9);
        let (low, high) = positive.fold((f64::INFINITY, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
        (high > 0.0).then(|| {
            // At least a decade, so that a flat series does not look like noise.
            let low = low.min(high / 10.0);
            Self {
                low: one_two_five(low * 0.999, false),
                high: one_two_five(high * 1.001, true),
                logarithmic: true,
                unit,
            }
        })
    }

    /// Position of a value from the low end, within 0 to 1.
    pub(super) fn position(&self, value: f64) -> f64 {
        let at = if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if at.is_nan() { 0.0 } else { at.clamp(0.0, 1.0) }
    }

    /// Unit of the values.
    pub(super) const fn unit(&self) -> Unit {
        self.unit
    }

    /// Some three to seven round values with their positions.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let values = if self.logarithmic {
            self.decades()
        } else {
            let step = round_step((self.high - self.low) / 5.0);
            let step = self.unit.at_least(step);
            let n = ((self.high - self.low) / step + 1e-6).floor() as usize;
            (0..=n.min(12))
                .map(|i| self.low + step * i as f64)
                .collect()
        };
        values
            .into_iter()
            .map(|v| (self.position(v), self.unit.tick(v)))
            .collect()
    }

    /// 1–2–5 values where few decades are shown, then 1–3 and powers of 10, thinned to at most seven.
    fn decades(&self) -> Vec<f64> {
        let (first, last) = (
            self.low.log10().floor() as i32,
            self.high.log10().ceil() as i32,
        );
        let leads: &[f64] = match last - first {
            ..=2 => &[1.0, 2.0, 5.0],
            3 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let all = (first..=last).flat_map(|d| leads.iter().map(move |l| l * 10_f64.powi(d)));
        let within = |v: &f64| *v >= self.low * 0.9999 && *v <= self.high * 1.0001;
        let all: Vec<f64> = all.filter(within).collect();
        let every = all.len().div_ceil(7).max(1);
        all.into_iter().step_by(every).collect()
    }
}

/// Ticks of a time axis from 0 to `end` seconds, at round times, at most 13.
pub(super) fn time_ticks(end: f64) -> Vec<Tick> {
    const STEPS: [f64; 17] = [
        1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10_800.0,
        21_600.0, 43_200.0, 86_400.0, 604_800.0,
    ];
    let least = end / 12.0;
    let step = STEPS.into_iter().find(|s| *s >= least);
    let step = step.unwrap_or_else(|| (least / 604_800.0).ceil() * 604_800.0);
    (0..)
        .map(|i| step * f64::from(i))
        .take_while(|t| *t <= end * 1.000_001)
        .take(14)
        .map(|t| (t / end, time_text(t, step)))
        .collect()
}

fn time_text(t: f64, step: f64) -> String {
    if step >= 86_400.0 {
        return format!("day {}", figures::digits(t / 86_400.0 + 1.0, 6));
    }
    figures::clock(t)
}

fn finite(values: impl Iterator<Item = f64>) -> impl Iterator<Item = f64> {
    values
        .filter(|v| v.is_finite())
        .map(|v| v.clamp(-LARGEST, LARGEST))
}

/// The smallest of 1, 2, 5 × 10ⁿ that is at least `least`.
fn round_step(least: f64) -> f64 {
    one_two_five(least.max(1e-12), true)
}

/// The next of 1, 2, 5 × 10ⁿ upwards or downwards; the value itself where it is one.
fn one_two_five(value: f64, up: bool) -> f64 {
    let power = 10_f64.powi(value.log10().floor() as i32);
    let lead = value / power;
    let steps = [1.0, 2.0, 5.0, 10.0];
    let found = if up {
        steps.into_iter().find(|s| *s >= lead - 1e-9)
    } else {
        steps.into_iter().rev().find(|s| *s <= lead + 1e-9)
    };
    found.unwrap_or(1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_start_at_zero_and_end_at_a_tick() {
        let one = Scale::from_zero([1.0].into_iter(), Unit::Count);
        assert_eq!(one.ticks(), [(0.0, "0".to_owned()), (1.0, "1".to_owned())]);
        for greatest in [0.3, 1.0, 7.0, 13.0, 99.0, 101.0, 123_456.0] {
            let scale = Scale::from_zero([greatest].into_iter(), Unit::Number);
            let ticks = scale.ticks();
            assert!((3..=8).contains(&ticks.len()), "{greatest}: {ticks:?}");
            assert!((ticks.last().unwrap().0 - 1.0).abs() < 1e-9, "{greatest}");
            assert!(scale.position(greatest) > 0.6 && scale.position(0.0) == 0.0);
        }
    }

    #[test]
    fn logarithmic_axes_hold_all_values_and_few_ticks() {
        for (low, high) in [(1.0, 1.0), (30.0, 1000.0), (0.2, 9e6), (3.0, 8.0)] {
            let scale = Scale::logarithmic([low, high].into_iter(), Unit::Latency).unwrap();
            assert!(scale.position(low) >= 0.0 && scale.position(high) <= 1.0);
            let n = scale.ticks().len();
            assert!((2..=7).contains(&n), "{low}..{high}: {n}");
        }
        assert!(Scale::logarithmic([f64::NAN, 0.0].into_iter(), Unit::Latency).is_none());
    }

    #[test]
    fn a_day_is_ticked_every_two_hours() {
        let ticks = time_ticks(86_400.0);
        assert_eq!(ticks.len(), 13);
        assert_eq!(ticks[3], (0.25, "06:00".to_owned()));
    }
}
