//! The engine with more requests than it can serve: its greatest stable rate.
//!
//! A full batch needs no chain: requests complete as fast as they come, so the number of prompts in an iteration is known,
//! and with it the iteration's length. What an overloaded engine wastes is counted, since a rate above what it completes
//! once its queue has grown is a rate from which it never recovers.

use super::occupancy::normal_cdf;
use super::prompt_work::PromptWork;
use crate::iteration::EngineLimits;

/// Sequences that the slots and the KV cache allow at most.
pub(super) fn fullest_batch(work: &PromptWork<'_>, limits: &EngineLimits) -> f64 {
    limits
        .max_sequences
        .min(limits.kv_tokens / work.context)
        .max(1.0)
}

/// Greatest stable rate, requests per second; `again(batch)` is the seconds that a preempted sequence's prompt adds when
/// it is computed once more.
pub(super) fn limit(
    work: &PromptWork<'_>,
    limits: &EngineLimits,
    again: impl Fn(f64) -> f64,
) -> f64 {
    let batch = fullest_batch(work, limits);
    let slots = limits.max_sequences;
    let spread = slots.sqrt() * work.context_variance.sqrt() + 1e-9;
    let kv_binds = normal_cdf((slots * work.context - limits.kv_tokens) / spread);
    let wasted = kv_binds * preemptions(work, batch) * again(batch);
    throughput(work, batch, wasted)
}

/// Rate at which at most `batch` sequences complete when prompts come as fast as that and each wastes `wasted` seconds.
/// An iteration brings j = B/E[m−1] prompts; long prompts fill the token budget first, at j = M/(E[n(1−h)] + E[m−1]),
/// and the batch stays smaller.
pub(super) fn throughput(work: &PromptWork<'_>, batch: f64, wasted: f64) -> f64 {
    let by_budget = work.budget / (work.mean_prompt + work.mean_decode);
    let prompts = by_budget.min(batch / work.mean_decode.max(1e-9));
    let seconds = work.iteration_with(prompts * work.mean_decode, prompts);
    prompts / (seconds + prompts * wasted)
}

/// Preemptions per completed request while requests wait for KV memory.
///
/// Prompts are admitted as long as they fit, so what is free is less than the next one needs. An iteration writes B tokens;
/// those without a completion, a share e^{−B/E[m]}, take memory that only preemption gives back, n tokens each time:
/// B·e^{−B/E[m]}/E[n] an iteration, over B/E[m] completions.
fn preemptions(work: &PromptWork<'_>, batch: f64) -> f64 {
    let output = work.mean_decode + 1.0;
    output / work.shape.mean_input() * (-batch / output).exp()
}
