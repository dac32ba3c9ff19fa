//! Predicted latency of one request on one endpoint, from the fitted iteration law of its variant.
//!
//! ```text
//!  TTFT = front end + rest of the running iteration + wait for a slot + full iterations of backlog + the last one
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
    /// Prompt tokens to compute before this request's.
    pub backlog: f64,
    /// Prompt tokens to compute that arrive per second.
    pub prompt_rate: f64,
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Predicted {
    /// Time to first token.
    pub ttft: f64,
    /// Time per output token after it.
    pub tpot: f64,
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
        let residual = if batch > 0.0 { 0.5 * now } else { 0.0 };
        let ttft = self.replica.law.front_end_s
            + residual
            + self.slot_wait(work, now, output)
            + self.prefill(work, batch, prompt, ask.cached);
        let joined = self.decode(
            batch + 1.0,
            work.kv_tokens + ask.cached + ask.uncached + 0.5 * output,
        );
        let busy = (work.prompt_rate * self.replica.law.per_token_s).min(MOST_PREFILL_SHARE);
        let tpot = if self.role == Role::Prefill {
            0.0
        } else {
            joined / (1.0 - busy)
        };
        Predicted { ttft, tpot }
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

    /// Seconds of the iterations that compute the backlog and then this prompt.
    fn prefill(&self, work: &Work, batch: f64, prompt: f64, cached: f64) -> f64 {
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
        let mut seconds = iteration(total - full * budget);
        if full > 0.0 {
            seconds += full * iteration(budget);
        }
        seconds + law.per_chunk_context_s * prompt * (cached + 0.5 * prompt)
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
            prompt_rate: 9000.0,
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
                prompt_rate: 30_000.0,
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
