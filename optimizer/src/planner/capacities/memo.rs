//! Answers to equal questions: replicas of one model on one accelerator that serve alike have the same capacity, and
//! before anything is measured most of a large fleet is alike.
//!
//! A capacity is a pure function of its question, so it does not matter who finds it, nor when an answer is forgotten:
//! decisions are the same with and without a memo, with one thread and with many.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use wva_models::batching::ContinuousBatching;
use wva_models::capacity::{Capacity, Conditions};
use wva_models::iteration::{EngineLimits, ReplicaModel};
use wva_models::latency::Arrivals;
use wva_models::service_class::{Bound, Slo, Statistic};

/// Answers that are kept; beyond, all are forgotten.
const MOST: usize = 20_000;

/// A memo. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Memo(Arc<Mutex<HashMap<(u64, u64), Capacity>>>);

impl Memo {
    /// The answer to this question, found by `find` where nobody asked it before.
    pub(super) fn of(
        &self,
        model: &ContinuousBatching,
        conditions: &Conditions<'_>,
        find: impl FnOnce() -> Capacity,
    ) -> Capacity {
        let question = Question::new(model, conditions).key();
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&capacity) = known().get(&question) {
            return capacity;
        }
        // Not under the lock: others have other questions.
        let capacity = find();
        let mut known = known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(question, capacity);
        capacity
    }
}

/// A question as the numbers that it consists of, to the last bit.
struct Question(Vec<u64>);

impl Question {
    fn new(model: &ContinuousBatching, conditions: &Conditions<'_>) -> Self {
        let mut question = Self(Vec::with_capacity(256));
        // Whole: a field that is added later must be part of the question.
        let ContinuousBatching {
            replica: ReplicaModel { law, limits },
            role,
            samples,
        } = *model;
        let EngineLimits {
            token_budget,
            max_sequences,
            kv_tokens,
        } = limits;
        let Conditions {
            shape,
            arrivals,
            pool,
            slo,
        } = *conditions;
        let (kind, dispersion) = match arrivals {
            Arrivals::Poisson => (0, 0.0),
            Arrivals::Even => (1, 0.0),
            Arrivals::Dispersion(d) => (2, d),
        };
        question
            .0
            .extend([role as u64, samples as u64, u64::from(pool), kind]);
        question.numbers(&law.parameters().map(|(_, value)| value));
        question.numbers(&[
            token_budget,
            max_sequences,
            kv_tokens,
            dispersion,
            shape.prefix_hit(),
        ]);
        let Slo { ttft, itl, e2e } = *slo;
        [ttft, itl, e2e].into_iter().for_each(|b| question.bound(b));
        for p in shape.points() {
            question.numbers(&[p.input, p.output, p.weight]);
        }
        question
    }

    fn numbers(&mut self, numbers: &[f64]) {
        self.0.extend(numbers.iter().map(|n| n.to_bits()));
    }

    fn bound(&mut self, bound: Option<Bound>) {
        let Some(bound) = bound else {
            self.0.push(0);
            return;
        };
        let quantile = match bound.statistic {
            Statistic::Mean => 0.0,
            Statistic::Quantile(q) => q,
        };
        self.0.push(1);
        self.numbers(&[quantile, bound.limit.get(), bound.per_input_token.get()]);
    }

    /// 128 bits: among as many questions as are kept, two are taken for one another once in 10³⁰ times.
    fn key(&self) -> (u64, u64) {
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (salt, &self.0).hash(&mut hasher);
            hasher.finish()
        };
        (half(0), half(1))
    }
}
