//! Rate curves: how the arrival rate goes over time, and how regular the arrivals are.
//!
//! Every shape of traffic (constant, steps, ramps, a day, a recorded rate file) is one list of knots, either held until
//! the next knot or joined by lines. What an arrival process needs of it is the time at which a given number of
//! requests is *expected*, Λ⁻¹: a process of unit rate, warped through Λ⁻¹, has exactly this rate at every moment.
//! Thinning a faster process would do the same for Poisson arrivals, but it destroys the regularity of all others.

/// One point of a rate curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knot {
    /// Seconds since the start.
    pub at: f64,
    /// Requests per second from here on (held) or here (joined).
    pub rate: f64,
    /// Coefficient of variation of the gaps between arrivals from here on: 0 even, 1 Poisson, more is bursty.
    pub cv: f64,
}

/// What the rate does between two knots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// It stays at the earlier knot's rate.
    Held,
    /// It goes to the later knot's rate on a straight line.
    Joined,
}

/// What the rate does after the last knot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Beyond {
    /// It stays as it is.
    Lasts,
    /// The curve starts again after this many seconds, at least the last knot's time; the rate of the last knot is held
    /// until then.
    Repeats(f64),
}

/// Greatest rate that a curve may have, requests per second: far above any fleet, far below where nanoseconds run out.
pub const GREATEST_RATE: f64 = 1e6;
/// Greatest coefficient of variation of gaps: beyond it, nearly all gaps are 0 and the traffic is a few huge heaps.
pub const GREATEST_CV: f64 = 20.0;

/// Why knots are not a rate curve.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CurveError {
    /// No knot at all.
    #[error("a rate needs at least one point")]
    Empty,
    /// A time is not after the one before it.
    #[error("times must ascend: {at} s comes after {before} s")]
    NotAscending {
        /// The earlier knot's time.
        before: f64,
        /// The later knot's time.
        at: f64,
    },
    /// A number is outside its domain.
    #[error("{what} must be {domain}, not {value}")]
    Invalid {
        /// Which number.
        what: &'static str,
        /// Its domain in words.
        domain: &'static str,
        /// The offending number.
        value: f64,
    },
}

/// An arrival rate over time.
#[derive(Debug, Clone, PartialEq)]
pub struct RateCurve {
    knots: Vec<Knot>,
    /// Requests expected before each knot, Λ.
    expected: Vec<f64>,
    between: Between,
    beyond: Beyond,
}

impl RateCurve {
    /// A curve through `knots`; before the first knot the rate is 0.
    ///
    /// # Errors
    /// [`CurveError`] when there is no knot, times do not ascend from 0, a rate or cv is not finite or out of bounds, or
    /// the period ends before the last knot.
    pub fn new(knots: Vec<Knot>, between: Between, beyond: Beyond) -> Result<Self, CurveError> {
        let last = knots.last().ok_or(CurveError::Empty)?.at;
        for (i, knot) in knots.iter().enumerate() {
            check("a time", knot.at, f64::MAX, "a number of seconds from 0")?;
            check(
                "a rate",
                knot.rate,
                GREATEST_RATE,
                "between 0 and 1e6 requests per second",
            )?;
            check("a cv", knot.cv, GREATEST_CV, "between 0 and 20")?;
            if i > 0 && knot.at <= knots[i - 1].at {
                return Err(CurveError::NotAscending {
                    before: knots[i - 1].at,
                    at: knot.at,
                });
            }
        }
        if let Beyond::Repeats(period) = beyond
            && !(period.is_finite() && period > 0.0 && period >= last)
        {
            return Err(CurveError::Invalid {
                what: "a period",
                domain: "positive and at least the time of the last point",
                value: period,
            });
        }
        let mut curve = Self {
            expected: vec![0.0; knots.len()],
            knots,
            between,
            beyond,
        };
        for i in 1..curve.knots.len() {
            let span = curve.knots[i].at - curve.knots[i - 1].at;
            curve.expected[i] = curve.expected[i - 1] + curve.area(i - 1, span);
        }
        Ok(curve)
    }

