//! State-dependent birth–death chain, M(k)/M(k)/1/K.
//!
//! ```text
//!      λ(0)     λ(1)            λ(K−1)
//!  (0) ───▶ (1) ───▶ (2)  ...  ───▶ (K)     λ(K) is turned away
//!      ◀───     ◀───           ◀───
//!      μ(1)     μ(2)            μ(K)
//! ```
//! The weights follow the local balance w_{k+1} = w_k·λ(k)/μ(k+1) and span thousands of decimal
//! orders at K = 10⁴. They are kept as mantissa × 2^(512·exponent), a logarithm with an integer part
//! only: one division and one product a state, exact scaling, relative error about K·10⁻¹⁶. Summing
//! true logarithms costs an `ln` and an `exp` a state and loses digits as the sum grows.
//!
//! Source: D. Gross, J. F. Shortle, J. M. Thompson and C. M. Harris, *Fundamentals of Queueing
//! Theory*, 4th ed. (2008), §2.1–2.2.

use super::{QueueingError, non_negative, size};

/// 2^512: the step between two exponents.
const RADIX: f64 = f64::from_bits((1023 + 512) << 52);
/// 2^500: one transition may not leave the range that a single rescaling repairs.
const MAX_RATIO: f64 = f64::from_bits((1023 + 500) << 52);

/// Solver with buffers that are reused: solving again at the same size allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct BirthDeath {
    probabilities: Vec<f64>,
    arrival_rates: Vec<f64>,
    segments: Vec<Segment>,
}

/// A run of states whose weights share a binary exponent.
#[derive(Debug, Clone, Copy)]
struct Segment {
    start: usize,
    exponent: i32,
}

impl BirthDeath {
    /// A solver without buffers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Equilibrium under a constant `arrival_rate` λ ≥ 0 and `service_rates` μ(1..=K), all in 1/s;
    /// `service_rates[k - 1]` is the total rate with k in system, and their number is the capacity.
    ///
    /// # Errors
    /// As [`BirthDeath::solve_with`].
    pub fn solve(
        &mut self,
        arrival_rate: f64,
        service_rates: &[f64],
    ) -> Result<Equilibrium<'_>, QueueingError> {
        let arrival_rate = non_negative("arrival rate", arrival_rate)?;
        self.solve_with(
            service_rates.len(),
            |_| arrival_rate,
            |k| service_rates[k - 1],
        )
    }

    /// Equilibrium with room for `capacity` K requests, `arrivals(k)` ≥ 0 for k in 0..=K and
    /// `services(k)` > 0 for k in 1..=K, in 1/s; each is asked once a state. O(K).
    ///
    /// A rate λ(k) of 0 closes the chain: states above k are never reached.
    ///
    /// # Errors
    /// `capacity` of 0 or above [`super::MAX_STATES`]; a rate that is negative, NaN or infinite; a
    /// service rate of 0; λ(k)/μ(k+1) beyond 10^±150.
    pub fn solve_with(
        &mut self,
        capacity: usize,
        arrivals: impl FnMut(usize) -> f64,
        services: impl FnMut(usize) -> f64,
    ) -> Result<Equilibrium<'_>, QueueingError> {
        let capacity = size("capacity", capacity)?;
        self.weigh(capacity, arrivals, services)?;
        let total = self.align();
        Ok(self.normalise(total))
    }

    /// Fills mantissas, exponents and arrival rates by local balance from state 0.
    fn weigh(
        &mut self,
        capacity: usize,
        mut arrivals: impl FnMut(usize) -> f64,
        mut services: impl FnMut(usize) -> f64,
    ) -> Result<(), QueueingError> {
        self.probabilities.clear();
        self.arrival_rates.clear();
        self.segments.clear();
        self.probabilities.reserve(capacity + 1);
        self.arrival_rates.reserve(capacity + 1);
        let (mut weight, mut exponent) = (1.0_f64, 0);
        self.segments.push(Segment { start: 0, exponent });
        for state in 0..capacity {
            self.probabilities.push(weight);
            let arrival_rate = checked_arrival(state, arrivals(state))?;
            self.arrival_rates.push(arrival_rate);
            let service_rate = checked_service(state + 1, services(state + 1))?;
            weight *= checked_ratio(state, arrival_rate, service_rate)?;
            if !(RADIX.recip()..RADIX).contains(&weight) && weight != 0.0 {
                let step = if weight >= RADIX { 1 } else { -1 };
                weight *= if step > 0 { RADIX.recip() } else { RADIX };
                exponent += step;
                self.segments.push(Segment {
                    start: state + 1,
                    exponent,
                });
            }
        }
        self.probabilities.push(weight);
        self.arrival_rates
            .push(checked_arrival(capacity, arrivals(capacity))?);
        Ok(())
    }

    /// Brings all mantissas to the greatest exponent and returns their sum, which is at least 1.
    fn align(&mut self) -> f64 {
        let greatest = self.segments.iter().map(|s| s.exponent).max().unwrap_or(0);
        let mut total = 0.0;
        let mut end = self.probabilities.len();
        for segment in self.segments.iter().rev() {
            // Three exponents down nothing is left; `exp2` is exact for the others.
            let scale = (512.0 * f64::from(segment.exponent - greatest)).exp2();
            for weight in &mut self.probabilities[segment.start..end] {
                *weight *= scale;
                total += *weight;
            }
            end = segment.start;
        }
        total
    }

    fn normalise(&mut self, total: f64) -> Equilibrium<'_> {
        let scale = total.recip();
        let (mut mean, mut offered) = (0.0, 0.0);
        let mut blocked = 0.0;
        let states = self.probabilities.iter_mut().zip(&self.arrival_rates);
        for (state, (probability, arrival_rate)) in states.enumerate() {
            *probability *= scale;
            mean += state as f64 * *probability;
            offered += blocked;
            blocked = arrival_rate * *probability;
        }
        Equilibrium {
            probabilities: &self.probabilities,
            mean_in_system: mean,
            throughput: offered,
            blocked,
        }
    }
}

