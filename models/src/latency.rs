//! Latency models: from a load on one replica to the distributions of TTFT and ITL.

use crate::shape::RequestShape;

/// What one replica is asked to serve.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// Arrivals at this replica, requests per second.
    pub rate: f64,
    /// Shape of the requests.
    pub shape: &'a RequestShape,
    /// How the arrivals come.
    pub arrivals: Arrivals,
    /// Replicas of the pool that a least-loaded router balances over; 1 means this replica gets its own random share.
    pub pool: u32,
    /// Allowance per input token that is subtracted from TTFT in [`Prediction::ttft_beyond_allowance`], seconds.
    pub ttft_allowance_per_token: f64,
}

/// Regularity of the arrival process.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Arrivals {
    /// Exponential gaps.
    #[default]
    Poisson,
    /// Equal gaps, as a load generator at a constant rate makes them.
    Even,
    /// Index of dispersion of counts over about one end-to-end time: 1 is Poisson, more is bursty.
    Dispersion(f64),
}

/// A distribution of a latency in seconds, as its mean and a table of its distribution function.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    mean: f64,
    /// (value, P[X ≤ value]), both ascending; linear in between.
    table: Vec<(f64, f64)>,
}

impl Distribution {
    /// The distribution of a constant.
    #[must_use]
    pub fn constant(value: f64) -> Self {
        Self {
            mean: value,
            table: vec![(value, 1.0)],
        }
    }

    /// A distribution from its mean and ascending (value, cumulative probability) pairs, the last probability being 1.
    /// Pairs that would go backwards are lifted to keep the table ascending.
    #[must_use]
    pub fn from_table(mean: f64, mut table: Vec<(f64, f64)>) -> Self {
        for i in 1..table.len() {
            table[i].0 = table[i].0.max(table[i - 1].0);
            table[i].1 = table[i].1.max(table[i - 1].1);
        }
        Self { mean, table }
    }

    /// The distribution of weighted samples (value, weight > 0), any order.
    #[must_use]
    pub fn from_weighted(mut samples: Vec<(f64, f64)>) -> Self {
        samples.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = samples.iter().map(|s| s.1).sum();
        let mut cumulative = 0.0;
        let mut mean = 0.0;
        for (value, weight) in &mut samples {
            mean += *value * *weight / total;
            cumulative += *weight / total;
            *weight = cumulative.min(1.0);
        }
        Self {
            mean,
            table: samples,
        }
    }

    /// Mean in seconds.
    #[must_use]
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// The `q`-quantile in seconds, q in (0, 1); 0 for an empty table.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let i = self.table.partition_point(|&(_, p)| p < q);
        match (
            i.checked_sub(1).and_then(|j| self.table.get(j)),
            self.table.get(i),
        ) {
            (Some(&(x0, p0)), Some(&(x1, p1))) => {
                x0 + (x1 - x0) * ((q - p0) / (p1 - p0)).clamp(0.0, 1.0)
            }
            (None, Some(&(x, _))) | (Some(&(x, _)), None) => x,
            (None, None) => 0.0,
        }
    }

    /// P[X ≤ x].
    #[must_use]
    pub fn cdf(&self, x: f64) -> f64 {
        let i = self.table.partition_point(|&(v, _)| v <= x);
        match (
            i.checked_sub(1).and_then(|j| self.table.get(j)),
            self.table.get(i),
        ) {
            (Some(&(x0, p0)), Some(&(x1, p1))) if x1 > x0 => p0 + (p1 - p0) * (x - x0) / (x1 - x0),
            (Some(&(_, p)), _) => p,
            (None, _) => 0.0,
        }
    }
}

/// Latencies and load of one replica in steady state.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Offered rate over the greatest rate that the replica sustains.
    pub utilization: f64,
    /// Served requests per second.
    pub throughput: f64,
    /// Mean requests in the replica, waiting included.
    pub concurrency: f64,
    /// Arrival to first token.
    pub ttft: Distribution,
    /// TTFT less the allowance for the request's own input; may be negative.
    pub ttft_beyond_allowance: Distribution,
    /// Mean gap between the output tokens of one request, over requests (TPOT).
    pub itl: Distribution,
    /// Gap between consecutive output tokens, over tokens.
    pub gap: Distribution,
    /// Arrival to last token.
    pub e2e: Distribution,
}

/// Outcome of asking a model about a load.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T = Prediction> {
    /// The queue is stable.
    Stable(T),
    /// Arrivals exceed what the replica can serve; the queue grows without bound.
    Unstable {
        /// Offered rate over the greatest sustainable rate.
        utilization: f64,
    },
    /// Some requests can never be served: a prompt does not fit the KV cache.
    DoesNotFit {
        /// Tokens of the largest request.
        needed_tokens: f64,
        /// KV-cache capacity in tokens.
        available_tokens: f64,
    },
}

impl<T> Outcome<T> {
    /// The prediction when stable.
    #[must_use]
    pub const fn stable(&self) -> Option<&T> {
        match self {
            Self::Stable(p) => Some(p),
            _ => None,
        }
    }

    /// The same outcome with its prediction turned into something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Stable(p) => Outcome::Stable(f(p)),
            Self::Unstable { utilization } => Outcome::Unstable { utilization },
            Self::DoesNotFit {
                needed_tokens,
                available_tokens,
            } => Outcome::DoesNotFit {
                needed_tokens,
                available_tokens,
            },
        }
    }
}

/// From a load on one replica to its latencies.
pub trait LatencyModel {
    /// Steady-state latencies of one replica under `load`.
    fn predict(&self, load: &Load<'_>) -> Outcome;

    /// Greatest arrival rate at which the replica is stable, requests per second.
    fn stability_limit(&self, shape: &RequestShape) -> f64;
}
