//! One replica under a stream of requests, with the statistics to compare an analytic latency model against.
//!
//! Requests are cut into consecutive batches, and a confidence interval comes from the spread of the batches' statistics
//! (batch means): successive requests share a queue and are far from independent, so the spread over requests would
//! promise much more than the run can know.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Gamma};
use wva_models::iteration::ReplicaModel;
use wva_models::latency::Arrivals;
use wva_models::shape::RequestShape;

use crate::histogram::LogHistogram;
use crate::replica::{Replica, ReplicaSpec, Signal, Surroundings};
use crate::request::Request;
use crate::sequence::{Sequence, Sequences};
use crate::time::Time;

/// Batches that the measured requests are cut into.
const BATCHES: usize = 20;
/// 97.5 % quantile of Student's t with 19 degrees of freedom.
const T_QUANTILE: f64 = 2.093;

/// A value with the half-width of its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The statistic over all measured requests.
    pub value: f64,
    /// Half-width of the 95 % confidence interval.
    pub half_width: f64,
}

/// One latency of the measured requests, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    batches: Vec<LogHistogram>,
    all: LogHistogram,
}

impl Series {
    fn new(mut batches: Vec<LogHistogram>) -> Self {
        batches.truncate(BATCHES);
        let mut all = LogHistogram::default();
        batches.iter().for_each(|b| all.merge(b));
        Self { batches, all }
    }

    /// Mean in seconds; 0 without values.
    #[must_use]
    pub fn mean(&self) -> Estimate {
        self.estimate(LogHistogram::mean)
    }

    /// The `q`-quantile in seconds, q in [0, 1], within 0.4 %; 0 without values.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Estimate {
        self.estimate(|h| h.quantile(q))
    }

    /// Number of values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.all.count()
    }

    fn estimate(&self, statistic: impl Fn(&LogHistogram) -> Option<f64>) -> Estimate {
        let values: Vec<f64> = self.batches.iter().filter_map(&statistic).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Estimate {
            value: statistic(&self.all).unwrap_or(0.0),
            half_width: if values.len() > 1 {
                T_QUANTILE * (variance / n).sqrt()
            } else {
                f64::INFINITY
            },
        }
    }
}

/// What one replica did with the measured requests.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleRun {
    /// Arrival to first token, front end included.
    pub ttft: Series,
    /// Mean gap between the output tokens of a request, over requests with more than one.
    pub itl: Series,
    /// Gap between consecutive output tokens, over tokens.
    pub gap: Series,
    /// Arrival to last token, front end included.
    pub e2e: Series,
    /// Mean number of requests in the replica, by Little's law from the measured requests.
    pub concurrency: f64,
    /// Requests per second at which the measured ones arrived.
    pub rate: f64,
    /// Requests per second at which the measured ones finished: below the rate where the replica is overloaded.
    pub throughput: f64,
    /// Share of the whole time in which an iteration was running.
    pub busy: f64,
    /// Preemptions over the whole time.
    pub preemptions: u64,
    /// Requests that could never fit and were left out.
    pub refused: u64,
}

/// Feeds `requests` (in time order; an endless iterator is fine) to one aggregated replica: the first `warm_up` are
/// not measured, the next `measured` are, and what comes after keeps up the load until the last of those is done.
/// `prefix_hit` is the share of input found in the prefix cache by requests without block hashes.
#[must_use]
pub fn single_replica(
    model: &ReplicaModel,
    requests: impl IntoIterator<Item = Request>,
    prefix_hit: f64,
    warm_up: usize,
    measured: usize,
) -> SingleRun {
    Bench::new(model, warm_up, measured).run(requests, |input| Prompt::Computed {
        hit: (prefix_hit * f64::from(input)) as u32,
    })
}

/// The same for a decode replica, where every prompt arrives with its KV cache.
#[must_use]
pub fn single_decoder(
    model: &ReplicaModel,
    requests: impl IntoIterator<Item = Request>,
    warm_up: usize,
    measured: usize,
) -> SingleRun {
    Bench::new(model, warm_up, measured).run(requests, |_| Prompt::Transferred)
}

/// How the KV of a prompt comes about.
enum Prompt {
    /// By prefill, but for `hit` tokens found in the prefix cache.
    Computed { hit: u32 },
    /// Over a link.
    Transferred,
}

struct Bench {
    replica: Replica,
    sequences: Sequences,
    signals: Vec<Signal>,
    /// Per batch; the last is for requests outside the measurement.
    gaps: Vec<LogHistogram>,
    ttft: Vec<LogHistogram>,
    itl: Vec<LogHistogram>,
    e2e: Vec<LogHistogram>,
    front_end: f64,
    warm_up: usize,
    measured: usize,
    arrived: usize,
    unfinished: usize,
    refused: u64,
    /// First and last arrival, and first and last end, of measured requests.
    arrivals: (Time, Time),
    ends: (Time, Time),
}

impl Bench {
    fn new(model: &ReplicaModel, warm_up: usize, measured: usize) -> Self {
        let histograms = || vec![LogHistogram::default(); BATCHES + 1];
        Self {
            replica: Replica::new(ReplicaSpec::plain(*model)),
            sequences: Sequences::default(),
            signals: Vec::new(),
            gaps: histograms(),
            ttft: histograms(),
            itl: histograms(),
            e2e: histograms(),
            front_end: model.law.front_end_s,
            warm_up,
            measured: measured.max(1),
            arrived: 0,
            unfinished: measured.max(1),
            refused: 0,
            arrivals: (Time::NEVER, Time::ZERO),
            ends: (Time::NEVER, Time::ZERO),
        }
    }

