//! Predicted latency of one request on one endpoint, from the fitted iteration law of its variant.
//!
//! ```text
//!  TTFT = front end + rest of the running iteration + wait for a slot + prompts ahead + iterations of this one
//!  TPOT = decode iteration with one more sequence / (1 − share of time that others' prompts take)
//! ```
//! The steady-state models of `wva-models` answer "what will latency be at this rate"; here the state is known (what runs,
//! what waits, what was sent), so a few multiplications and square roots replace a distribution: some 30 ns, and no
//! table to keep. Endpoints of different hardware are compared by the same law with their own parameters.

use wva_models::capacity::{Capacity, Conditions, capacity};
use wva_models::iteration::{Composition, ReplicaModel};
use wva_models::latency::LatencyModel;
use wva_models::variant::Role;

/// A variant as the picker sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VariantModel {
    /// Iteration law and limits.
    pub replica: ReplicaModel,
    /// What its replicas do.
    pub role: Role,
    /// Mean prompt tokens, for requests that nothing is known of.
    pub mean_prompt: f64,
    /// Mean output tokens, likewise.
    pub mean_output: f64,
    /// Requests in flight at which a replica just meets its SLO ([`feasible_concurrency`]); `None` where unknown.
    pub feasible: Option<f64>,
}

/// What an endpoint is doing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// Sequences running.
    pub running: f64,
    /// Requests waiting or being prefilled.
    pub waiting: f64,
    /// Tokens in the KV cache.
    pub kv_tokens: f64,
    /// Prompt tokens to compute before this request's, beyond the queue.
    pub backlog: f64,
    /// Prompts to compute before this request's, as they were predicted when they were sent.
    pub queue: Queue,
    /// Share of its time that prompts take, lately.
    pub prefill_share: f64,
}

/// Prompts on their way through an engine: it computes them in the order of arrival, in iterations of at most the token
/// budget, and what arrives during one iteration shares the next.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Queue {
    /// Seconds until the last iteration with prompts begins; 0 when it runs or there is none.
    pub begins_s: f64,
    /// Seconds until it ends; 0 where there is none.
    pub ends_s: f64,
    /// Prompt tokens that it has room for.
    pub room: f64,
}

/// What is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ask {
    /// Prompt tokens to compute.
    pub uncached: f64,
    /// Prompt tokens in the prefix cache.
    pub cached: f64,
    /// Output tokens; 0 for the variant's mean.
    pub output: f64,
}

/// Predicted means in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Predicted {
    /// Time to first token.
    pub ttft: f64,
    /// Time per output token after it.
    pub tpot: f64,
    /// Time that the prompt adds to the engine's iterations.
    pub prefill: f64,
    /// Waiting that this causes to prompts that are yet to come, all together.
    pub burden: f64,
    /// The queue behind the prompt.
    pub queue: Queue,
}

/// Largest share of time that prompts of others are taken to need; beyond it there is no steady state to speak of.
const MOST_PREFILL_SHARE: f64 = 0.8;

impl VariantModel {
    /// A model of replicas in a role that do requests of these mean sizes; the feasible concurrency is unknown.
    #[must_use]
    pub const fn new(
        replica: ReplicaModel,
        role: Role,
        mean_prompt: f64,
        mean_output: f64,
    ) -> Self {
        Self {
            replica,
            role,
            mean_prompt,
            mean_output,
            feasible: None,
        }
    }

    /// Latency that a request will see at an endpoint with this work.
    #[must_use]
    pub fn predict(&self, work: &Work, ask: &Ask) -> Predicted {
        let limits = &self.replica.limits;
        let output = if ask.output > 0.0 {
            ask.output
        } else {
            self.mean_output
        };
        let batch = work.running.min(limits.max_sequences);
        let now = self.decode(batch, work.kv_tokens);
        let prompt = if self.role == Role::Decode {
            0.0
        } else {
            ask.uncached
        };
        let (queue, prefill) = self.prefill(work, batch, now, (prompt, ask.cached));
        let law = &self.replica.law;
        let busy = work.prefill_share.min(MOST_PREFILL_SHARE);
        // Prompts that come before its last iteration begins will share it.
        let joining = (queue.begins_s * busy).min(queue.room * law.per_token_s);
        let ttft = law.front_end_s + self.slot_wait(work, now, output) + queue.ends_s + joining;
        let joined = self.decode(
            batch + 1.0,
            work.kv_tokens + ask.cached + ask.uncached + 0.5 * output,
        );
        let tpot = if self.role == Role::Prefill {
            0.0
        } else {
            joined / (1.0 - busy)
        };
        Predicted {
            ttft,
            tpot,
            prefill,
            // A queue's work grows by 1 / (1 − busy) of what is put in before it is empty again.
            burden: prefill * busy / (1.0 - busy),
            queue,
        }
    }

