//! Whether a reading can be true.

use super::engine::EngineReading;
use super::reason::{Missing, Reason};
use super::selection::computed;
use super::targets::Bounds;

/// Multiple of a bound beyond which a number is not large but wrong.
const ABSURD: f64 = 1000.0;
/// The same of a bound that the engine itself keeps to; its setting may be unknown.
const KEPT: f64 = 10.0;
/// Multiple of the tokens that a replica can compute in a time, by a law that may be wrong and pages that may lag.
const COMPUTED: f64 = 5.0;
/// Multiple of what a replica can do in a time beyond which a counter did not grow, but leapt.
const LEAP: f64 = 10.0;
/// Beyond this an f64 no longer tells neighbours apart.
const MOST: f64 = 1e15;

/// Judges a reading by itself: all numbers are numbers, not negative, and within a thousand times what a replica can do.
///
/// # Errors
/// [`Reason::NoEngineMetrics`] where the batch is not reported at all, [`Reason::Absurd`] with the number's name otherwise.
pub fn plausible(r: &EngineReading, bounds: &Bounds) -> Result<(), Missing> {
    let Some(running) = r.running else {
        let name = r.dialect.heartbeat();
        return Err(Missing::new(
            Reason::NoEngineMetrics,
            format!("{name} is not reported"),
        ));
    };
    let counters = [
        ("iterations", r.iterations),
        ("prompt tokens", r.prompt_tokens),
        ("output tokens", r.generation_tokens),
        ("finished requests", r.finished.unwrap_or(0.0)),
        ("preemptions", r.preemptions),
        ("seconds of gaps", r.gap.sum),
        ("gaps", r.gap.count),
        ("seconds of prefill", r.prefill.sum),
        ("prefills", r.prefill.count),
        ("seconds of queueing", r.queue.sum),
        ("queued requests", r.queue.count),
        ("seconds to first tokens", r.ttft.sum),
        ("first tokens", r.ttft.count),
    ];
    let gauges = [
        (
            "running requests",
            running,
            KEPT * bounds.sequences * f64::from(r.engines.max(1)),
        ),
        (
            "waiting requests",
            r.waiting.unwrap_or(0.0),
            ABSURD * ABSURD * bounds.sequences,
        ),
        // A share; a little above 1 is rounding, much above is a percentage.
        ("share of KV cache in use", r.kv_usage.unwrap_or(0.0), 1.5),
    ];
    let all = counters
        .into_iter()
        .map(|(name, x)| (name, x, MOST))
        .chain(gauges);
    for (name, value, most) in all {
        if !(0.0..=most).contains(&value) {
            return Err(Missing::new(Reason::Absurd, format!("{name}: {value}")));
        }
    }
    Ok(())
}

/// Judges a reading by the one before it, `seconds` earlier: no counter grew ten times faster than that of any replica.
///
/// # Errors
/// [`Reason::Absurd`] with the counter's name.
pub fn follows(
    r: &EngineReading,
    before: &EngineReading,
    seconds: f64,
    bounds: &Bounds,
) -> Result<(), Missing> {
    // Cached prompts cost next to nothing, so the bound on what is computed says nothing of them.
    let most = bounds
        .tokens_per_second
        .max(Bounds::default().tokens_per_second);
    let tokens = LEAP * most * seconds.max(1.0);
    let requests = LEAP * bounds.sequences * seconds.max(1.0);
    let computed = COMPUTED * bounds.tokens_per_second * seconds.max(1.0);
    let growths = [
        (
            "computed prompt tokens",
            computed_since(r, before),
            computed * f64::from(r.engines.max(1)),
        ),
        (
            "prompt tokens",
            r.prompt_tokens - before.prompt_tokens,
            tokens,
        ),
        (
            "output tokens",
            r.generation_tokens - before.generation_tokens,
            tokens,
        ),
        ("gaps", r.gap.count - before.gap.count, tokens),
        (
            "finished requests",
            r.finished.unwrap_or(0.0) - before.finished.unwrap_or(0.0),
            requests,
        ),
    ];
    for (name, growth, most) in growths {
        if growth > most {
            let detail = format!("{name} grew by {growth:.3e} in {seconds:.0} s");
            return Err(Missing::new(Reason::Absurd, detail));
        }
    }
    Ok(())
}

/// Prompt tokens that were computed, not found in a cache, between the two readings.
fn computed_since(r: &EngineReading, before: &EngineReading) -> f64 {
    let uncached = |r: &EngineReading| Some(r.prompt_tokens - r.cached_tokens?);
    let known = |of: &dyn Fn(&EngineReading) -> Option<f64>| Some(of(r)? - of(before)?);
    known(&|r| r.computed_tokens)
        .or_else(|| known(&uncached))
        .unwrap_or_else(|| computed(r, Some(before), 0.0))
}

/// Whether the engine began anew between the two readings.
#[must_use]
pub fn restarted(r: &EngineReading, before: &EngineReading) -> bool {
    let began = matches!((before.started_at, r.started_at), (Some(a), Some(b)) if b > a + 1.0);
    began || r.generation_tokens < before.generation_tokens || r.finished < before.finished
}
