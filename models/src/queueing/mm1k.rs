//! M/M/1/K: one server, Poisson arrivals, exponential service, room for K requests in all.
//!
//! The state probabilities are a truncated geometric sequence, p_k ∝ ρ^k. The textbook formulas
//! divide 0 by 0 at ρ = 1 and lose every digit near it, so the load is kept as y = |ln ρ| and all
//! differences are taken with `expm1`; an overloaded queue (ρ > 1) is the mirror image k ↦ K − k of
//! an underloaded one, which also keeps ρ^K from overflowing.
//!
//! Source: L. Kleinrock, *Queueing Systems* vol. 1 (1975), §3.6.

use super::{QueueingError, non_negative, positive, size};

/// An M/M/1/K queue; every answer is O(1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mm1k {
    arrival_rate: f64,
    service_rate: f64,
    capacity: usize,
    /// |ln ρ|; infinite without arrivals.
    decay: f64,
    /// ρ > 1: probabilities are those of the queue with load 1/ρ read from K downwards.
    mirrored: bool,
}

impl Mm1k {
    /// A queue with `arrival_rate` λ ≥ 0 and `service_rate` μ > 0 (1/s) and room for `capacity` K
    /// requests, the one in service included.
    ///
    /// # Errors
    /// A rate out of its domain, or `capacity` of 0 or above [`super::MAX_STATES`].
    pub fn new(
        arrival_rate: f64,
        service_rate: f64,
        capacity: usize,
    ) -> Result<Self, QueueingError> {
        let arrival_rate = non_negative("arrival rate", arrival_rate)?;
        let service_rate = positive("service rate", service_rate)?;
        let log_load = log_ratio(arrival_rate, service_rate);
        Ok(Self {
            arrival_rate,
            service_rate,
            capacity: size("capacity", capacity)?,
            decay: log_load.abs(),
            mirrored: log_load > 0.0,
        })
    }

    /// Probability of `state` requests in the system; 0 above the capacity.
    pub fn probability(&self, state: usize) -> f64 {
        match (state > self.capacity, self.mirrored) {
            (true, _) => 0.0,
            (false, false) => geometric_share(self.decay, self.capacity, state),
            (false, true) => geometric_share(self.decay, self.capacity, self.capacity - state),
        }
    }

    /// Fraction of requests turned away, p_K.
    pub fn blocking(&self) -> f64 {
        self.probability(self.capacity)
    }

    /// Requests served per second, λ(1 − p_K) = μ(1 − p_0).
    pub fn throughput(&self) -> f64 {
        let rate = if self.mirrored {
            self.service_rate
        } else {
            self.arrival_rate
        };
        rate * share_below_last(self.decay, self.capacity)
    }

    /// Mean number in system, L.
    pub fn mean_in_system(&self) -> f64 {
        self.mean_with_capacity(self.capacity)
    }

    /// Mean wait before service of an admitted request, in seconds; 0 without arrivals.
    ///
    /// An admitted request finds the M/M/1/(K−1) state and waits for everyone in it.
    pub fn mean_wait(&self) -> f64 {
        self.mean_with_capacity(self.capacity - 1) / self.service_rate
    }

    /// Mean time in system of an admitted request, wait and service, in seconds.
    pub fn mean_residence(&self) -> f64 {
        self.mean_wait() + self.service_rate.recip()
    }

    fn mean_with_capacity(&self, capacity: usize) -> f64 {
        let mean = geometric_mean_number(self.decay, capacity);
        if self.mirrored {
            capacity as f64 - mean
        } else {
            mean
        }
    }
}

/// ln(λ/μ), to full precision also where λ and μ nearly agree.
fn log_ratio(arrival_rate: f64, service_rate: f64) -> f64 {
    let excess = (arrival_rate - service_rate) / service_rate;
    if excess.abs() < 0.5 {
        excess.ln_1p()
    } else {
        arrival_rate.ln() - service_rate.ln()
    }
}

/// p_k for p_k ∝ e^{−ky}, k = 0..=K.
fn geometric_share(y: f64, capacity: usize, state: usize) -> f64 {
    let states = capacity as f64 + 1.0;
    if y == 0.0 {
        return states.recip();
    }
    let head = (-y).exp_m1() / (-states * y).exp_m1();
    // 0 · ∞ is NaN: the empty queue without arrivals has weight 1.
    if state == 0 {
        head
    } else {
        head * (-(state as f64) * y).exp()
    }
}

/// 1 − p_K for p_k ∝ e^{−ky}, without the subtraction.
fn share_below_last(y: f64, capacity: usize) -> f64 {
    let last = capacity as f64;
    if y == 0.0 {
        last / (last + 1.0)
    } else {
        (-last * y).exp_m1() / (-(last + 1.0) * y).exp_m1()
    }
}

/// Σ k p_k for p_k ∝ e^{−ky}: 1/(e^y − 1) − n/(e^{ny} − 1) with n = K + 1.
///
/// For ny < 1 both parts are large and nearly equal, and their common pole is taken out:
/// K/2 + g(y) − n·g(ny), g(x) = 1/(e^x − 1) − 1/x + 1/2.
fn geometric_mean_number(y: f64, capacity: usize) -> f64 {
    let last = capacity as f64;
    let states = last + 1.0;
    if states * y < 1.0 {
        last / 2.0 + bose_remainder(y) - states * bose_remainder(states * y)
    } else {
        y.exp_m1().recip() - states / (states * y).exp_m1()
    }
}

/// 1/(e^x − 1) − 1/x + 1/2 for 0 ≤ x < 1, by its Bernoulli series Σ B_{2j} x^{2j−1}/(2j)!;
/// the first term left out is below 1e-17.
fn bose_remainder(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        1.0 / 12.0,
        -1.0 / 720.0,
        1.0 / 30_240.0,
        -1.0 / 1_209_600.0,
        1.0 / 47_900_160.0,
        -691.0 / 1_307_674_368_000.0,
        1.0 / 74_724_249_600.0,
        -3_617.0 / 10_670_622_842_880_000.0,
        43_867.0 / 5_109_094_217_170_944_000.0,
        -174_611.0 / 802_857_662_698_291_200_000.0,
    ];
    let square = x * x;
    x * COEFFICIENTS
        .iter()
        .rev()
        .fold(0.0, |sum, c| sum * square + c)
}
