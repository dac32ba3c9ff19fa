//! Continuous batching as one state-dependent birth–death chain, M(n)/M(n)/1/K: the textbook's view of a batching server.
//!
//! ```text
//!      λ        λ              λ         λ
//!  (0) ──▶ (1) ──▶ (2)  ...  ──▶ (N)  ──▶ (N+1) ...     N sequences run, what comes beyond waits
//!      ◀──     ◀──           ◀──      ◀──
//!      μ(1)    μ(2)           μ(N)     μ(N)              μ(B) = B / (iterations of a request · T(B))
//! ```
//! All that a request brings, its prompt and its decode steps, is spread evenly over the iterations of its life, so that an
//! iteration of B requests has one length T(B), and the number in system is all the state there is. It is the simplest
//! model that knows that batching has diminishing returns, solves in microseconds, and is what
//! [`ContinuousBatching`](crate::batching::ContinuousBatching) reduces to when prompts are small.
//!
//! Domain: prompts of a few hundred tokens at most, and of a quarter of the output at most, or none (decode replicas).
//! There it is within 2 % in means and p95 and 7 % in p99 of the simulator up to 70 % load (its `against_simulation`
//! tests). Beyond, it is low, as stalls by prompts are averaged away: by 4, 7 and 10 % in mean inter-token latency at 30,
//! 50 and 70 % load with 1024 tokens in and out, and by up to a quarter in p99 of TTFT.
//!
//! Source: the state-dependent queue is in Gross et al., *Fundamentals of Queueing Theory*, 4th ed. (2008), §2.1.

use crate::batching::{
    GOLDEN, does_not_fit, gamma_quantile, seen_by_role, standard_normal_quantile,
};
use crate::iteration::{Composition, IterationLaw, ReplicaModel};
use crate::latency::Arrivals;
use crate::latency::{Distribution, LatencyModel, Load, Outcome, Prediction};
use crate::queueing::birth_death::BirthDeath;
use crate::queueing::burstiness::Hayward;
use crate::shape::{RequestShape, ShapePoint};
use crate::variant::Role;

/// Latency model of one engine as a birth–death chain; see the module for its domain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chain {
    /// Iteration law and limits.
    pub replica: ReplicaModel,
    /// `Both`, `Prefill` (no decode) or `Decode` (no prompts: they arrive with their KV cache).
    pub role: Role,
}

/// Most states of the chain.
const MOST_STATES: f64 = 20_000.0;
/// Probability below which a state is left out of the distributions.
const NEGLIGIBLE: f64 = 1e-8;

impl LatencyModel for Chain {
    fn predict(&self, load: &Load<'_>) -> Outcome {
        let own = seen_by_role(load.shape, self.role);
        let shape = own.as_ref().unwrap_or(load.shape);
        if let Some(outcome) = does_not_fit(shape, &self.replica.limits) {
            return outcome;
        }
        let life = Life::new(&self.replica, shape, self.role);
        let limit = life.completions(f64::INFINITY);
        let utilization = load.rate / limit;
        // Nobody there at all is the limit of next to nobody.
        let load = &Load {
            rate: load.rate.max(limit * 1e-4),
            ..*load
        };
        if utilization < 1.0
            && let Some(states) = states(&life, load)
        {
            return Outcome::Stable(prediction(&life, load, shape, &states, utilization));
        }
        Outcome::Unstable { utilization }
    }

    fn stability_limit(&self, shape: &RequestShape) -> f64 {
        let own = seen_by_role(shape, self.role);
        let shape = own.as_ref().unwrap_or(shape);
        if does_not_fit(shape, &self.replica.limits).is_some() {
            return 0.0;
        }
        Life::new(&self.replica, shape, self.role).completions(f64::INFINITY)
    }
}

