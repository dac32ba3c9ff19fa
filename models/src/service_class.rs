//! Service classes: how important a stream of requests is and what latency it was promised.

mod text;

pub use text::{ServiceClassText, TextError};

use serde::{Deserialize, Serialize};

use crate::units::Seconds;

/// Which statistic of a latency an objective bounds. A mean is never compared with a percentile.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Statistic {
    /// The arithmetic mean over requests.
    Mean,
    /// The given quantile over requests, in (0, 1): 0.99 for p99.
    Quantile(f64),
}

/// One latency bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Statistic that is bounded.
    pub statistic: Statistic,
    /// The bound for a request without input.
    pub limit: Seconds,
    /// What each input token adds to the bound, in seconds: long prompts may take longer. 0 for a plain bound.
    pub per_input_token: Seconds,
}

impl Bound {
    /// The limit in seconds for a request of `input` tokens.
    #[must_use]
    pub fn limit_for(&self, input: f64) -> f64 {
        self.limit.get() + self.per_input_token.get() * input
    }
}

/// Latency objective of a class: every bound that is present must hold. No bound at all is allowed (best effort).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Slo {
    /// Arrival to first token, queueing included.
    pub ttft: Option<Bound>,
    /// Mean gap between the output tokens of one request (also called TPOT), over requests.
    pub itl: Option<Bound>,
    /// Arrival to last token.
    pub e2e: Option<Bound>,
}

impl Slo {
    /// Whether one finished request met every bound (for its own size); latencies in seconds. A request of one
    /// output token has no gap: pass `itl` 0.
    #[must_use]
    pub fn met_by(&self, input: f64, ttft: f64, itl: f64, e2e: f64) -> bool {
        let holds =
            |bound: &Option<Bound>, value: f64| bound.is_none_or(|b| value <= b.limit_for(input));
        holds(&self.ttft, ttft) && holds(&self.itl, itl) && holds(&self.e2e, e2e)
    }

    /// The share of requests that the strictest percentile promises: 0.99 for p99 bounds, 0.5 for a mean.
    #[must_use]
    pub fn promised_share(&self) -> f64 {
        [self.ttft, self.itl, self.e2e]
            .into_iter()
            .flatten()
            .map(|b| match b.statistic {
                Statistic::Mean => 0.5,
                Statistic::Quantile(q) => q,
            })
            .fold(0.0, f64::max)
    }
}

/// What a class promises.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Promise {
    /// Each request is answered within latency bounds.
    Interactive(Slo),
    /// Each request is finished within this time of its arrival; it may wait for spare capacity until then.
    Batch {
        /// Time from arrival to the deadline.
        deadline: Seconds,
    },
}

/// A named class of requests: priority plus promise. In YAML it is a [`ServiceClassText`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ServiceClassText", into = "ServiceClassText")]
pub struct ServiceClass {
    /// Name, unique in the catalogue.
    pub name: String,
    /// Importance: when not everything fits, higher numbers are served first (as in a Kubernetes PriorityClass).
    pub priority: i32,
    /// Latency objective or deadline.
    pub promise: Promise,
}

impl ServiceClass {
    /// The SLO of an interactive class; `None` for batch.
    #[must_use]
    pub const fn slo(&self) -> Option<&Slo> {
        match &self.promise {
            Promise::Interactive(slo) => Some(slo),
            Promise::Batch { .. } => None,
        }
    }

    /// Whether requests wait for spare capacity until a deadline.
    #[must_use]
    pub const fn is_batch(&self) -> bool {
        matches!(self.promise, Promise::Batch { .. })
    }
}
