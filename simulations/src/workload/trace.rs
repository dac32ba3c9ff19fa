//! Request traces in memory, and traffic that is more or less than what was recorded.
//!
//! *Ticks.* Where the recorder rounded times, the requests of one tick are placed uniformly inside it, keeping their
//! order: the least informed choice that does not invent bursts.
//!
//! *Scaling by X.* Less than everything: each request stays with probability X, independently. More: ⌊X⌋ copies and one
//! thinned to the rest, each copy moved as a whole by up to [`GREATEST_SHIFT`] seconds, around the end. Both treat the
//! trace as what it is, a random process with a wandering rate, and multiply that rate: dispersion within seconds stays
//! as it was, the excess over Poisson in windows of minutes goes up or down with X. Squeezing time instead would move a
//! day's traffic into an hour, and repeating each request at once would double all bursts at every scale.
//! Copies have prefix hashes of their own: they stand for other users.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::derived;
use super::traffic_file::Notes;

/// Furthest that a copy of a trace is moved, seconds, either way.
pub const GREATEST_SHIFT: f64 = 30.0;
/// Shortest tick that is undone, nanoseconds: 50 ms.
const SHORTEST_TICK: u64 = 50_000_000;

/// One recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Nanoseconds since the first request.
    pub at: u64,
    /// Input tokens, at least 1.
    pub input: u32,
    /// Output tokens, at least 1.
    pub output: u32,
    /// Prefix-block hashes, where known.
    pub hash_ids: Option<Box<[u64]>>,
}

/// A recorded trace, in time order.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    requests: Vec<Recorded>,
    tick: Option<u64>,
    notes: Notes,
}

impl Trace {
    /// A trace of requests in time order, the first at 0; finds out whether times are ticks.
    #[must_use]
    pub fn new(requests: Vec<Recorded>, notes: Notes) -> Self {
        let tick = tick(&requests);
        let notes = Notes {
            tick_seconds: tick.map(|t| t as f64 / 1e9),
            ..notes
        };
        Self {
            requests,
            tick,
            notes,
        }
    }

    /// The requests as recorded.
    #[must_use]
    pub fn recorded(&self) -> &[Recorded] {
        &self.requests
    }

    /// What was odd about the file.
    #[must_use]
    pub const fn notes(&self) -> &Notes {
        &self.notes
    }

    /// From the first request to just after the last one's tick, nanoseconds.
    #[must_use]
    pub fn length(&self) -> u64 {
        let last = self.requests.last().map_or(0, |r| r.at);
        last.saturating_add(self.tick.unwrap_or(0))
            .saturating_add(1)
    }

    /// The requests `factor` times as often, in time order.
    ///
    /// Materialised (16 bytes each), since ticks and moved copies have to be sorted anyway.
    #[must_use]
    pub fn scaled(&self, factor: f64, seed: u64) -> Vec<Placed> {
        let copies = factor.ceil().max(1.0) as u32;
        let mut all = Vec::new();
        for copy in 0..copies {
            let share = (factor - f64::from(copy)).clamp(0.0, 1.0);
            self.place(copy, share, seed, &mut all);
        }
        all.sort_unstable_by_key(|p| (p.at, p.copy, p.index));
        all
    }

    /// Adds one copy: moved (the first is not), thinned to `share`, its ticks undone.
    fn place(&self, copy: u32, share: f64, seed: u64, all: &mut Vec<Placed>) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(derived(seed, u64::from(copy)));
        let length = self.length();
        let shift = match copy {
            0 => 0,
            _ => (rng.random_range(-GREATEST_SHIFT..GREATEST_SHIFT) * 1e9) as i64,
        };
        let shift = shift.rem_euclid(length.min(i64::MAX as u64) as i64) as u64;
        let mut offsets = Vec::new();
        let mut start = 0;
        for group in self.requests.chunk_by(|a, b| a.at == b.at) {
            self.offsets(
                group.len(),
                start + group.len(),
                group[0].at,
                &mut rng,
                &mut offsets,
            );
            for (i, request) in group.iter().enumerate() {
                if share >= 1.0 || rng.random::<f64>() < share {
                    all.push(Placed {
                        at: (request.at + offsets[i] + shift) % length,
                        index: (start + i) as u32,
                        copy,
                    });
                }
            }
            start += group.len();
        }
    }

    /// Ascending offsets inside the tick that begins at `at`, for `count` requests; `next` is the first one after.
    fn offsets(
        &self,
        count: usize,
        next: usize,
        at: u64,
        rng: &mut Xoshiro256PlusPlus,
        offsets: &mut Vec<u64>,
    ) {
        offsets.clear();
        let until_next = self.requests.get(next).map_or(u64::MAX, |r| r.at - at);
        match self.tick.map(|t| t.min(until_next)) {
            Some(tick) => offsets.extend((0..count).map(|_| rng.random_range(0..tick.max(1)))),
            None => offsets.resize(count, 0),
        }
        offsets.sort_unstable();
    }
}

/// One request of a scaled trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Arrival, nanoseconds since the start.
    pub at: u64,
    /// Ordinal in [`Trace::recorded`].
    pub index: u32,
    /// Which copy it belongs to, from 0.
    pub copy: u32,
}

impl Placed {
    /// A prefix hash of this copy's users: the recorded one in the first copy, another one in each other.
    #[must_use]
    pub fn hash(&self, recorded: u64) -> u64 {
        match self.copy {
            0 => recorded,
            copy => derived(recorded, u64::from(copy)),
        }
    }
}

/// The tick of the recorder's clock in nanoseconds, when times are clearly rounded: at least one request in a hundred
/// shares its time with another, and distinct times are 50 ms or more apart (99 of 100 of them: clocks slip).
fn tick(requests: &[Recorded]) -> Option<u64> {
    let mut gaps: Vec<u64> = requests
        .windows(2)
        .map(|w| w[1].at - w[0].at)
        .filter(|&gap| gap > 0)
        .collect();
    let shared = requests.len().saturating_sub(gaps.len() + 1);
    if gaps.is_empty() || shared * 100 < requests.len() {
        return None;
    }
    let rank = gaps.len() / 100;
    let (_, &mut least, _) = gaps.select_nth_unstable(rank);
    (least >= SHORTEST_TICK).then_some(least)
}
