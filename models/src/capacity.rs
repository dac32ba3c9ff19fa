//! Capacity of one replica under an SLO: the greatest arrival rate at which every bound holds, and the bound that binds.
//!
//! Latency grows with the rate, so the capacity is the root of "worst bound's statistic over its limit = 1", found by a
//! bracketed secant (Illinois) in logarithms: near saturation latency explodes, and there the logarithm is the straighter
//! line. Capacities come out to about one per cent, finer than any fit.

use serde::{Deserialize, Serialize};

use crate::latency::{Arrivals, LatencyModel, Load, Outcome, Prediction};
use crate::service_class::{Bound, Slo, Statistic};
use crate::shape::RequestShape;

/// What limits a replica's capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// Time to first token.
    Ttft,
    /// Inter-token latency.
    Itl,
    /// End-to-end latency.
    E2e,
    /// No bound: beyond this rate the queue grows without end.
    Stability,
    /// A request does not fit the KV cache.
    KvCache,
}

impl std::fmt::Display for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ttft => "TTFT",
            Self::Itl => "ITL",
            Self::E2e => "end-to-end latency",
            Self::Stability => "stability",
            Self::KvCache => "KV cache",
        })
    }
}

/// Capacity of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capacity {
    /// The replica sustains this rate.
    Sustains {
        /// Requests per second.
        rate: f64,
        /// What would break first beyond it.
        binding: Binding,
    },
    /// Even an idle replica misses this bound.
    Infeasible {
        /// The bound.
        binding: Binding,
        /// The statistic when nearly idle, seconds (tokens for the KV cache).
        at_rest: f64,
        /// The bound's limit, seconds (tokens for the KV cache).
        limit: f64,
    },
}

impl Capacity {
    /// Requests per second; 0 when infeasible.
    #[must_use]
    pub const fn rate(&self) -> f64 {
        match self {
            Self::Sustains { rate, .. } => *rate,
            Self::Infeasible { .. } => 0.0,
        }
    }

    /// What limits it.
    #[must_use]
    pub const fn binding(&self) -> Binding {
        match self {
            Self::Sustains { binding, .. } | Self::Infeasible { binding, .. } => *binding,
        }
    }
}

/// What capacity is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    /// Shape of the requests.
    pub shape: &'a RequestShape,
    /// Regularity of arrivals.
    pub arrivals: Arrivals,
    /// Replicas that a least-loaded router balances over.
    pub pool: u32,
    /// Bounds.
    pub slo: &'a Slo,
}

impl<'a> Conditions<'a> {
    /// The load of `rate` under these conditions.
    #[must_use]
    pub fn load(&self, rate: f64) -> Load<'a> {
        Load {
            rate,
            shape: self.shape,
            arrivals: self.arrivals,
            pool: self.pool,
            ttft_allowance_per_token: self.slo.ttft.map_or(0.0, |b| b.per_input_token.get()),
        }
    }
}

/// The bound that is nearest to being missed, or missed most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorstBound {
    /// Which bound.
    pub binding: Binding,
    /// Its statistic, seconds.
    pub value: f64,
    /// Its limit, seconds.
    pub limit: f64,
}

impl WorstBound {
    /// Statistic over limit: at most 1 when the bound holds.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.value.max(1e-9) / self.limit.max(1e-9)
    }
}

/// The worst bound of `slo` under `prediction`; `None` when the SLO has no bound.
#[must_use]
pub fn worst_bound(prediction: &Prediction, slo: &Slo, shape: &RequestShape) -> Option<WorstBound> {
    let statistic = |d: &crate::latency::Distribution, b: &Bound| match b.statistic {
        Statistic::Mean => d.mean(),
        Statistic::Quantile(q) => d.quantile(q),
    };
    let ttft = slo.ttft.map(|b| {
        (
            Binding::Ttft,
            statistic(&prediction.ttft_beyond_allowance, &b),
            b.limit.get(),
        )
    });
    let itl = slo.itl.map(|b| {
        (
            Binding::Itl,
            statistic(&prediction.itl, &b),
            b.limit_for(shape.mean_input()),
        )
    });
    let e2e = slo.e2e.map(|b| {
        (
            Binding::E2e,
            statistic(&prediction.e2e, &b),
            b.limit_for(shape.mean_input()),
        )
    });
    [ttft, itl, e2e]
        .into_iter()
        .flatten()
        .map(|(binding, value, limit)| WorstBound {
            binding,
            value,
            limit,
        })
        .max_by(|a, b| a.ratio().total_cmp(&b.ratio()))
}

