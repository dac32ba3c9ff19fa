//! Continuous batching: an engine that decodes a batch and squeezes prompts into a token budget, iteration by iteration.
//!
//! ```text
//!  arrivals ──► prompts waiting ──► chunks of one iteration ──► running batch ──► done
//!               (fast layer)        (token budget M)            (slow layer)
//! ```
//! The two layers live on different time scales: a prompt is prefilled within an iteration or a few, a sequence decodes
//! for hundreds. So the slow layer (`occupancy`) is solved as a chain in which prompts are a background load, and the fast
//! layer (`prefill_queue`) is evaluated at each batch size of the slow one. A single birth–death chain over all requests
//! is simpler, but puts the whole of TTFT's variance into the wrong place; a simulation of the whole engine needs a
//! hundred times the samples for the same noise in p99.
//!
//! Against iteration-by-iteration simulation: see `tests/against_simulation.rs` of the simulations crate.

mod gaps;
mod occupancy;
mod prefill_queue;
mod prompt_work;
mod stream;

use crate::iteration::ReplicaModel;
use crate::latency::{Arrivals, Distribution, LatencyModel, Load, Outcome, Prediction};
use crate::shape::RequestShape;
use crate::variant::Role;
use occupancy::{Node, Occupancy};
use prefill_queue::{PrefillQueue, Sampled};
use prompt_work::PromptWork;
use stream::Stream;

/// Latency model of one engine with continuous batching and chunked prefill, in one of its roles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ContinuousBatching {
    /// Iteration law and limits.
    pub replica: ReplicaModel,
    /// `Both`, `Prefill` (no decode) or `Decode` (no prompts: they arrive with their KV cache).
    pub role: Role,
    /// Arrivals that the fast layer samples; more is slower and less noisy. See [`ContinuousBatching::SAMPLES`].
    pub samples: usize,
}

/// Part of the batch's fluctuation that a least-loaded router over many replicas does not balance away: it looks at
/// waiting prompts first, so running batches stay somewhat uneven.
const ROUTER_IMBALANCE: f64 = 0.25;

impl ContinuousBatching {
    /// Default number of sampled arrivals: p99 of TTFT repeats to about 2 %.
    pub const SAMPLES: usize = 8192;

    /// A model of `replica` in `role`.
    #[must_use]
    pub const fn new(replica: ReplicaModel, role: Role) -> Self {
        Self {
            replica,
            role,
            samples: Self::SAMPLES,
        }
    }

    /// The shape as this role sees it: a prefill replica generates nothing, a decode replica computes no prompt.
    fn seen_by_role(&self, shape: &RequestShape) -> Option<RequestShape> {
        match self.role {
            Role::Both => None,
            Role::Prefill => shape.map_points(
                |p| crate::shape::ShapePoint { output: 1.0, ..*p },
                shape.prefix_hit(),
            ),
            Role::Decode => shape.map_points(|p| *p, 1.0),
        }
    }

    fn solve(&self, load: &Load<'_>, shape: &RequestShape) -> Outcome {
        if let Some(outcome) = self.does_not_fit(shape) {
            return outcome;
        }
        let work = PromptWork::new(&self.replica, shape);
        let limit = self.limit(&work, self.fullest_batch(&work));
        let utilization = load.rate / limit;
        if load.rate >= limit || load.rate.is_nan() {
            return Outcome::Unstable { utilization };
        }
        let peakedness = peakedness(&work, load.arrivals);
        let pool = f64::from(load.pool.max(1));
        let spread = 1.0 / pool + (1.0 - 1.0 / pool) * ROUTER_IMBALANCE;
        let occupancy = |peakedness: f64| {
            Occupancy::solve(
                &work,
                &self.replica.limits,
                load.rate,
                1.0 / (peakedness * spread),
            )
        };
        let Some(calm) = occupancy(peakedness) else {
            return Outcome::Unstable { utilization };
        };
        let stalled = stalling(&work, &calm, load);
        let Some(mut occupancy) = occupancy(peakedness + stalled) else {
            return Outcome::Unstable { utilization };
        };
        occupancy.stalled_share = stalled / (peakedness + stalled);
        let mut stream = Stream::new(shape, load.arrivals, self.samples);
        let sampled = self.sample(&work, &occupancy, load, &mut stream);
        Outcome::Stable(self.assemble(&work, &occupancy, &sampled, load, utilization))
    }

