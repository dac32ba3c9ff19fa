//! Arrival processes: when requests come.
//!
//! *Renewal* processes draw independent gamma gaps of mean 1 in "expected requests" and warp them through the rate
//! curve. Their variability shows at every window alike. Real traffic is different: its index of dispersion grows with
//! the window, because its rate wanders. *Switching* processes (MMPP) have that: the rate jumps between states, the
//! arrivals within a state are Poisson. A diurnal curve plus a switching process on the same model and class gives both.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution, Exp1, Gamma};

use super::curve::{Between, Beyond, CurveError, GREATEST_RATE, Knot, RateCurve};

/// One state of a switching process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// Requests per second while in this state.
    pub rate: f64,
    /// Mean stay in this state, seconds; stays are exponential.
    pub mean_stay: f64,
}

/// When requests come.
#[derive(Debug, Clone, PartialEq)]
pub enum ArrivalProcess {
    /// Gamma gaps warped through a rate curve; cv 1 is a Poisson process, cv 0 an even one.
    Renewal(RateCurve),
    /// A Markov-modulated Poisson process: each stay is followed by one in another state, all others alike.
    Switching(Vec<State>),
}

/// A day in seconds.
pub const DAY: f64 = 86_400.0;
/// Points of the daily curve: one each five minutes.
const DAILY_POINTS: usize = 288;

/// A day's traffic as its mean, its peak and when that is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diurnal {
    /// Mean rate over the day (over the week, where weekends differ), requests per second.
    pub mean_rate: f64,
    /// Peak rate over mean rate of a day, at least 1.
    pub peak_to_mean: f64,
    /// Hour of the peak, 0 to 24. Time 0 is midnight.
    pub peak_hour: f64,
    /// Rate on a weekend day over that on a weekday; the first simulated day is a Monday. `None`: all days alike.
    pub weekend_to_weekday: Option<f64>,
    /// Coefficient of variation of gaps.
    pub cv: f64,
}

impl Diurnal {
    /// The curve `exp(κ·cos)`, normalised, with κ such that peak/mean is as asked: a plain sinusoid cannot have a peak
    /// above twice its mean, real services do (the ServeGen traces: 1.8 to 3.2), and this one keeps a positive trough.
    ///
    /// # Errors
    /// [`CurveError`] when a figure is out of its domain.
    pub fn curve(&self) -> Result<RateCurve, CurveError> {
        self.check()?;
        let day = daily_shape(self.peak_to_mean, self.peak_hour);
        let weekend = self.weekend_to_weekday.unwrap_or(1.0);
        let days = if self.weekend_to_weekday.is_some() {
            7
        } else {
            1
        };
        let level = |d: usize| if d >= 5 { weekend } else { 1.0 };
        let mean_level = (0..days).map(level).sum::<f64>() / days as f64;
        let mut knots = Vec::with_capacity(days * DAILY_POINTS);
        for d in 0..days {
            for (i, shape) in day.iter().enumerate() {
                knots.push(Knot {
                    at: DAY * (d as f64 + i as f64 / DAILY_POINTS as f64),
                    rate: self.mean_rate * shape * level(d) / mean_level,
                    cv: self.cv,
                });
            }
        }
        RateCurve::new(knots, Between::Held, Beyond::Repeats(DAY * days as f64))
    }

    fn check(&self) -> Result<(), CurveError> {
        let invalid = |what, domain, value| {
            Err(CurveError::Invalid {
                what,
                domain,
                value,
            })
        };
        if !(1.0..=20.0).contains(&self.peak_to_mean) {
            return invalid("peak_to_mean", "between 1 and 20", self.peak_to_mean);
        }
        if !(0.0..=24.0).contains(&self.peak_hour) {
            return invalid("peak_hour", "between 0 and 24", self.peak_hour);
        }
        match self.weekend_to_weekday {
            Some(w) if !(0.0..=10.0).contains(&w) => {
                invalid("weekend_to_weekday", "between 0 and 10", w)
            }
            _ => Ok(()),
        }
    }
}

/// Rates of a day with mean 1 whose greatest is `peak_to_mean`, by bisection on the sharpness κ.
fn daily_shape(peak_to_mean: f64, peak_hour: f64) -> Vec<f64> {
    let peak = (peak_hour / 24.0 * DAILY_POINTS as f64).round();
    let at = |sharpness: f64| {
        let angle = |i: usize| (i as f64 - peak) / DAILY_POINTS as f64 * std::f64::consts::TAU;
        // Relative to the peak, so that no sharpness overflows.
        let shape = |i| (sharpness * (angle(i).cos() - 1.0)).exp();
        let day: Vec<f64> = (0..DAILY_POINTS).map(shape).collect();
        let mean = day.iter().sum::<f64>() / DAILY_POINTS as f64;
        (1.0 / mean, day)
    };
    let (mut low, mut high) = (0.0, 1000.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if at(middle).0 < peak_to_mean {
            low = middle;
        } else {
            high = middle;
        }
    }
    let (scale, day) = at(0.5 * (low + high));
    day.into_iter().map(|x| x * scale).collect()
}

