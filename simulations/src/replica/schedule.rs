//! The beginning of an iteration: room for the tokens to come, admission, and the cut of prefill chunks.

use std::cmp::Reverse;

use wva_models::iteration::Composition;

use super::clock::Stretch;
use super::iteration::context_of;
use super::telemetry::observe;
use super::{Replica, Surroundings, Work};
use crate::sequence::{SequenceId, Sequences};
use crate::time::Time;

/// What is left to give away in the iteration being composed.
struct Left {
    tokens: u64,
    batch_tokens: u64,
    /// Whether waiting requests may still be admitted.
    admitting: bool,
}

impl Replica {
    pub(super) fn begin(&mut self, now: Time, around: &mut Surroundings<'_>) {
        let preempted = self.make_room(now, around.sequences);
        self.chunks.clear();
        if self.prefilling + self.waiting > 0 {
            let mut left = Left {
                tokens: self
                    .limits
                    .token_budget
                    .saturating_sub(self.decoding.len() as u64),
                batch_tokens: u64::from(self.spec.batch_chunk),
                admitting: !preempted,
            };
            for level in 0..self.levels.len() {
                self.cut_chunks(level, &mut left, around.sequences);
                self.admit(level, &mut left, now, around.sequences);
            }
        }
        self.fit_cache();
        self.work = self.compose(preempted, around.sequences);
        self.next = match &self.work {
            Work::Decode(stretch) => self.clock.after(stretch.offset(stretch.iterations)),
            Work::Mixed(duration) => self.clock.after(*duration),
            Work::Idle | Work::Waking => Time::NEVER,
        };
    }

    /// Preempts sequences until the next token of every decoding one fits; whether it had to.
    fn make_room(&mut self, now: Time, sequences: &mut Sequences) -> bool {
        let mut preempted = false;
        while self.held() > self.limits.kv_tokens && self.running() > 1 {
            let prefilling = self
                .levels
                .iter()
                .flat_map(|l| l.prefilling.iter().copied());
            let decoding = self.decoding.iter().map(|e| e.0.1);
            let Some(victim) = prefilling
                .chain(decoding)
                .max_by_key(|&id| (sequences[id].level, sequences[id].order))
            else {
                break;
            };
            self.preempt(victim, now, sequences);
            preempted = true;
        }
        preempted
    }

    /// Drops a running sequence's KV and puts it at the head of its queue, with its whole context as its prompt.
    fn preempt(&mut self, id: SequenceId, now: Time, sequences: &mut Sequences) {
        let decoding = self.drop_running(id, sequences);
        let sequence = &mut sequences[id];
        if decoding {
            sequence.paused = now;
            sequence.prompt = context_of(sequence) as u32;
        }
        sequence.computed = 0;
        sequence.transferred = false;
        self.levels[usize::from(sequence.level)]
            .waiting
            .push_front(id);
        self.waiting += 1;
        self.counters.preemptions += 1;
    }

    /// Takes a running sequence out of the batch and gives back its memory; whether it was decoding.
    pub(super) fn drop_running(&mut self, id: SequenceId, sequences: &mut Sequences) -> bool {
        let sequence = &mut sequences[id];
        let level = &mut self.levels[usize::from(sequence.level)];
        if let Some(place) = level.prefilling.iter().position(|&p| p == id) {
            level.prefilling.remove(place);
            self.prefilling -= 1;
            self.release(u64::from(sequence.prompt), sequence);
            return false;
        }
        self.decoding.retain(|e| e.0.1 != id);
        sequence.emitted = sequence.output - (sequence.finish - self.iteration) as u32;
        let context = context_of(sequence);
        self.decode_kv -= context;
        self.leave_batch(sequence.stream);
        self.release(context, sequence);
        true
    }

    /// Gives the prompts in progress of a level their chunks.
    fn cut_chunks(&mut self, level: usize, left: &mut Left, sequences: &Sequences) {
        for i in 0..self.levels[level].prefilling.len() {
            let id = self.levels[level].prefilling[i];
            if !self.cut(id, level, left, sequences) {
                return;
            }
        }
    }