    fn run(
        mut self,
        requests: impl IntoIterator<Item = Request>,
        prompt: impl Fn(u32) -> Prompt,
    ) -> SingleRun {
        for request in requests {
            self.run_until(request.at);
            if self.unfinished == 0 {
                break;
            }
            self.arrive(&request, &prompt(request.input));
        }
        self.run_until(Time::NEVER);
        self.result()
    }

    /// Batch that the next arrival belongs to.
    fn batch(&self) -> usize {
        match self.arrived.checked_sub(self.warm_up) {
            Some(i) if i < self.measured => i * BATCHES / self.measured,
            _ => BATCHES,
        }
    }

    fn arrive(&mut self, request: &Request, prompt: &Prompt) {
        if !self.replica.can_hold(request.input, request.output) {
            self.refused += 1;
            return;
        }
        let (batch, order) = (self.batch(), self.arrived as u64);
        if batch < BATCHES {
            self.arrivals.0 = self.arrivals.0.min(request.at);
            self.arrivals.1 = request.at;
        }
        self.arrived += 1;
        let mut sequence = Sequence::new(
            batch as u32,
            0,
            request.input,
            request.output,
            request.at,
            order,
        );
        match prompt {
            Prompt::Computed { hit } => sequence.fixed_hit = *hit,
            Prompt::Transferred => sequence.transferred = true,
        }
        sequence.set_blocks(request.hash_ids.clone());
        let id = self.sequences.insert(sequence);
        self.replica.arrive(request.at, id, &mut self.sequences);
    }

    /// Runs the replica up to, but not including, `time`, or until all measured requests are done.
    fn run_until(&mut self, time: Time) {
        while self.replica.next() < time && self.unfinished > 0 {
            let now = self.replica.next();
            let mut around = Surroundings {
                sequences: &mut self.sequences,
                gaps: &mut self.gaps,
                signals: &mut self.signals,
            };
            self.replica.wake(now, &mut around);
            let mut signals = std::mem::take(&mut self.signals);
            for signal in signals.drain(..) {
                if let Signal::Done(id) = signal {
                    self.done(now, id);
                }
            }
            self.signals = signals;
        }
    }

    fn done(&mut self, now: Time, id: u32) {
        let sequence = &self.sequences[id];
        let batch = sequence.stream as usize;
        let gaps = sequence.output - 1;
        self.ttft[batch].record((sequence.first - sequence.arrived).seconds() + self.front_end);
        self.e2e[batch].record((now - sequence.arrived).seconds() + self.front_end);
        if gaps > 0 {
            self.itl[batch].record((now - sequence.first).seconds() / f64::from(gaps));
        }
        if batch < BATCHES {
            self.unfinished -= 1;
            self.ends.0 = self.ends.0.min(now);
            self.ends.1 = now;
        }
        self.sequences.remove(id);
    }

    fn result(self) -> SingleRun {
        let e2e = Series::new(self.e2e);
        let intervals = e2e.count().saturating_sub(1) as f64;
        let rate = intervals / (self.arrivals.1 - self.arrivals.0).seconds();
        let counters = self.replica.counters();
        SingleRun {
            concurrency: rate * (e2e.mean().value - self.front_end),
            rate,
            throughput: intervals / (self.ends.1 - self.ends.0).seconds(),
            busy: counters.busy_s / self.ends.1.seconds(),
            preemptions: counters.preemptions,
            refused: self.refused,
            ttft: Series::new(self.ttft),
            itl: Series::new(self.itl),
            gap: Series::new(self.gaps),
            e2e,
        }
    }
}

/// Endless requests of a shape at a constant rate, from a seed. Token counts are rounded to whole ones.
#[derive(Debug, Clone)]
pub struct ShapedRequests {
    cumulative: Vec<(f64, u32, u32)>,
    gaps: Gaps,
    seconds: f64,
    random: Xoshiro256PlusPlus,
}

#[derive(Debug, Clone)]
enum Gaps {
    Even(f64),
    Gamma(Gamma<f64>),
}

impl ShapedRequests {
    /// Requests of `shape` at `rate` per second (positive and finite; otherwise there are none). Bursty arrivals are a
    /// renewal process with gamma gaps whose squared coefficient of variation is the index of dispersion.
    #[must_use]
    pub fn new(shape: &RequestShape, rate: f64, arrivals: Arrivals, seed: u64) -> Self {
        let mut total = 0.0;
        let cumulative = shape
            .points()
            .iter()
            .map(|p| {
                total += p.weight;
                (total, p.input.round() as u32, p.output.round() as u32)
            })
            .collect();
        let dispersion = match arrivals {
            Arrivals::Even => 0.0,
            Arrivals::Poisson => 1.0,
            Arrivals::Dispersion(d) => d,
        };
        let gaps = Gamma::new(1.0 / dispersion, dispersion / rate)
            .map_or(Gaps::Even(1.0 / rate), Gaps::Gamma);
        Self {
            cumulative,
            gaps,
            seconds: 0.0,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }
}

impl Iterator for ShapedRequests {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        self.seconds += match &self.gaps {
            Gaps::Even(gap) => *gap,
            Gaps::Gamma(gamma) => gamma.sample(&mut self.random),
        };
        if !self.seconds.is_finite() {
            return None;
        }
        let u: f64 = self.random.random();
        let i = self.cumulative.partition_point(|c| c.0 < u);
        let &(_, input, output) = self.cumulative.get(i).or(self.cumulative.last())?;
        Some(Request {
            at: Time::from_seconds(self.seconds),
            stream: 0,
            input,
            output,
            hash_ids: None,
        })
    }
}