    /// The same rate for ever.
    ///
    /// # Errors
    /// [`CurveError`] when the rate or the cv is out of bounds.
    pub fn constant(rate: f64, cv: f64) -> Result<Self, CurveError> {
        let knot = Knot { at: 0.0, rate, cv };
        Self::new(vec![knot], Between::Held, Beyond::Lasts)
    }

    /// This curve with every rate multiplied by `factor`; the cv stays.
    ///
    /// # Errors
    /// [`CurveError`] when a rate leaves its bounds.
    pub fn scaled(&self, factor: f64) -> Result<Self, CurveError> {
        let knots = self.knots.iter().map(|k| Knot {
            rate: k.rate * factor,
            ..*k
        });
        Self::new(knots.collect(), self.between, self.beyond)
    }

    /// Time of the last knot, seconds.
    #[must_use]
    pub fn last_knot(&self) -> f64 {
        self.knots.last().map_or(0.0, |k| k.at)
    }

    /// Rate at `time`, requests per second.
    #[must_use]
    pub fn rate(&self, time: f64) -> f64 {
        let (_, local) = self.fold(time);
        let Some(i) = self.knot_before(local) else {
            return 0.0;
        };
        self.knots[i].rate + self.slope(i) * (local - self.knots[i].at)
    }

    /// Coefficient of variation of gaps at `time`.
    #[must_use]
    pub fn cv(&self, time: f64) -> f64 {
        let (_, local) = self.fold(time);
        self.knots[self.knot_before(local).unwrap_or(0)].cv
    }

    /// Requests expected from the start until `time`, Λ(time).
    #[must_use]
    pub fn expected(&self, time: f64) -> f64 {
        let (periods, local) = self.fold(time);
        let whole = if periods > 0.0 {
            periods * self.expected_per_period()
        } else {
            0.0
        };
        whole
            + self.knot_before(local).map_or(0.0, |i| {
                self.expected[i] + self.area(i, local - self.knots[i].at)
            })
    }

    /// The time at which `count` requests are expected, Λ⁻¹(count); `None` when there never are that many.
    #[must_use]
    pub fn time_of(&self, count: f64) -> Option<f64> {
        match self.beyond {
            Beyond::Lasts => self.time_within(count),
            Beyond::Repeats(period) => {
                let each = self.expected_per_period();
                if each <= 0.0 {
                    return None;
                }
                let periods = (count / each).floor();
                let rest = (count - periods * each).clamp(0.0, each);
                // Rounding may leave a hair more than the period holds: that is its end.
                let local = self.time_within(rest).map_or(period, |t| t.min(period));
                Some(periods * period + local)
            }
        }
    }

    /// Λ⁻¹ as if the curve lasted.
    fn time_within(&self, count: f64) -> Option<f64> {
        let i = self.expected.partition_point(|&e| e <= count).max(1) - 1;
        let rest = (count - self.expected[i]).max(0.0);
        if rest == 0.0 && count > 0.0 {
            return Some(self.knots[i].at);
        }
        let (rate, slope) = (self.knots[i].rate, self.slope(i));
        // Root of rate·x + slope·x²/2 = rest, in the form that does not cancel.
        let root = rate + (rate * rate + 2.0 * slope * rest).max(0.0).sqrt();
        let at = self.knots[i].at + 2.0 * rest / root;
        if !at.is_finite() {
            return (rest == 0.0).then_some(self.knots[i].at);
        }
        Some(self.knots.get(i + 1).map_or(at, |next| at.min(next.at)))
    }

    fn expected_per_period(&self) -> f64 {
        let last = self.knots.len() - 1;
        let held = match self.beyond {
            Beyond::Repeats(period) => self.area(last, period - self.knots[last].at),
            Beyond::Lasts => 0.0,
        };
        self.expected[last] + held
    }

    /// Whole periods before `time`, and the time within its period.
    fn fold(&self, time: f64) -> (f64, f64) {
        match self.beyond {
            Beyond::Repeats(period) if time >= period => {
                let periods = (time / period).floor();
                (periods, (time - periods * period).max(0.0))
            }
            _ => (0.0, time),
        }
    }

    fn knot_before(&self, time: f64) -> Option<usize> {
        self.knots.partition_point(|k| k.at <= time).checked_sub(1)
    }

