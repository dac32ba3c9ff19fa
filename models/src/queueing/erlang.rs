//! Erlang's formulas and M/M/c: c identical servers, one line.
//!
//! Erlang B (loss) is computed by its recursion in the number of servers, which only adds and
//! multiplies positive numbers below 1 and so is stable where the sum of a^k/k! overflows; Erlang C
//! (delay) follows from it. Waits in M/M/c are exponential given that there is one, so percentiles
//! are in closed form. For other arrival and service variability the Allen–Cunneen factor scales
//! the mean.
//!
//! Sources: D. Gross et al., *Fundamentals of Queueing Theory*, 4th ed. (2008), §2.3–2.5;
//! A. O. Allen, *Probability, Statistics, and Queueing Theory*, 2nd ed. (1990), §5.3.

use super::{QueueingError, SteadyState, non_negative, positive, quantile_level, size};

/// Erlang B: fraction of requests lost by `servers` servers offered `load` erlangs without a queue.
/// O(servers).
///
/// # Errors
/// `servers` of 0 or above [`super::MAX_STATES`]; `load` negative, NaN or infinite.
pub fn erlang_b(servers: usize, load: f64) -> Result<f64, QueueingError> {
    let load = non_negative("offered load", load)?;
    let servers = size("servers", servers)?;
    Ok((1..=servers).fold(1.0, |blocking, k| {
        let offered = load * blocking;
        offered / (k as f64 + offered)
    }))
}

/// Erlang C: probability that a request has to wait for one of `servers` servers offered `load`
/// erlangs, with an unlimited queue. O(servers).
///
/// # Errors
/// As [`erlang_b`].
pub fn erlang_c(servers: usize, load: f64) -> Result<SteadyState<f64>, QueueingError> {
    let blocking = erlang_b(servers, load)?;
    let utilization = load / servers as f64;
    Ok(SteadyState::from_utilization(utilization, || {
        blocking / (1.0 - utilization + utilization * blocking)
    }))
}

/// A stable M/M/c queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mmc {
    waiting: f64,
    /// cμ − λ: the rate of the exponential wait of those who wait.
    spare_rate: f64,
}

impl Mmc {
    /// `servers` c servers of rate `service_rate` μ > 0 each, offered `arrival_rate` λ ≥ 0, in 1/s.
    ///
    /// # Errors
    /// A rate out of its domain, or `servers` of 0 or above [`super::MAX_STATES`].
    pub fn new(
        arrival_rate: f64,
        service_rate: f64,
        servers: usize,
    ) -> Result<SteadyState<Self>, QueueingError> {
        let arrival_rate = non_negative("arrival rate", arrival_rate)?;
        let service_rate = positive("service rate", service_rate)?;
        let spare_rate = servers as f64 * service_rate - arrival_rate;
        let waiting = erlang_c(servers, arrival_rate / service_rate)?;
        Ok(waiting.map(|waiting| Self {
            waiting,
            spare_rate,
        }))
    }

    /// Probability that a request waits at all (Erlang C).
    pub fn waiting_probability(&self) -> f64 {
        self.waiting
    }

    /// Mean wait in seconds, those who do not wait included.
    pub fn mean_wait(&self) -> f64 {
        self.waiting / self.spare_rate
    }

    /// P(wait > `time`), with `time` in seconds; 1 for a negative time.
    pub fn wait_survival(&self, time: f64) -> f64 {
        if time < 0.0 {
            1.0
        } else {
            self.waiting * (-self.spare_rate * time).exp()
        }
    }

    /// Wait in seconds that a fraction `level` in [0, 1) of requests does not exceed; 0 for those
    /// served at once.
    ///
    /// # Errors
    /// `level` outside [0, 1).
    pub fn wait_quantile(&self, level: f64) -> Result<f64, QueueingError> {
        let exceeding = 1.0 - quantile_level(level)?;
        Ok((self.waiting / exceeding).ln().max(0.0) / self.spare_rate)
    }

    /// Allen–Cunneen mean wait of G/G/c in seconds: the M/M/c wait times (c_a² + c_s²)/2, from the
    /// squared coefficients of variation of interarrival and service times.
    ///
    /// # Errors
    /// A squared coefficient that is negative, NaN or infinite.
    pub fn allen_cunneen_wait(
        &self,
        arrival_scv: f64,
        service_scv: f64,
    ) -> Result<f64, QueueingError> {
        let arrival_scv = non_negative("squared variation of interarrival times", arrival_scv)?;
        let service_scv = non_negative("squared variation of service times", service_scv)?;
        Ok(self.mean_wait() * (arrival_scv + service_scv) / 2.0)
    }
}