    fn sample(
        &self,
        work: &PromptWork<'_>,
        occupancy: &Occupancy,
        load: &Load<'_>,
        stream: &mut Stream,
    ) -> Vec<Sampled> {
        let mut queue = PrefillQueue::new(work, load.pool);
        let each = (self.samples / occupancy.nodes.len().max(1)).max(64);
        occupancy
            .nodes
            .iter()
            .map(|node| queue.sample(node.batch, load.rate, each, stream))
            .collect()
    }

    fn assemble(
        &self,
        work: &PromptWork<'_>,
        occupancy: &Occupancy,
        sampled: &[Sampled],
        load: &Load<'_>,
        utilization: f64,
    ) -> Prediction {
        let points = work.shape.points();
        let mut ttft = Vec::with_capacity(self.samples);
        let mut beyond = Vec::with_capacity(self.samples);
        for (node, seen) in occupancy.nodes.iter().zip(sampled) {
            let weight = node.weight / seen.first_tokens.len().max(1) as f64;
            for (i, first) in seen.first_tokens.iter().enumerate() {
                let wait = slot_wait(node, load.pool, (i as f64 * 0.618_033_988_749_895).fract());
                let seconds = first.seconds + wait;
                ttft.push((seconds, weight));
                beyond.push((
                    seconds - load.ttft_allowance_per_token * points[first.point].input,
                    weight,
                ));
            }
        }
        let ttft = Distribution::from_weighted(ttft);
        let smooth = if load.arrivals == Arrivals::Even {
            0.5
        } else {
            1.0
        };
        let per_request = gaps::gaps_over_requests(work, occupancy, sampled, load.rate, smooth);
        let e2e = end_to_end(work, &ttft, &per_request);
        let itl =
            Distribution::from_weighted(per_request.into_iter().map(|(_, t, w)| (t, w)).collect());
        let waiting = load.rate * ttft.mean();
        Prediction {
            utilization,
            throughput: load.rate,
            concurrency: occupancy.mean_in_system + waiting,
            ttft,
            ttft_beyond_allowance: Distribution::from_weighted(beyond),
            itl,
            gap: Distribution::from_weighted(gaps::gaps_over_tokens(occupancy, sampled)),
            e2e,
        }
    }

    /// Largest batch of `shape` whose iterations, with a prefill chunk of `chunk` tokens in each, take at most `seconds`;
    /// 0 when even one sequence takes longer. Bounded by the engine's slots and KV cache.
    #[must_use]
    pub fn largest_batch(&self, shape: &RequestShape, chunk: f64, seconds: f64) -> u32 {
        let work = PromptWork::new(&self.replica, shape);
        let most = self.fullest_batch(&work).floor().max(1.0) as u32;
        let fits = |batch: u32| {
            work.fixed_seconds(f64::from(batch)) + work.law.compute(f64::from(batch) + chunk)
                <= seconds
        };
        let (mut low, mut high) = (0, most + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(middle) {
                low = middle
            } else {
                high = middle
            }
        }
        low
    }

    /// Requests per second that a replica completes while `batch` sequences of `shape` run and prompts come as fast as
    /// sequences complete; 0 when the shape does not fit.
    #[must_use]
    pub fn throughput_at(&self, shape: &RequestShape, batch: f64) -> f64 {
        if self.does_not_fit(shape).is_some() {
            return 0.0;
        }
        let work = PromptWork::new(&self.replica, shape);
        self.limit(&work, batch.min(self.fullest_batch(&work)))
    }

    /// Sequences that the slots and the KV cache allow at most.
    fn fullest_batch(&self, work: &PromptWork<'_>) -> f64 {
        let limits = &self.replica.limits;
        limits
            .max_sequences
            .min(limits.kv_tokens / work.context)
            .max(1.0)
    }

    /// Requests that can never run: a sequence's final context exceeds the KV cache.
    fn does_not_fit(&self, shape: &RequestShape) -> Option<Outcome> {
        let available = self.replica.limits.kv_tokens;
        let needed = shape
            .points()
            .iter()
            .map(|p| p.input + p.output)
            .fold(0.0, f64::max);
        (needed > available).then_some(Outcome::DoesNotFit {
            needed_tokens: needed,
            available_tokens: available,
        })
    }

    /// Greatest stable rate: the largest at which `batch` sequences complete requests as fast as they come.
    fn limit(&self, work: &PromptWork<'_>, batch: f64) -> f64 {
        let stable = |rate: f64| {
            work.mean_iteration(batch, rate)
                .is_some_and(|t| work.mean_decode < 1e-9 || batch / (work.mean_decode * t) >= rate)
        };
        let mut high = 1e-6;
        while stable(high) && high < 1e9 {
            high *= 2.0;
        }
        let mut low = high / 2.0;
        while high / low > 1.0 + 1e-4 {
            let middle = (low * high).sqrt();
            if stable(middle) {
                low = middle
            } else {
                high = middle
            }
        }
        low
    }
}