    /// Change of the rate per second after knot `i`.
    fn slope(&self, i: usize) -> f64 {
        match (self.between, self.knots.get(i + 1)) {
            (Between::Joined, Some(next)) => {
                (next.rate - self.knots[i].rate) / (next.at - self.knots[i].at)
            }
            _ => 0.0,
        }
    }

    /// Requests expected in the `span` seconds after knot `i`.
    fn area(&self, i: usize, span: f64) -> f64 {
        (self.knots[i].rate + 0.5 * self.slope(i) * span) * span
    }
}

fn check(
    what: &'static str,
    value: f64,
    greatest: f64,
    domain: &'static str,
) -> Result<(), CurveError> {
    if (0.0..=greatest).contains(&value) {
        Ok(())
    } else {
        Err(CurveError::Invalid {
            what,
            domain,
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn knots(points: &[(f64, f64)]) -> Vec<Knot> {
        let knot = |&(at, rate)| Knot { at, rate, cv: 1.0 };
        points.iter().map(knot).collect()
    }

    #[test]
    fn a_ramp_expects_the_area_under_it() {
        let ramp = RateCurve::new(
            knots(&[(0.0, 2.0), (10.0, 6.0), (20.0, 0.0)]),
            Between::Joined,
            Beyond::Lasts,
        )
        .expect("valid");
        assert_eq!(ramp.rate(5.0), 4.0);
        assert_eq!(ramp.expected(10.0), 40.0);
        assert_eq!(ramp.expected(20.0), 70.0);
        assert_eq!(ramp.expected(99.0), 70.0);
        assert_eq!(ramp.time_of(40.0), Some(10.0));
        assert_eq!(ramp.time_of(71.0), None);
    }

    #[test]
    fn a_pause_is_jumped_over_and_a_period_starts_again() {
        let curve = RateCurve::new(
            knots(&[(0.0, 1.0), (10.0, 0.0), (20.0, 2.0)]),
            Between::Held,
            Beyond::Repeats(30.0),
        )
        .expect("valid");
        assert_eq!(curve.time_of(10.5), Some(20.25));
        assert_eq!(curve.expected(30.0), 30.0);
        assert_eq!(curve.time_of(35.0), Some(35.0));
        assert_eq!(curve.rate(45.0), 0.0);
    }

    #[test]
    fn refuses_what_is_not_a_curve() {
        let held = |points: &[(f64, f64)]| {
            RateCurve::new(knots(points), Between::Held, Beyond::Lasts).is_err()
        };
        assert!(held(&[]));
        assert!(held(&[(0.0, 1.0), (0.0, 2.0)]));
        assert!(held(&[(0.0, -1.0)]));
        assert!(held(&[(0.0, f64::NAN)]));
        assert!(held(&[(0.0, 1e7)]));
        assert!(RateCurve::constant(1.0, f64::INFINITY).is_err());
    }

    #[test]
    fn without_traffic_there_is_no_arrival() {
        let none = RateCurve::constant(0.0, 1.0).expect("valid");
        assert_eq!(none.time_of(0.5), None);
        let repeated = RateCurve::new(knots(&[(0.0, 0.0)]), Between::Held, Beyond::Repeats(5.0));
        assert_eq!(repeated.expect("valid").time_of(0.5), None);
    }

    proptest! {
        #[test]
        fn time_of_inverts_expected(
            rates in prop::collection::vec(0.0..50.0f64, 1..8),
            joined: bool,
            repeats: bool,
            share in 0.001..0.999f64,
        ) {
            let points: Vec<_> = rates.iter().enumerate().map(|(i, &r)| (i as f64 * 7.0, r)).collect();
            let between = if joined { Between::Joined } else { Between::Held };
            let beyond = if repeats { Beyond::Repeats(60.0) } else { Beyond::Lasts };
            let curve = RateCurve::new(knots(&points), between, beyond).expect("valid");
            let count = curve.expected(150.0) * share;
            if count > 0.0 {
                let time = curve.time_of(count).expect("expected that many");
                prop_assert!((curve.expected(time) - count).abs() <= 1e-6 * count.max(1.0));
            }
        }
    }
}
