//! An engine watched token by token, and requests that are taken back.

use proptest::prelude::*;
use wva_simulations::histogram::LogHistogram;
use wva_simulations::replica::{Replica, ReplicaSpec, Signal, Surroundings};
use wva_simulations::sequence::{Sequence, SequenceId, Sequences};
use wva_simulations::time::Time;

use super::tick::any_ask;
use super::{Ask, Times, ask, drive, limits, plain};

/// An engine with what it works on, woken for every iteration.
struct Live {
    replica: Replica,
    sequences: Sequences,
    gaps: Vec<LogHistogram>,
    /// Ordinal of each request's sequence while it is in the engine.
    inside: Vec<Option<SequenceId>>,
    /// Time of each token of each request.
    tokens: Vec<Vec<u64>>,
    done: Vec<bool>,
}

impl Live {
    fn new(spec: ReplicaSpec, asks: usize) -> Self {
        Self {
            replica: Replica::new(spec),
            sequences: Sequences::default(),
            gaps: vec![LogHistogram::default(); asks],
            inside: vec![None; asks],
            tokens: vec![Vec::new(); asks],
            done: vec![false; asks],
        }
    }

    fn arrive(&mut self, i: usize, ask: &Ask) {
        let (input, output) = (ask.input, ask.output);
        let at = Time(ask.at);
        let mut s = Sequence::new(i as u32, ask.level, input, output, at, i as u64);
        s.fixed_hit = ask.hit;
        s.transferred = ask.transferred;
        let id = self.sequences.insert(s);
        self.inside[i] = Some(id);
        self.replica.arrive(at, id, &mut self.sequences);
    }

    /// Sees every iteration end up to and including `time`.
    fn run_until(&mut self, time: Time) {
        while self.replica.iteration_end() <= time && self.replica.next() < Time::NEVER {
            let now = self.replica.iteration_end();
            let mut signals = Vec::new();
            let mut around = Surroundings {
                sequences: &mut self.sequences,
                gaps: &mut self.gaps,
                signals: &mut signals,
            };
            if now == self.replica.next() {
                self.replica.wake(now, &mut around);
            } else {
                self.replica.settle(now, &mut around);
            }
            self.note_tokens(now);
            for signal in signals {
                if let Signal::Done(id) = signal {
                    let i = self.sequences[id].stream as usize;
                    (self.done[i], self.inside[i]) = (true, None);
                    self.sequences.remove(id);
                }
            }
        }
    }

    fn note_tokens(&mut self, now: Time) {
        for (inside, tokens) in self.inside.iter().zip(&mut self.tokens) {
            if let Some(id) = *inside {
                let emitted = self.replica.emitted(&self.sequences[id]) as usize;
                assert!(emitted >= tokens.len(), "no token is taken back");
                tokens.resize(emitted, now.0);
            }
        }
    }

    fn abort(&mut self, i: usize, now: Time) {
        let Some(id) = self.inside[i].take() else {
            return;
        };
        let mut around = Surroundings {
            sequences: &mut self.sequences,
            gaps: &mut self.gaps,
            signals: &mut Vec::new(),
        };
        self.replica.abort(now, id, &mut around);
        self.sequences.remove(id);
    }

    fn assert_empty(&self) {
        assert!(self.replica.is_empty() && self.sequences.is_empty());
        assert_eq!(self.replica.held(), 0);
    }
}

#[test]
fn every_token_is_seen_when_it_is_emitted() {
    // As the hand-computed request that runs alone: 2750 µs, then 1211 and 1212.
    let mut live = Live::new(plain(limits(8192, 8, 1_000_000)), 1);
    live.arrive(0, &ask(7, 100, 3));
    live.run_until(Time(u64::MAX - 1));
    assert_eq!(live.tokens[0], [2_750_007, 3_961_007, 5_173_007]);
    assert!(live.done[0]);
    live.assert_empty();
}

#[test]
fn memory_of_an_aborted_request_serves_the_next() {
    // 100 + 50 tokens fill the 160 that there are: the second waits, until the first is taken back in its first decode
    // iteration, which ends at 3961.
    let mut live = Live::new(plain(limits(8192, 8, 160)), 2);
    live.arrive(0, &ask(0, 100, 50));
    live.run_until(Time(1_000));
    live.arrive(1, &ask(1_000, 100, 1));
    live.run_until(Time(3_000_000));
    assert_eq!((live.replica.running(), live.replica.waiting()), (1, 1));
    live.abort(0, Time(3_000_000));
    assert_eq!((live.replica.running(), live.replica.held()), (0, 0));
    live.run_until(Time(u64::MAX - 1));
    assert_eq!(live.tokens[1], [3_961_000 + 2_750_000]);
    assert_eq!(live.tokens[0].len(), 1, "no token after the abort");
    live.assert_empty();
}

