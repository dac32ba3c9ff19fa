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
/// The same of what the models say nothing of.
const LEAP: f64 = 10.0;
/// Iterations per second of an engine: each takes 5 ms at least, as long as weights of 10 GB are read or thousands of kernels
/// are launched.
const ITERATIONS: f64 = 200.0;
/// Requests that may wait for a moment while nothing runs.
const UNSEEN: f64 = 50.0;
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
    let waiting = r.waiting.unwrap_or(0.0);
    if waiting > UNSEEN && running < 1.0 {
        let detail = format!("{waiting} requests wait, and none runs");
        return Err(Missing::new(Reason::Absurd, detail));
    }
    Ok(())
}

/// How much a counter grew, and how much it can have.
struct Step {
    name: &'static str,
    growth: f64,
    /// What a replica can do in the time.
    most: f64,
    /// Multiple of it beyond which the counter did not grow, but leapt.
    slack: f64,
}

/// Judges a reading by the one before it, `seconds` earlier, or by the beginning of its pod: no counter grew several times
/// faster than that of any replica.
///
/// # Errors
/// [`Reason::Absurd`] with the counter's name.
pub fn follows(
    r: &EngineReading,
    before: Option<&EngineReading>,
    seconds: f64,
    bounds: &Bounds,
) -> Result<(), Missing> {
    let leapt = |step: &Step| step.growth > step.slack * step.most;
    match steps(r, before, seconds, bounds).into_iter().find(leapt) {
        Some(Step { name, growth, .. }) => {
            let detail = format!("{name} grew by {growth:.3e} in {seconds:.0} s");
            Err(Missing::new(Reason::Absurd, detail))
        }
        None => Ok(()),
    }
}

/// Whether a replica can have counted from one reading to the other without any allowance, `seconds` later.
#[must_use]
pub fn possible(r: &EngineReading, before: &EngineReading, seconds: f64, bounds: &Bounds) -> bool {
    let steps = steps(r, Some(before), seconds, bounds);
    steps.iter().all(|step| step.growth <= step.most)
}

/// Whether anything was done between the two readings.
#[must_use]
pub fn moved(r: &EngineReading, before: &EngineReading) -> bool {
    let steps = steps(r, Some(before), 0.0, &Bounds::default());
    steps.iter().any(|step| step.growth > 0.0)
}

fn steps(
    r: &EngineReading,
    before: Option<&EngineReading>,
    seconds: f64,
    bounds: &Bounds,
) -> [Step; 6] {
    let seconds = seconds.max(1.0);
    let engines = f64::from(r.engines.max(1));
    let since = |of: fn(&EngineReading) -> f64| of(r) - before.map_or(0.0, of);
    let step = |name, growth, rate, slack| Step {
        name,
        growth,
        most: rate * seconds,
        slack,
    };
    // Cached prompts cost next to nothing, so the bound on what is computed says nothing of them.
    let taken = bounds
        .tokens_per_second
        .max(Bounds::default().tokens_per_second);
    let computed = bounds.tokens_per_second * engines;
    [
        step(
            "computed prompt tokens",
            computed_since(r, before),
            computed,
            COMPUTED,
        ),
        step("prompt tokens", since(|r| r.prompt_tokens), taken, LEAP),
        step(
            "output tokens",
            since(|r| r.generation_tokens),
            computed,
            COMPUTED,
        ),
        step("gaps", since(|r| r.gap.count), computed, COMPUTED),
        step(
            "finished requests",
            since(|r| r.finished.unwrap_or(0.0)),
            bounds.sequences,
            LEAP,
        ),
        step("iterations", since(|r| r.iterations), ITERATIONS, LEAP),
    ]
}

/// Prompt tokens that were computed, not found in a cache, between the two readings.
fn computed_since(r: &EngineReading, before: Option<&EngineReading>) -> f64 {
    let uncached = |r: &EngineReading| Some(r.prompt_tokens - r.cached_tokens?);
    let known =
        |of: &dyn Fn(&EngineReading) -> Option<f64>| Some(of(r)? - before.map_or(Some(0.0), of)?);
    known(&|r| r.computed_tokens)
        .or_else(|| known(&uncached))
        .unwrap_or_else(|| computed(r, before, 0.0))
}

/// Whether the engine began anew between the two readings.
#[must_use]
pub fn restarted(r: &EngineReading, before: &EngineReading) -> bool {
    let began = matches!((before.started_at, r.started_at), (Some(a), Some(b)) if b > a + 1.0);
    began || r.generation_tokens < before.generation_tokens || r.finished < before.finished
}
