//! A mean-field predictor: the batch that reproduces itself, no fluctuations.

use super::{Predicted, SweepPoint};
use crate::fit::telemetry::OperatingPoint;
use crate::iteration::{IterationLaw, ReplicaModel};
use crate::latency::Arrivals;

/// Longest mean iteration that is looked for, seconds.
const LONGEST: f64 = 10.0;

/// Mean latencies at the fixed point T = mean iteration time of the batch B = λ·(m − 1)·T that T itself makes; `None`
/// where there is none within the engine's limits.
///
/// Microseconds a point, hence good enough a predictor to fit a law with; it knows no queue beyond the iteration in
/// progress, so its TTFT is low near saturation.
#[must_use]
pub fn mean_field(replica: &ReplicaModel, point: &SweepPoint) -> Option<Predicted> {
    let (law, limits) = (&replica.law, &replica.limits);
    let load = Load::new(point);
    let budget = limits.token_budget;
    let settled = |seconds: f64| load.at(seconds).gap(law, budget) <= seconds;
    let (mut low, mut high) = (0.0, load.at(0.0).gap(law, budget));
    while !settled(high) {
        low = high;
        high *= 1.25;
        if high > LONGEST || high.is_nan() {
            return None;
        }
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if settled(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    let at = load.at(high);
    if at.batch > limits.max_sequences || at.kv_tokens > limits.kv_tokens {
        return None;
    }
    Some(Predicted {
        itl_s: high,
        ttft_s: time_to_first_token(law, &at, budget),
    })
}

/// Front end, the rest of the iteration in progress (if there is one), and the prefill.
fn time_to_first_token(law: &IterationLaw, at: &OperatingPoint, budget: f64) -> f64 {
    let (first, second) = at.iteration_moments(law, budget);
    let busy = 1.0 - (-at.batch).exp();
    law.front_end_s + busy * second / first / 2.0 + at.prefill(law, budget)
}

/// What of a point does not depend on the iteration time.
struct Load {
    rate: f64,
    prompt: f64,
    cached: f64,
    prompt_cv: f64,
    decodes: f64,
    context: f64,
    even: bool,
}

impl Load {
    fn new(point: &SweepPoint) -> Self {
        let shape = &point.shape;
        let (input, output) = (shape.mean_input(), shape.mean_output());
        let variance = shape.mean_of(|p| (p.input - input).powi(2));
        Self {
            rate: point.rate,
            prompt: input * (1.0 - shape.prefix_hit()),
            cached: input * shape.prefix_hit(),
            prompt_cv: variance.sqrt() / input,
            decodes: output - 1.0,
            context: shape.mean_of(|p| p.output * (p.input + p.output / 2.0)) / output,
            even: point.arrivals == Arrivals::Even,
        }
    }

    /// The operating point when an iteration takes `seconds`.
    fn at(&self, seconds: f64) -> OperatingPoint {
        let batch = self.rate * self.decodes * seconds;
        OperatingPoint {
            batch,
            kv_tokens: batch * self.context,
            prompt: self.prompt,
            prompts_per_iteration: self.rate * seconds,
            prompts_per_second: self.rate,
            cached: self.cached,
            prompt_cv: self.prompt_cv,
            even: self.even,
        }
    }
}