    /// Gives one prompt its chunk; whether anything was left for it.
    fn cut(
        &mut self,
        id: SequenceId,
        level: usize,
        left: &mut Left,
        sequences: &Sequences,
    ) -> bool {
        let batch = self.is_batch(level);
        let available = if batch {
            left.tokens.min(left.batch_tokens)
        } else {
            left.tokens
        };
        let sequence = &sequences[id];
        let chunk = u64::from(sequence.prompt - sequence.computed).min(available);
        if chunk == 0 {
            return false;
        }
        left.tokens -= chunk;
        if batch {
            left.batch_tokens -= chunk;
        }
        self.chunks.push((id, chunk));
        true
    }

    /// Admits waiting requests of a level while sequences, KV memory and budget last. The first that does not fit ends
    /// admission for the lower levels, too: they would take what it waits for.
    fn admit(&mut self, level: usize, left: &mut Left, now: Time, sequences: &mut Sequences) {
        while left.admitting && left.tokens > 0 && !(self.is_batch(level) && left.batch_tokens == 0)
        {
            let Some(&id) = self.levels[level].waiting.front() else {
                return;
            };
            if self.running() >= self.limits.max_sequences || !self.reserve(id, sequences) {
                left.admitting = false;
                return;
            }
            self.levels[level].waiting.pop_front();
            self.levels[level].prefilling.push_back(id);
            self.waiting -= 1;
            self.prefilling += 1;
            let sequence = &mut sequences[id];
            if sequence.scheduled == Time::NEVER {
                sequence.scheduled = now;
                if !sequence.transferred {
                    sequence.hit = sequence.computed;
                }
                observe(&mut self.counters.queue, (now - sequence.queued).seconds());
            }
            self.cut(id, level, left, sequences);
        }
    }

    /// Takes KV memory for a waiting request's prompt and finds what the prefix cache has of it; whether it fits.
    fn reserve(&mut self, id: SequenceId, sequences: &mut Sequences) -> bool {
        let free = self.limits.kv_tokens.saturating_sub(self.held());
        let block = u64::from(self.spec.block_tokens);
        let sequence = &mut sequences[id];
        let prompt = u64::from(sequence.prompt);
        if let (Some(cache), Some(blocks)) = (&mut self.cache, &sequence.blocks) {
            let (present, idle) = cache.matched(blocks);
            let shared = present as u64 * block;
            if prompt - shared + idle as u64 * block > free {
                return false;
            }
            blocks[..present].iter().for_each(|&b| cache.reference(b));
            sequence.shared_blocks = present as u32;
            sequence.computed = (shared as u32).min(sequence.prompt - 1);
            self.private_kv += prompt - shared;
        } else {
            if prompt > free {
                return false;
            }
            sequence.computed = match &self.cache {
                Some(_) => sequence.fixed_hit.min(sequence.prompt - 1),
                None => 0,
            };
            self.private_kv += prompt;
        }
        if sequence.transferred {
            sequence.computed = sequence.prompt - 1;
        }
        true
    }

    /// Idle prefix blocks give way to running sequences.
    fn fit_cache(&mut self) {
        let free = self.limits.kv_tokens.saturating_sub(self.held());
        if let Some(cache) = &mut self.cache {
            cache.shrink_to(free);
        }
    }

    /// The work that the batch and the chunks make.
    fn compose(&self, preempted: bool, sequences: &Sequences) -> Work {
        let batch = self.decoding.len() as u64;
        let mut c = Composition {
            tokens: batch as f64,
            kv_tokens: self.decode_kv as f64,
            sequences: (batch + self.chunks.len() as u64) as f64,
            ..Composition::default()
        };
        for &(id, chunk) in &self.chunks {
            let (sequence, chunk) = (&sequences[id], chunk as f64);
            let done = f64::from(sequence.computed);
            c.tokens += chunk;
            c.kv_tokens += done + chunk;
            if !sequence.transferred {
                c.chunk_context += chunk * (done + 0.5 * chunk);
                c.any_prefill = true;
            }
        }
        let first = (self.law.seconds(&c) * 1e9).max(1.0);
        if !self.chunks.is_empty() {
            return Work::Mixed(first);
        }
        let Some(&Reverse((finish, _))) = self.decoding.peek() else {
            return Work::Idle;
        };
        // An iteration that preempted admits nothing, but the next one may.
        let room = if preempted && self.waiting > 0 {
            1
        } else {
            self.limits.kv_tokens.saturating_sub(self.held()) / batch + 1
        };
        Work::Decode(Stretch {
            first,
            step: self.law.per_kv_token_s * 1e9 * batch as f64,
            iterations: room.min(finish - self.iteration),
        })
    }
}
