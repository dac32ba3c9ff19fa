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

/// Share of probability above which a sample of a [`Distribution`] counts as an atom, and a cell keeps its width.
const ATOM: f64 = 0.02;

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

    /// The distribution of weighted samples (value, weight > 0), any order. A sample stands for the middle of its share
    /// of probability, and the function is linear in between; a sample of more than 2 % is an atom.
    #[must_use]
    pub fn from_weighted(mut samples: Vec<(f64, f64)>) -> Self {
        samples.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = samples.iter().map(|s| s.1).sum();
        let mut table = Vec::with_capacity(samples.len() + 8);
        let (mut below, mut mean) = (0.0, 0.0);
        for (value, weight) in samples {
            let share = weight / total;
            mean += value * share;
            if share > ATOM {
                table.extend([(value, below), (value, below + share)]);
            } else {
                table.push((value, below + 0.5 * share));
            }
            below += share;
        }
        Self { mean, table }
    }

    /// As [`Distribution::from_weighted`], of positive samples that come one by one: they are gathered in cells of a
    /// 128th of an octave, which makes quantiles exact to 0.1 % or so and costs no sorting. Constant 0 without samples.
    pub(crate) fn gathered(samples: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut cells = Cells::default();
        samples.for_each(|(value, weight)| cells.add(value, weight));
        cells.distribution()
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
            (Some(_), None) => 1.0,
            (Some(&(_, p)), _) => p,
            (None, _) => 0.0,
        }
    }
}

/// Samples gathered by size, octave by octave from 2⁻²⁰ s (a microsecond) up to 2²⁰ s; what is beyond goes to the
/// outermost cell.
struct Cells {
    octaves: Vec<Option<Box<[Cell; 1 << CELL_BITS]>>>,
}

/// log2 of the cells in an octave, which the leading bits of the mantissa tell apart.
const CELL_BITS: u32 = 7;

#[derive(Clone, Copy)]
struct Cell {
    weight: f64,
    moment: f64,
    least: f64,
    most: f64,
}

impl Cell {
    const EMPTY: Self = Self {
        weight: 0.0,
        moment: 0.0,
        least: f64::INFINITY,
        most: 0.0,
    };
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            octaves: vec![None; 40],
        }
    }
}

impl Cells {
    fn add(&mut self, value: f64, weight: f64) {
        const FIRST: u64 = (1023 - 20) << CELL_BITS;
        let place = (value.max(0.0).to_bits() >> (52 - CELL_BITS)).saturating_sub(FIRST) as usize;
        let last = (self.octaves.len() << CELL_BITS) - 1;
        let (octave, within) = (
            place.min(last) >> CELL_BITS,
            place.min(last) % (1 << CELL_BITS),
        );
        let cells =
            self.octaves[octave].get_or_insert_with(|| Box::new([Cell::EMPTY; 1 << CELL_BITS]));
        let cell = &mut cells[within];
        cell.weight += weight;
        cell.moment += weight * value;
        cell.least = cell.least.min(value);
        cell.most = cell.most.max(value);
    }

    fn distribution(&self) -> Distribution {
        let cells = || self.octaves.iter().flatten().flat_map(|o| o.iter());
        let used = || cells().filter(|c| c.weight > 0.0);
        if used().next().is_none() {
            return Distribution::constant(0.0);
        }
        let total: f64 = used().map(|c| c.weight).sum();
        let moment: f64 = used().map(|c| c.moment).sum();
        let mut table = Vec::with_capacity(used().count() + 64);
        let mut below = 0.0;
        for cell in used() {
            let share = cell.weight / total;
            if share > ATOM {
                table.extend([(cell.least, below), (cell.most, below + share)]);
            } else {
                table.push((cell.moment / cell.weight, below + 0.5 * share));
            }
            below += share;
        }
        Distribution {
            mean: moment / total,
            table,
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