/// Share of the stability limit up to which a replica without any bound is filled.
const FULLEST: f64 = 0.95;
/// Relative precision of the capacity.
const PRECISION: f64 = 0.01;

/// Greatest rate of one replica at which every bound of the SLO holds.
#[must_use]
pub fn capacity<M: LatencyModel + ?Sized>(model: &M, conditions: &Conditions<'_>) -> Capacity {
    let ceiling = model.stability_limit(conditions.shape) * FULLEST;
    let at = |rate: f64| {
        model
            .predict(&conditions.load(rate))
            .map(|p| worst_bound(&p, conditions.slo, conditions.shape))
    };
    let idle = ceiling.max(1e-9) * 1e-3;
    let at_rest = match at(idle) {
        Outcome::DoesNotFit {
            needed_tokens,
            available_tokens,
        } => {
            return Capacity::Infeasible {
                binding: Binding::KvCache,
                at_rest: needed_tokens,
                limit: available_tokens,
            };
        }
        Outcome::Unstable { .. } => {
            return Capacity::Infeasible {
                binding: Binding::Stability,
                at_rest: 0.0,
                limit: 0.0,
            };
        }
        Outcome::Stable(None) => {
            return Capacity::Sustains {
                rate: ceiling,
                binding: Binding::Stability,
            };
        }
        Outcome::Stable(Some(worst)) => worst,
    };
    if at_rest.ratio() > 1.0 {
        return Capacity::Infeasible {
            binding: at_rest.binding,
            at_rest: at_rest.value,
            limit: at_rest.limit,
        };
    }
    // Inverted, a bound that is missed without end is missed by 1.
    let missed = |rate: f64| match at(rate) {
        Outcome::Stable(Some(worst)) => (1.0 - worst.ratio().recip(), worst.binding),
        _ => (1.0, Binding::Stability),
    };
    let high = missed(ceiling);
    if high.0 <= 0.0 {
        return Capacity::Sustains {
            rate: ceiling,
            binding: Binding::Stability,
        };
    }
    let low = (idle, 1.0 - at_rest.ratio().recip());
    let (rate, binding) = illinois(low, (ceiling, high), missed);
    Capacity::Sustains { rate, binding }
}

/// Greatest point of the bracket found to hold, and what binds just beyond it.
fn illinois(
    low: (f64, f64),
    high: (f64, (f64, Binding)),
    f: impl Fn(f64) -> (f64, Binding),
) -> (f64, Binding) {
    let (mut a, mut fa) = low;
    let (mut b, (mut fb, mut binding)) = high;
    let mut last_side = 0_i8;
    for round in 0..40 {
        if b - a <= PRECISION * b {
            break;
        }
        let secant = a + (b - a) * (-fa / (fb - fa));
        // A step just beyond the root closes the bracket from the other side; halving now and then bounds the rounds.
        let step = 0.4 * PRECISION * b;
        let x = if round % 4 == 3 {
            0.5 * (a + b)
        } else {
            secant.clamp(a + step, b - step)
        };
        let (fx, at_x) = f(x);
        if fx <= 0.0 {
            (a, fa) = (x, fx);
            fb = if last_side == -1 { fb / 2.0 } else { fb };
            last_side = -1;
        } else {
            (b, fb, binding) = (x, fx, at_x);
            fa = if last_side == 1 { fa / 2.0 } else { fa };
            last_side = 1;
        }
    }
    (a, binding)
}