fn checked_arrival(state: usize, value: f64) -> Result<f64, QueueingError> {
    if value >= 0.0 && value.is_finite() {
        return Ok(value);
    }
    let (process, domain) = ("arrival", "finite and not below 0");
    Err(QueueingError::RateOutOfDomain {
        process,
        state,
        value,
        domain,
    })
}

fn checked_service(state: usize, value: f64) -> Result<f64, QueueingError> {
    if value > 0.0 && value.is_finite() {
        return Ok(value);
    }
    let (process, domain) = ("service", "finite and above 0");
    Err(QueueingError::RateOutOfDomain {
        process,
        state,
        value,
        domain,
    })
}

fn checked_ratio(state: usize, arrival_rate: f64, service_rate: f64) -> Result<f64, QueueingError> {
    let ratio = arrival_rate / service_rate;
    if (MAX_RATIO.recip()..=MAX_RATIO).contains(&ratio) || arrival_rate == 0.0 {
        Ok(ratio)
    } else {
        Err(QueueingError::RatioOutOfRange { state, ratio })
    }
}

/// Stationary state of a chain; borrows the solver's buffers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Equilibrium<'a> {
    probabilities: &'a [f64],
    mean_in_system: f64,
    throughput: f64,
    /// Requests turned away per second.
    blocked: f64,
}

/// Mean delays of an admitted request, in seconds; residence = wait + service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanDelays {
    /// Arrival to departure, R = L/X.
    pub residence: f64,
    /// In service, S = E[min(k, N)]/X.
    pub service: f64,
    /// Before service, W = E[(k − N)⁺]/X.
    pub wait: f64,
}

impl Equilibrium<'_> {
    /// p_0..=p_K; they sum to 1, and those below 10⁻³⁰⁸ are 0.
    pub fn probabilities(&self) -> &[f64] {
        self.probabilities
    }

    /// Mean number in system, L.
    pub fn mean_in_system(&self) -> f64 {
        self.mean_in_system
    }

    /// Requests admitted, and served, per second: X = Σ_{k<K} λ(k)p_k.
    pub fn throughput(&self) -> f64 {
        self.throughput
    }

    /// Fraction of requests turned away, λ(K)p_K over all arrivals; p_K when λ is constant.
    /// 0 when nothing arrives.
    pub fn blocking(&self) -> f64 {
        let offered = self.throughput + self.blocked;
        if offered > 0.0 {
            self.blocked / offered
        } else {
            0.0
        }
    }

    /// E[f(k)] over the number in system.
    pub fn mean_of(&self, f: impl Fn(usize) -> f64) -> f64 {
        let terms = self.probabilities.iter().enumerate();
        terms
            .map(|(state, probability)| probability * f(state))
            .sum()
    }

    /// Mean delays when at most `in_service` N requests are served at once and the others queue;
    /// `None` when nothing flows, as nobody is there to be delayed.
    pub fn mean_delays(&self, in_service: usize) -> Option<MeanDelays> {
        (self.throughput > 0.0).then(|| {
            let queued = self.mean_of(|k| k.saturating_sub(in_service) as f64);
            let served = self.mean_of(|k| k.min(in_service) as f64);
            MeanDelays {
                residence: self.mean_in_system / self.throughput,
                service: served / self.throughput,
                wait: queued / self.throughput,
            }
        })
    }
}