impl ArrivalProcess {
    /// A switching process through `states`.
    ///
    /// # Errors
    /// [`CurveError`] with fewer than one state, or a rate or stay out of its domain.
    pub fn switching(states: Vec<State>) -> Result<Self, CurveError> {
        if states.is_empty() {
            return Err(CurveError::Empty);
        }
        for state in &states {
            if !(0.0..=GREATEST_RATE).contains(&state.rate) {
                return Err(CurveError::Invalid {
                    what: "a rate",
                    domain: "between 0 and 1e6 requests per second",
                    value: state.rate,
                });
            }
            if !(1e-3..=1e9).contains(&state.mean_stay) {
                return Err(CurveError::Invalid {
                    what: "a mean stay",
                    domain: "between 1e-3 and 1e9 seconds",
                    value: state.mean_stay,
                });
            }
        }
        Ok(Self::Switching(states))
    }

    /// The same process with every rate multiplied by `factor`; cv and stays are kept.
    ///
    /// # Errors
    /// [`CurveError`] when a rate leaves its bounds.
    pub fn scaled(&self, factor: f64) -> Result<Self, CurveError> {
        match self {
            Self::Renewal(curve) => curve.scaled(factor).map(Self::Renewal),
            Self::Switching(states) => Self::switching(
                states
                    .iter()
                    .map(|s| State {
                        rate: s.rate * factor,
                        ..*s
                    })
                    .collect(),
            ),
        }
    }

    /// Requests expected in the first `seconds`.
    #[must_use]
    pub fn expected(&self, seconds: f64) -> f64 {
        match self {
            Self::Renewal(curve) => curve.expected(seconds),
            Self::Switching(states) => {
                let stay: f64 = states.iter().map(|s| s.mean_stay).sum();
                let work: f64 = states.iter().map(|s| s.rate * s.mean_stay).sum();
                seconds * work / stay
            }
        }
    }

    /// Arrival times before `end`, in seconds, ascending.
    pub(super) fn times(
        &self,
        end: f64,
        mut rng: Xoshiro256PlusPlus,
    ) -> Box<dyn Iterator<Item = f64> + '_> {
        match self {
            Self::Renewal(curve) => Box::new(renewal(curve, rng).take_while(move |&t| t < end)),
            Self::Switching(states) => {
                // Stays average `mean_stay` and every state follows equally often: that is the stationary law.
                let total: f64 = states.iter().map(|s| s.mean_stay).sum();
                let mut pick = rng.random::<f64>() * total;
                let state = states.iter().position(|s| {
                    pick -= s.mean_stay;
                    pick < 0.0
                });
                Box::new(Switching::new(states, state.unwrap_or(0), end, rng))
            }
        }
    }
}

/// Arrivals of a renewal process. The first gap is that of a process that has run for ever.
fn renewal(curve: &RateCurve, mut rng: Xoshiro256PlusPlus) -> impl Iterator<Item = f64> + '_ {
    let mut count = {
        let cv = curve.cv(0.0);
        // A uniform share of a length-biased gap; a gamma gap of shape k is, length-biased, one of shape k + 1.
        rng.random::<f64>() * gap(cv, 1.0, &mut rng)
    };
    let mut now = curve.time_of(count);
    std::iter::from_fn(move || {
        let at = now?;
        count += gap(curve.cv(at), 0.0, &mut rng);
        now = curve.time_of(count);
        Some(at)
    })
}

/// A gamma variate of scale cv² and shape 1/cv² + `extra`: a gap of mean 1 when `extra` is 0.
fn gap(cv: f64, extra: f64, rng: &mut Xoshiro256PlusPlus) -> f64 {
    let scale = cv * cv;
    if scale < 1e-6 {
        return 1.0;
    }
    if scale == 1.0 && extra == 0.0 {
        return Exp1.sample(rng);
    }
    Gamma::new(1.0 / scale + extra, scale)
        .expect("shape and scale are positive and finite: cv is between 1e-3 and GREATEST_CV")
        .sample(rng)
}

struct Switching<'a> {
    states: &'a [State],
    state: usize,
    now: f64,
    leaves_at: f64,
    end: f64,
    rng: Xoshiro256PlusPlus,
}

impl<'a> Switching<'a> {
    fn new(states: &'a [State], state: usize, end: f64, mut rng: Xoshiro256PlusPlus) -> Self {
        let stay: f64 = Exp1.sample(&mut rng);
        Self {
            leaves_at: stay * states[state].mean_stay,
            states,
            state,
            now: 0.0,
            end,
            rng,
        }
    }

    fn leave(&mut self) {
        self.now = self.leaves_at;
        if self.states.len() > 1 {
            let step = self.rng.random_range(1..self.states.len());
            self.state = (self.state + step) % self.states.len();
        }
        let stay: f64 = Exp1.sample(&mut self.rng);
        self.leaves_at += stay * self.states[self.state].mean_stay;
    }
}

impl Iterator for Switching<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        while self.now < self.end {
            let gap: f64 = Exp1.sample(&mut self.rng);
            let at = self.now + gap / self.states[self.state].rate;
            if at < self.leaves_at {
                self.now = at;
                return (at < self.end).then_some(at);
            }
            // Exponential gaps have no memory: the rest of this one may be drawn anew in the next state.
            self.leave();
        }
        None
    }
}
