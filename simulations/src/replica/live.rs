//! What a driver in real time needs beyond jumps: every token when it is emitted, and requests that are taken back.
//!
//! A stretch of decode iterations is cut where it stands, which rounds nothing away: an engine that is watched token by
//! token does what it would have done unwatched.

use super::clock::Stretch;
use super::{Replica, Surroundings, Work};
use crate::sequence::{Sequence, SequenceId};
use crate::time::Time;

impl Replica {
    /// Books the iterations that have ended by `now`: counters, gaps, [`Replica::emitted`] and [`Replica::held`] are up to
    /// date afterwards, and nothing that is to come changes. What is due by `now` must have been woken.
    pub fn settle(&mut self, now: Time, around: &mut Surroundings<'_>) {
        let Work::Decode(stretch) = self.work else {
            return;
        };
        // The last iteration ends sequences, which is for `wake` to do.
        let ended = stretch
            .ended_by(&self.clock, now)
            .min(stretch.iterations - 1);
        if ended == 0 {
            return;
        }
        let past = Stretch {
            iterations: ended,
            ..stretch
        };
        let total = past.offset(ended);
        self.decoded(&past, total, around);
        self.clock.advance(total);
        self.work = Work::Decode(Stretch {
            first: stretch.first + stretch.step * ended as f64,
            iterations: stretch.iterations - ended,
            ..stretch
        });
    }

    /// When the iteration in progress at the last [`Replica::settle`] or [`Replica::wake`] ends; [`Time::NEVER`] when idle.
    #[must_use]
    pub fn iteration_end(&self) -> Time {
        match &self.work {
            Work::Decode(stretch) => self.clock.after(stretch.offset(1)).min(self.next),
            Work::Idle | Work::Waking | Work::Mixed(_) => self.next,
        }
    }

    /// Output tokens that one of its sequences has emitted by the last [`Replica::settle`] or [`Replica::wake`].
    #[must_use]
    pub const fn emitted(&self, sequence: &Sequence) -> u32 {
        let decoding = sequence.computed == sequence.prompt && sequence.emitted > 0;
        if decoding {
            sequence.output - sequence.finish.saturating_sub(self.iteration) as u32
        } else {
            sequence.emitted
        }
    }

    /// Takes back a request that arrived and is not done: its memory is free at once, while the iteration in progress lasts
    /// as long as it would have and emits nothing for it. What is due by `now` must have been woken; the caller
    /// removes the request from the sequences.
    pub fn abort(&mut self, now: Time, id: SequenceId, around: &mut Surroundings<'_>) {
        self.settle(now, around);
        // Who waits may fit into the next iteration.
        if let Work::Decode(stretch) = &mut self.work {
            stretch.iterations = 1;
            self.next = self.clock.after(stretch.offset(1));
        }
        let level = &mut self.levels[usize::from(around.sequences[id].level)];
        if let Some(place) = level.waiting.iter().position(|&w| w == id) {
            level.waiting.remove(place);
            self.waiting -= 1;
        } else {
            self.chunks.retain(|chunk| chunk.0 != id);
            self.drop_running(id, around.sequences);
        }
    }
}