impl LatencyModel for ContinuousBatching {
    fn predict(&self, load: &Load<'_>) -> Outcome {
        match self.seen_by_role(load.shape) {
            Some(shape) => self.solve(load, &shape),
            None => self.solve(load, load.shape),
        }
    }

    fn stability_limit(&self, shape: &RequestShape) -> f64 {
        let own = self.seen_by_role(shape);
        let shape = own.as_ref().unwrap_or(shape);
        self.throughput_at(shape, f64::INFINITY)
    }
}

/// What stalls by prompts add to the peakedness of the batch. A residence of m iterations is a delay busy period: it ends
/// when mT₀ of decode time has passed besides the prefill that arrived meanwhile, hence has squared variation
/// λE[x²]/(mT(1−ρ)²); all sequences in the batch share it.
fn stalling(work: &PromptWork<'_>, calm: &Occupancy, load: &Load<'_>) -> f64 {
    let batch = calm.mean_in_system;
    let squares = work.shape.mean_of(|p| work.stall(batch, p).powi(2));
    let seconds = work.decode_seconds(batch) / calm.decode_share;
    let variation =
        load.rate * squares / (work.mean_decode.max(1.0) * seconds * calm.decode_share.powi(2));
    batch * variation.min(1.0)
}

/// Hayward's peakedness z = 1 + (I − 1)·κ, κ = ∫F̄² / ∫F̄ over the decode length (½ when exponential): what bursty or
/// regular arrivals make of the variance of the batch.
fn peakedness(work: &PromptWork<'_>, arrivals: Arrivals) -> f64 {
    let dispersion = match arrivals {
        Arrivals::Poisson => return 1.0,
        Arrivals::Even => 0.0,
        Arrivals::Dispersion(i) => i.clamp(0.05, 1e3),
    };
    let mut lengths: Vec<(f64, f64)> = work
        .shape
        .points()
        .iter()
        .map(|p| (p.output - 1.0, p.weight))
        .collect();
    lengths.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut above, mut at, mut squared, mut plain) = (1.0, 0.0, 0.0, 0.0);
    for (length, weight) in lengths {
        squared += above * above * (length - at);
        plain += above * (length - at);
        at = length;
        above = f64::max(above - weight, 0.0);
    }
    let kappa = if plain > 0.0 { squared / plain } else { 0.5 };
    // Equal gaps and equal lengths would make the batch constant; real gaps never are quite equal.
    (1.0 + (dispersion - 1.0) * kappa).max(0.05)
}

fn standard_normal_quantile(u: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    Normal::standard().inverse_cdf(u)
}

/// Seconds that an arrival waits for a place in the batch: an Erlang number of completions ahead of it.
fn slot_wait(node: &Node, pool: u32, u: f64) -> f64 {
    if node.queued <= 0.0 || node.completion_rate <= 0.0 {
        return 0.0;
    }
    let ahead = node.queued + 1.0;
    let z = standard_normal_quantile(u.clamp(1e-4, 1.0 - 1e-4));
    ahead / node.completion_rate * gaps::gamma_quantile(ahead * f64::from(pool.max(1)), z)
}

/// End-to-end latency: TTFT plus the request's own gaps, the two taken as independent.
fn end_to_end(
    work: &PromptWork<'_>,
    ttft: &Distribution,
    per_request: &[gaps::RequestGap],
) -> Distribution {
    const STRATA: [(f64, f64); 7] = [
        (0.1, 0.2),
        (0.3, 0.2),
        (0.5, 0.2),
        (0.7, 0.2),
        (0.85, 0.1),
        (0.95, 0.08),
        (0.99, 0.02),
    ];
    let first: Vec<(f64, f64)> = STRATA.iter().map(|&(q, w)| (ttft.quantile(q), w)).collect();
    let single: f64 = work
        .shape
        .points()
        .iter()
        .filter(|p| p.output <= 1.5)
        .map(|p| p.weight)
        .sum();
    let mut out = Vec::with_capacity(per_request.len() * STRATA.len());
    for &(t, w) in &first {
        if single > 0.0 {
            out.push((t, w * single));
        }
        out.extend(
            per_request
                .iter()
                .map(|&(m, gap, weight)| (t + (m - 1.0) * gap, w * weight * (1.0 - single))),
        );
    }
    Distribution::from_weighted(out)
}