    /// Seconds of an iteration that only decodes.
    fn decode(&self, batch: f64, kv_tokens: f64) -> f64 {
        let tokens = batch.max(1.0);
        self.replica.law.seconds(&Composition {
            tokens,
            kv_tokens,
            sequences: tokens,
            ..Composition::default()
        })
    }

    /// Seconds until there is a place in the batch: so many sequences have to end first.
    fn slot_wait(&self, work: &Work, iteration: f64, output: f64) -> f64 {
        let limits = &self.replica.limits;
        let per_sequence = if work.running > 0.0 && work.kv_tokens > 0.0 {
            (work.kv_tokens / work.running).max(1.0)
        } else {
            self.mean_prompt + self.mean_output
        };
        let most = limits
            .max_sequences
            .min(limits.kv_tokens / per_sequence.max(1.0))
            .max(1.0);
        let ahead = work.running + work.waiting + 1.0 - most;
        if ahead <= 0.0 {
            return 0.0;
        }
        ahead * output.max(1.0) * iteration / most
    }

    /// The queue once this prompt is in it, and the seconds that the prompt adds to iterations that only decode, which take
    /// `decode` seconds.
    fn prefill(
        &self,
        work: &Work,
        batch: f64,
        decode: f64,
        (prompt, cached): (f64, f64),
    ) -> (Queue, f64) {
        let law = &self.replica.law;
        let budget = (self.replica.limits.token_budget - batch).max(1.0);
        let total = work.backlog + prompt.max(1.0);
        let full = ((total / budget).ceil() - 1.0).max(0.0);
        let iteration = |tokens: f64| {
            law.seconds(&Composition {
                tokens: tokens + batch,
                kv_tokens: work.kv_tokens,
                sequences: batch + 1.0,
                chunk_context: 0.0,
                any_prefill: prompt > 0.0,
            })
        };
        let attention = law.per_chunk_context_s * prompt * (cached + 0.5 * prompt);
        let last = iteration(total - full * budget) + attention / (full + 1.0);
        let mut alone = last + attention - attention / (full + 1.0);
        if full > 0.0 {
            alone += full * iteration(budget);
        }
        let added = (alone - (full + 1.0) * decode).max(0.0);
        let before = work.queue;
        if before.begins_s > 0.0 && total <= before.room {
            let queue = Queue {
                ends_s: before.ends_s + added,
                room: before.room - total,
                ..before
            };
            return (queue, added);
        }
        let residual = if batch > 0.0 { 0.5 * decode } else { 0.0 };
        let ends_s = before.ends_s.max(residual) + alone;
        let queue = Queue {
            begins_s: ends_s - last,
            ends_s,
            room: (full + 1.0) * budget - total,
        };
        (queue, added)
    }
}

/// Requests in flight at which one replica just meets `slo` in steady state: its capacity, and the concurrency predicted
/// there. `None` when even an idle replica misses it, or nothing is stable. Takes milliseconds: for when the model
/// changes, not for requests.
#[must_use]
pub fn feasible_concurrency<M: LatencyModel + ?Sized>(
    model: &M,
    conditions: &Conditions<'_>,
) -> Option<f64> {
    let Capacity::Sustains { rate, .. } = capacity(model, conditions) else {
        return None;
    };
    let at_capacity = model.predict(&conditions.load(rate));
    at_capacity.stable().map(|p| p.concurrency.max(1.0))
}

#[cfg(test)]
mod tests {
    use wva_models::iteration::{EngineLimits, IterationLaw};

    use super::*;

    fn h100() -> VariantModel {
        let law = IterationLaw {
            overhead_s: 1.9e-3,
            floor_s: 5.15e-3,
            per_token_s: 2.28e-5,
            per_kv_token_s: 4.1e-8,
            per_sequence_s: 2.3e-5,
            per_chunk_context_s: 8.3e-10,
            prefill_overhead_s: 5.9e-4,
            front_end_s: 11e-3,
        };
        let limits = EngineLimits {
            token_budget: 8192.0,
            max_sequences: 256.0,
            kv_tokens: 437_000.0,
        };
        VariantModel::new(ReplicaModel { law, limits }, Role::Both, 1000.0, 200.0)
    }

