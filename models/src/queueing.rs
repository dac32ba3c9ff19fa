//! Queueing theory in plain `f64`: the mathematics under the typed latency models.
//!
//! Units are SI throughout: seconds, and requests per second. Each module answers one classical
//! question; none knows about tokens, GPUs or objectives.
//!
//! | module | model | used for |
//! |---|---|---|
//! | [`mm1k`] | M/M/1/K, closed form | cross-checks, cheap bounds |
//! | [`birth_death`] | state-dependent chain | a batch whose speed depends on its size |
//! | [`erlang`] | Erlang B and C, M/M/c, Allen–Cunneen | pools of independent single servers |
//! | [`mg1`] | M/G/1, exact waiting-time distribution | prefill-only replica, KV-transfer link |
//! | [`burstiness`] | dispersion, Hayward, Kingman | arrivals that are not Poisson |
//!
//! A queue without traffic or with more work than it can do is not an error: it is an outcome
//! ([`SteadyState`]), and no function here answers NaN. Errors ([`QueueingError`]) are arguments
//! that no queue could have. Why `f64` and not the unit newtypes: the formulas mix rates, loads and
//! transform variables freely, and the types would be wrapped and unwrapped at every operator.

pub mod birth_death;
pub mod burstiness;
pub mod erlang;
pub mod mg1;
pub mod mm1k;

/// Largest number of states or servers a solver accepts: bounds time and memory for absurd input.
pub const MAX_STATES: usize = 1_000_000;

/// An argument that describes no queue.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum QueueingError {
    /// A scalar lies outside its domain.
    #[error("{quantity} is {value}, it must be {domain}")]
    OutOfDomain {
        /// What the number stands for.
        quantity: &'static str,
        /// The number given.
        value: f64,
        /// The values accepted.
        domain: &'static str,
    },
    /// A state-dependent rate lies outside its domain.
    #[error("the {process} rate in state {state} is {value}, it must be {domain}")]
    RateOutOfDomain {
        /// `"arrival"` or `"service"`.
        process: &'static str,
        /// Number in system.
        state: usize,
        /// The rate given, in requests per second.
        value: f64,
        /// The values accepted.
        domain: &'static str,
    },
    /// Arrival and service rates of neighbouring states differ by more than 150 decimal orders.
    #[error(
        "the arrival to service ratio out of state {state} is {ratio:e}, it cannot be represented"
    )]
    RatioOutOfRange {
        /// Number in system before the arrival.
        state: usize,
        /// λ(state) / μ(state + 1).
        ratio: f64,
    },
    /// A number of states, servers or atoms is zero or too large to solve for.
    #[error("{quantity} is {value}, it must be between 1 and {limit}")]
    SizeOutOfRange {
        /// What is counted.
        quantity: &'static str,
        /// The count given.
        value: usize,
        /// The greatest count accepted.
        limit: usize,
    },
}

/// What a queue does in the long run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SteadyState<T> {
    /// Nothing arrives: nobody waits, and nothing can be measured.
    Idle,
    /// The queue settles; the payload describes how.
    Stable(T),
    /// At least as much work arrives as can be done: the queue grows without bound.
    Unstable {
        /// Offered load per server, at least 1.
        utilization: f64,
    },
}

impl<T> SteadyState<T> {
    /// The description of a stable queue, `None` when idle or unstable.
    pub fn stable(self) -> Option<T> {
        match self {
            Self::Stable(value) => Some(value),
            Self::Idle | Self::Unstable { .. } => None,
        }
    }

    /// Replaces the payload, keeping the outcome.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> SteadyState<U> {
        match self {
            Self::Idle => SteadyState::Idle,
            Self::Stable(value) => SteadyState::Stable(f(value)),
            Self::Unstable { utilization } => SteadyState::Unstable { utilization },
        }
    }

    /// The outcome in one stable word: `"idle"`, `"stable"` or `"unstable"`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Stable(_) => "stable",
            Self::Unstable { .. } => "unstable",
        }
    }

    /// Sorts a utilization into an outcome, building the payload only for a stable queue.
    fn from_utilization(utilization: f64, stable: impl FnOnce() -> T) -> Self {
        if utilization == 0.0 {
            Self::Idle
        } else if utilization < 1.0 {
            Self::Stable(stable())
        } else {
            Self::Unstable { utilization }
        }
    }
}

/// `value` when finite and above zero.
fn positive(quantity: &'static str, value: f64) -> Result<f64, QueueingError> {
    let domain = "finite and above 0";
    within(value > 0.0 && value.is_finite(), quantity, value, domain)
}

/// `value` when finite and not negative.
fn non_negative(quantity: &'static str, value: f64) -> Result<f64, QueueingError> {
    let domain = "finite and not below 0";
    within(value >= 0.0 && value.is_finite(), quantity, value, domain)
}

/// `value` when it is the level of a quantile: in [0, 1), as unbounded delays have no maximum.
fn quantile_level(value: f64) -> Result<f64, QueueingError> {
    let domain = "in [0, 1)";
    within((0.0..1.0).contains(&value), "quantile level", value, domain)
}

fn within(
    holds: bool,
    quantity: &'static str,
    value: f64,
    domain: &'static str,
) -> Result<f64, QueueingError> {
    if holds {
        Ok(value)
    } else {
        Err(QueueingError::OutOfDomain {
            quantity,
            value,
            domain,
        })
    }
}

/// `value` when between 1 and [`MAX_STATES`].
fn size(quantity: &'static str, value: usize) -> Result<usize, QueueingError> {
    size_up_to(MAX_STATES, quantity, value)
}

/// `value` when between 1 and `limit`.
fn size_up_to(limit: usize, quantity: &'static str, value: usize) -> Result<usize, QueueingError> {
    if (1..=limit).contains(&value) {
        Ok(value)
    } else {
        Err(QueueingError::SizeOutOfRange {
            quantity,
            value,
            limit,
        })
    }
}