/// A request's life in iterations, and what it brings to each of them on average.
struct Life {
    law: IterationLaw,
    budget: f64,
    iterations: f64,
    /// What one request brings to one iteration.
    share: Composition,
    /// Probability that its iteration is one of its prefill.
    prefill: f64,
    /// Most requests that run at once.
    most: f64,
    /// Prefix-hit fraction.
    hit: f64,
}

impl Life {
    fn new(replica: &ReplicaModel, shape: &RequestShape, role: Role) -> Self {
        let mut law = replica.law;
        if role == Role::Decode {
            law.prefill_overhead_s = 0.0;
            law.per_chunk_context_s = 0.0;
        }
        let limits = &replica.limits;
        let (budget, hit) = (limits.token_budget.max(1.0), shape.prefix_hit());
        let chunks = shape.mean_of(|p| chunks(p, hit, budget));
        let decode = shape.mean_of(|p| p.output - 1.0);
        let iterations = chunks + decode;
        let per = |f: &dyn Fn(&ShapePoint) -> f64| shape.mean_of(f) / iterations;
        Self {
            law,
            budget,
            iterations,
            share: Composition {
                tokens: per(&|p| computed(p, hit) + p.output - 1.0),
                kv_tokens: per(&|p| p.input + (p.output - 1.0) * (p.input + p.output / 2.0)),
                sequences: 1.0,
                chunk_context: per(&|p| computed(p, hit) * (p.input - computed(p, hit) / 2.0)),
                any_prefill: false,
            },
            prefill: chunks / iterations,
            most: limits
                .max_sequences
                .min(limits.kv_tokens / shape.mean_context())
                .max(1.0),
            hit,
        }
    }

    /// Seconds of an iteration of `running` requests.
    fn iteration(&self, running: f64) -> f64 {
        let all = Composition {
            tokens: running * self.share.tokens,
            kv_tokens: running * self.share.kv_tokens,
            sequences: running,
            chunk_context: running * self.share.chunk_context,
            any_prefill: false,
        };
        self.law.seconds(&all) + self.law.prefill_overhead_s * (1.0 - self.no_prefill(running))
    }

    fn no_prefill(&self, running: f64) -> f64 {
        (1.0 - self.prefill).powf(running)
    }

    /// μ: completions per second with this many requests in system.
    fn completions(&self, in_system: f64) -> f64 {
        let running = in_system.min(self.most);
        running / (self.iterations * self.iteration(running))
    }

    /// Seconds from the first iteration of a request to its first token, with `running` others.
    fn own_prefill(&self, p: &ShapePoint, running: f64) -> f64 {
        let (new, others) = (computed(p, self.hit), running * self.share.tokens);
        let chunks = chunks(p, self.hit, self.budget);
        let each = new / chunks;
        let compute = self.law.compute(others + each) - self.law.compute(others);
        let overhead = self.law.prefill_overhead_s * self.no_prefill(running);
        chunks * (self.iteration(running) + compute + overhead + self.law.per_sequence_s)
            + self.law.per_kv_token_s * (chunks * (p.input - new) + new * (chunks + 1.0) / 2.0)
            + self.law.per_chunk_context_s * new * (p.input - new / 2.0)
    }
}

fn computed(p: &ShapePoint, hit: f64) -> f64 {
    (p.input * (1.0 - hit)).max(1.0)
}

fn chunks(p: &ShapePoint, hit: f64, budget: f64) -> f64 {
    (computed(p, hit) / budget).ceil().max(1.0)
}

/// One state of the chain: requests in system per replica, and probability.
#[derive(Clone, Copy)]
struct State {
    in_system: f64,
    probability: f64,
}