#[test]
fn a_waiting_request_that_leaves_unblocks_those_behind() {
    let mut live = Live::new(plain(limits(8192, 8, 200)), 3);
    live.arrive(0, &ask(0, 100, 90));
    live.run_until(Time(10));
    live.arrive(1, &ask(10, 150, 1));
    live.arrive(2, &ask(10, 20, 1));
    live.run_until(Time(2_800_000));
    assert_eq!(live.replica.waiting(), 2);
    live.abort(1, Time(2_800_000));
    live.run_until(Time(u64::MAX - 1));
    assert!(live.tokens[2][0] < live.tokens[0][89]);
    live.assert_empty();
}

/// Runs the requests and takes some of them back, each at its time.
fn watched(spec: ReplicaSpec, asks: &[Ask], aborts: &[(u64, usize)]) -> Live {
    let mut live = Live::new(spec, asks.len());
    let arrivals = asks.iter().enumerate().map(|(i, a)| (a.at, 0, i));
    let mut events: Vec<(u64, u8, usize)> = arrivals.collect();
    events.extend(aborts.iter().map(|&(at, i)| (at, 1, i)));
    events.sort_unstable();
    for (at, kind, i) in events {
        // An arrival at an event's time comes before it, as in `drive`; an abort after it.
        live.run_until(Time(if kind == 0 { at.saturating_sub(1) } else { at }));
        if kind == 0 {
            live.arrive(i, &asks[i]);
        } else {
            live.abort(i, Time(at));
        }
    }
    live.run_until(Time(u64::MAX - 1));
    live
}

fn in_order(mut asks: Vec<Ask>) -> Vec<Ask> {
    let mut at = 1;
    for a in &mut asks {
        at += a.at;
        a.at = at;
    }
    asks
}

fn spec(m: u32, s: u32, c: u32) -> ReplicaSpec {
    ReplicaSpec {
        interactive_levels: 2,
        batch_levels: 1,
        batch_chunk: 64,
        ..plain(limits(m, s, c))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn watching_changes_nothing(
        (m, s, c) in (16..600u32, 1..12u32, 500..3000u32),
        asks in prop::collection::vec(any_ask(), 1..40).prop_map(in_order),
    ) {
        let spec = spec(m, s, c);
        let (times, counters) = drive(spec, &asks);
        let live = watched(spec, &asks, &[]);
        for ((t, tokens), a) in times.iter().zip(&live.tokens).zip(&asks) {
            prop_assert_eq!(tokens.len(), a.output as usize);
            let seen: Times = (tokens[0], tokens[tokens.len() - 1]);
            prop_assert!(seen.0.abs_diff(t.0) <= 1 && seen.1.abs_diff(t.1) <= 1, "{:?} {:?}", seen, t);
        }
        let watched = live.replica.counters();
        prop_assert_eq!(watched.iterations, counters.iterations);
        prop_assert_eq!(watched.generation_tokens, counters.generation_tokens);
        prop_assert!((watched.gap.sum - counters.gap.sum).abs() < 1e-6);
        live.assert_empty();
    }

    #[test]
    fn aborts_leave_nothing_behind_and_the_others_finish(
        (m, s, c) in (16..600u32, 1..12u32, 500..3000u32),
        asks in prop::collection::vec(any_ask(), 1..40).prop_map(in_order),
        aborts in prop::collection::vec((0..2_000_000_000u64, 0..40usize), 0..20),
    ) {
        let aborts: Vec<_> = aborts
            .into_iter()
            .filter(|&(_, i)| i < asks.len())
            .map(|(after, i)| (asks[i].at + after, i))
            .collect();
        let live = watched(spec(m, s, c), &asks, &aborts);
        for (i, done) in live.done.iter().enumerate() {
            prop_assert!(*done || aborts.iter().any(|a| a.1 == i), "{} is lost", i);
            prop_assert!(live.tokens[i].len() <= asks[i].output as usize);
        }
        live.assert_empty();
    }
}
