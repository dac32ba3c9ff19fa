//! One engine: hand-computed timelines, and the jumping engine against one that ticks.

mod live;
mod tick;
mod timelines;

use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_simulations::histogram::LogHistogram;
use wva_simulations::replica::{Counters, Replica, ReplicaSpec, Signal, Surroundings};
use wva_simulations::sequence::{Sequence, Sequences};
use wva_simulations::time::Time;

/// A request of the tests.
#[derive(Debug, Clone, Default)]
struct Ask {
    /// Arrival in ns.
    at: u64,
    /// Engine level.
    level: u8,
    /// Input tokens.
    input: u32,
    /// Output tokens.
    output: u32,
    /// Tokens found in the cache.
    hit: u32,
    /// KV came over a link.
    transferred: bool,
    /// Prefix blocks.
    blocks: Vec<u64>,
}

fn ask(at: u64, input: u32, output: u32) -> Ask {
    Ask {
        at,
        input,
        output,
        ..Ask::default()
    }
}

/// First and last token of a request, ns.
type Times = (u64, u64);

/// Engine limits from whole numbers.
fn limits(token_budget: u32, max_sequences: u32, kv_tokens: u32) -> EngineLimits {
    EngineLimits {
        token_budget: token_budget.into(),
        max_sequences: max_sequences.into(),
        kv_tokens: kv_tokens.into(),
    }
}

/// Round figures: 1 ms + 10 µs a token + 1 µs a KV token + 100 µs a sequence; prefill adds 500 µs and 0.01 µs a token².
fn round_law() -> IterationLaw {
    IterationLaw {
        overhead_s: 1e-3,
        floor_s: 0.0,
        per_token_s: 1e-5,
        per_kv_token_s: 1e-6,
        per_sequence_s: 1e-4,
        per_chunk_context_s: 1e-8,
        prefill_overhead_s: 5e-4,
        front_end_s: 0.0,
    }
}

fn plain(limits: EngineLimits) -> ReplicaSpec {
    ReplicaSpec::plain(ReplicaModel {
        law: round_law(),
        limits,
    })
}

/// Runs the engine over the requests (in time order); times of each, and the engine's counters.
fn drive(spec: ReplicaSpec, asks: &[Ask]) -> (Vec<Times>, Counters) {
    let mut replica = Replica::new(spec);
    let mut sequences = Sequences::default();
    let mut gaps = vec![LogHistogram::default(); asks.len()];
    let mut signals = Vec::new();
    let mut times = vec![(u64::MAX, u64::MAX); asks.len()];
    let mut next = 0;
    loop {
        let arrival = asks.get(next).map_or(Time::NEVER, |a| Time(a.at));
        if arrival == Time::NEVER && replica.next() == Time::NEVER {
            break;
        }
        if arrival <= replica.next() {
            let a = &asks[next];
            let mut s = Sequence::new(
                next as u32,
                a.level,
                a.input,
                a.output,
                arrival,
                next as u64,
            );
            s.fixed_hit = a.hit;
            s.transferred = a.transferred;
            s.set_blocks((!a.blocks.is_empty()).then(|| a.blocks.clone().into()));
            let id = sequences.insert(s);
            replica.arrive(arrival, id, &mut sequences);
            next += 1;
            continue;
        }
        let now = replica.next();
        let mut around = Surroundings {
            sequences: &mut sequences,
            gaps: &mut gaps,
            signals: &mut signals,
        };
        replica.wake(now, &mut around);
        for signal in signals.drain(..) {
            match signal {
                Signal::First(id) => times[sequences[id].stream as usize].0 = now.0,
                Signal::Done(id) => {
                    times[sequences[id].stream as usize].1 = now.0;
                    sequences.remove(id);
                }
            }
        }
        assert!(replica.held() <= spec.model.limits.kv_tokens as u64 + replica.running() as u64);
    }
    assert!(replica.is_empty() && sequences.is_empty() && replica.held() == 0);
    for (ask, gaps) in asks.iter().zip(&gaps) {
        let expected = if spec.prefill_only { 0 } else { ask.output - 1 };
        assert_eq!(
            gaps.count(),
            u64::from(expected),
            "one gap between each two tokens"
        );
    }
    (times, *replica.counters())
}