/// Stationary law. Bursts move in clusters of z requests (Hayward) and a balanced pool of R replicas is one chain with
/// μ(k) = R·μ₁(k/R): together, one replica's chain on a grid of z/R requests.
fn states(life: &Life, load: &Load<'_>) -> Option<Vec<State>> {
    let dispersion = match load.arrivals {
        Arrivals::Poisson => 1.0,
        Arrivals::Even => 0.0,
        Arrivals::Dispersion(i) => i,
    };
    let z = Hayward::new(dispersion).ok()?.peakedness().min(life.most);
    let room = 4.0 * life.most + 400.0;
    let grid = (z / f64::from(load.pool.max(1))).max(room / MOST_STATES);
    let mut chain = BirthDeath::new();
    let arrivals = load.rate / grid;
    let services = |j: usize| life.completions(j as f64 * grid) / grid;
    let solved = chain.solve_with((room / grid).ceil() as usize, |_| arrivals, services);
    let solved = solved.ok()?;
    let all = solved.probabilities().iter().enumerate();
    let kept = all.filter(|(_, p)| **p > NEGLIGIBLE);
    Some(
        kept.map(|(j, &probability)| State {
            in_system: j as f64 * grid,
            probability,
        })
        .collect(),
    )
}

fn prediction(
    life: &Life,
    load: &Load<'_>,
    shape: &RequestShape,
    states: &[State],
    utilization: f64,
) -> Prediction {
    let most = life.most;
    let gaps = states.iter().filter(|s| s.in_system > 0.0).map(|s| {
        let running = s.in_system.min(most);
        let seconds = life.iteration(running);
        (seconds, s.probability * running / seconds)
    });
    let decodes = shape.points().iter().any(|p| p.output > 1.5);
    let itl = if decodes {
        Distribution::gathered(gaps)
    } else {
        Distribution::constant(0.0)
    };
    let firsts = || first_tokens(life, load, shape, states);
    let own_gaps = |f: &First| (f.point.output - 1.0) * life.iteration(f.running.max(1.0));
    let allowed = |f: &First| load.ttft_allowance_per_token * f.point.input;
    let beyond = firsts().map(|f| (f.seconds - allowed(&f), f.weight));
    Prediction {
        utilization,
        throughput: load.rate,
        concurrency: states.iter().map(|s| s.in_system * s.probability).sum(),
        ttft: Distribution::gathered(firsts().map(|f| (f.seconds, f.weight))),
        ttft_beyond_allowance: Distribution::from_weighted(beyond.collect()),
        gap: itl.clone(),
        itl,
        e2e: Distribution::gathered(firsts().map(|f| (f.seconds + own_gaps(&f), f.weight))),
    }
}

/// The first token of requests of one kind that come upon one state.
struct First {
    seconds: f64,
    point: ShapePoint,
    running: f64,
    weight: f64,
}

/// Every kind of request in every state, each at its own moment of the iteration in progress.
fn first_tokens<'a>(
    life: &'a Life,
    load: &'a Load<'_>,
    shape: &'a RequestShape,
    states: &'a [State],
) -> impl Iterator<Item = First> + 'a {
    let kinds = states
        .iter()
        .flat_map(move |s| shape.points().iter().map(move |p| (s, p)));
    kinds.enumerate().map(move |(i, (s, p))| {
        let running = s.in_system.min(life.most);
        let moment = (GOLDEN * (i + 1) as f64).fract();
        let residual = if s.in_system > 0.0 {
            moment * life.iteration(running)
        } else {
            0.0
        };
        let seconds = residual
            + wait(life, load, s.in_system, (moment * 97.0).fract())
            + life.own_prefill(p, running)
            + life.law.front_end_s;
        First {
            seconds,
            point: *p,
            running,
            weight: s.probability * p.weight,
        }
    })
}

/// Wait for a place in the batch at quantile `u`: an Erlang number of completions, those of all replicas in a pool.
fn wait(life: &Life, load: &Load<'_>, in_system: f64, u: f64) -> f64 {
    let ahead = in_system - life.most + 1.0;
    if ahead <= 0.0 {
        return 0.0;
    }
    let z = standard_normal_quantile(u.clamp(1e-4, 1.0 - 1e-4));
    let pool = f64::from(load.pool.max(1));
    ahead / life.completions(in_system) * gamma_quantile(ahead * pool, z)
}