    fn ask(uncached: f64) -> Ask {
        Ask {
            uncached,
            ..Ask::default()
        }
    }

    #[test]
    fn an_idle_endpoint_takes_what_the_law_says() {
        let model = h100();
        let law = &model.replica.law;
        let predicted = model.predict(&Work::default(), &ask(1000.0));
        let one =
            law.overhead_s + law.compute(1000.0) + law.per_sequence_s + law.prefill_overhead_s;
        let expected = law.front_end_s + one + law.per_chunk_context_s * 1000.0 * 500.0;
        assert!(
            (predicted.ttft - expected).abs() < 1e-12,
            "{predicted:?} {expected}"
        );
        let tpot =
            law.overhead_s + law.compute(1.0) + law.per_sequence_s + law.per_kv_token_s * 1100.0;
        assert!((predicted.tpot - tpot).abs() < 1e-12);
    }

    #[test]
    fn more_work_is_never_faster() {
        let model = h100();
        let base = Work {
            running: 20.0,
            waiting: 2.0,
            kv_tokens: 24_000.0,
            backlog: 3000.0,
            queue: Queue {
                begins_s: 0.05,
                ends_s: 0.1,
                room: 100.0,
            },
            prefill_share: 0.2,
        };
        let at = |work: &Work, uncached| model.predict(work, &ask(uncached));
        let reference = at(&base, 1000.0);
        let more = [
            Work {
                running: 60.0,
                ..base
            },
            Work {
                waiting: 300.0,
                ..base
            },
            Work {
                kv_tokens: 200_000.0,
                ..base
            },
            Work {
                backlog: 30_000.0,
                ..base
            },
            Work {
                prefill_share: 0.6,
                ..base
            },
        ];
        for work in more {
            let predicted = at(&work, 1000.0);
            assert!(
                predicted.ttft >= reference.ttft && predicted.tpot >= reference.tpot,
                "{work:?}"
            );
        }
        assert!(at(&base, 100.0).ttft < reference.ttft);
        assert!(at(&base, 100_000.0).ttft > 10.0 * reference.ttft);
    }

    #[test]
    fn prompts_that_arrive_during_an_iteration_share_the_next() {
        let model = h100();
        let first = model.predict(&Work::default(), &ask(1000.0));
        assert_eq!(first.queue.begins_s, 0.0, "begins at once");
        let at = |queue: Queue, tokens: f64| {
            let work = Work {
                queue,
                ..Work::default()
            };
            model.predict(&work, &ask(tokens)).queue
        };
        let second = at(first.queue, 1000.0);
        assert!((second.begins_s - first.queue.ends_s).abs() < 1e-12);
        let alone = second.ends_s - second.begins_s;
        let third = at(second, 1000.0);
        let added = third.ends_s - second.ends_s;
        assert_eq!(third.begins_s, second.begins_s);
        assert!(added > 0.0 && added < alone, "{added} {alone}");
        let long = at(third, 8000.0);
        assert!(long.begins_s > third.begins_s && long.room < 8192.0);
    }

    #[test]
    fn a_cached_prefix_is_worth_more_the_busier_the_endpoint() {
        let model = h100();
        let saved = |share: f64| {
            let work = Work {
                prefill_share: share,
                ..Work::default()
            };
            let of = |cached: f64| {
                let ask = Ask {
                    uncached: 4000.0 - cached,
                    cached,
                    output: 0.0,
                };
                let p = model.predict(&work, &ask);
                p.ttft + p.burden
            };
            of(0.0) - of(3000.0)
        };
        assert!(saved(0.0) > 0.0 && saved(0.5) > 1.5 * saved(0.0));
    }

    #[test]
    fn a_full_batch_makes_newcomers_wait() {
        let model = h100();
        let full = Work {
            running: 256.0,
            kv_tokens: 256_000.0,
            ..Work::default()
        };
        let room = Work {
            running: 255.0,
            kv_tokens: 255_000.0,
            ..Work::default()
        };
        let wait = model.predict(&full, &ask(10.0)).ttft - model.predict(&room, &ask(10.0)).ttft;
        // One of 256 sequences of 200 tokens at some 20 ms each.
        assert!((0.005..0.05).contains(&wait), "{wait}");
    }
}
