//! The end of iterations: tokens emitted, sequences finished, counters.

use std::cmp::Reverse;

use super::clock::Stretch;
use super::telemetry::observe;
use super::{Replica, Signal, Surroundings};
use crate::sequence::{Sequence, SequenceId};
use crate::time::Time;

impl Replica {
    pub(super) fn end_stretch(&mut self, stretch: &Stretch, around: &mut Surroundings<'_>) {
        let total = stretch.offset(stretch.iterations);
        self.decoded(stretch, total, around);
        self.clock.advance(total);
        self.finish_due(around);
    }

    pub(super) fn end_mixed(&mut self, duration: f64, now: Time, around: &mut Surroundings<'_>) {
        let once = Stretch {
            first: duration,
            step: 0.0,
            iterations: 1,
        };
        self.decoded(&once, duration, around);
        self.clock.advance(duration);
        let chunks = std::mem::take(&mut self.chunks);
        for &(id, tokens) in &chunks {
            let sequence = &mut around.sequences[id];
            sequence.computed += tokens as u32;
            self.counters.prompt_tokens += tokens;
            if sequence.computed == sequence.prompt {
                self.prompt_done(id, now, around);
            }
        }
        self.chunks = chunks;
        self.finish_due(around);
    }

    /// Books `stretch`, which took `total` ns, for the sequences that decoded in it.
    pub(super) fn decoded(&mut self, stretch: &Stretch, total: f64, around: &mut Surroundings<'_>) {
        let n = stretch.iterations;
        let batch = self.decoding.len() as u64;
        self.iteration += n;
        self.decode_kv += n * batch;
        self.private_kv += n * batch;
        let c = &mut self.counters;
        c.iterations += n;
        c.busy_s += total * 1e-9;
        c.generation_tokens += n * batch;
        c.gap.sum += batch as f64 * total * 1e-9;
        c.gap.count += (n * batch) as f64;
        for &(stream, count) in &self.decoding_by_stream {
            if count > 0 {
                around.gaps[stream as usize].record_progression(
                    stretch.first * 1e-9,
                    stretch.step * 1e-9,
                    n,
                    count,
                );
            }
        }
    }

    /// Ends the sequences whose last token the iteration just emitted.
    fn finish_due(&mut self, around: &mut Surroundings<'_>) {
        while let Some(&Reverse((finish, id))) = self.decoding.peek() {
            if finish > self.iteration {
                break;
            }
            self.decoding.pop();
            let sequence = &mut around.sequences[id];
            sequence.emitted = sequence.output;
            let context = context_of(sequence);
            self.decode_kv -= context;
            self.leave_batch(sequence.stream);
            self.release(context, sequence);
            self.finished(id, around);
        }
    }

    /// The last chunk of a prompt is computed: its first (or, after a preemption, next) token is out.
    fn prompt_done(&mut self, id: SequenceId, now: Time, around: &mut Surroundings<'_>) {
        let sequence = &mut around.sequences[id];
        // Chunks are cut in queue order, so the sequence that is done first is the first of its queue.
        let front = self.levels[usize::from(sequence.level)]
            .prefilling
            .pop_front();
        debug_assert_eq!(front, Some(id));
        self.prefilling -= 1;
        self.share_prefix(sequence);
        if self.spec.prefill_only {
            self.release(u64::from(sequence.prompt), sequence);
            self.finished(id, around);
            return;
        }
        sequence.emitted += 1;
        self.counters.generation_tokens += 1;
        if sequence.emitted == 1 {
            sequence.first = now;
            observe(
                &mut self.counters.ttft,
                (now - sequence.queued).seconds() + self.law.front_end_s,
            );
            observe(
                &mut self.counters.prefill,
                (now - sequence.scheduled).seconds(),
            );
            around.signals.push(Signal::First(id));
        } else {
            let gap = (now - sequence.paused).seconds();
            observe(&mut self.counters.gap, gap);
            around.gaps[sequence.stream as usize].record(gap);
        }
        if sequence.emitted == sequence.output {
            self.release(u64::from(sequence.prompt), sequence);
            self.finished(id, around);
        } else {
            sequence.finish = self.iteration + u64::from(sequence.output - sequence.emitted);
            self.private_kv += 1;
            self.decode_kv += context_of(sequence);
            self.decoding.push(Reverse((sequence.finish, id)));
            self.join_batch(sequence.stream);
        }
    }

    fn finished(&mut self, id: SequenceId, around: &mut Surroundings<'_>) {
        self.counters.finished += 1;
        around.signals.push(Signal::Done(id));
    }

    /// Puts the full blocks of a computed prompt into the prefix cache.
    fn share_prefix(&mut self, sequence: &mut Sequence) {
        let (Some(cache), Some(blocks)) = (&mut self.cache, &sequence.blocks) else {
            return;
        };
        for &hash in &blocks[sequence.shared_blocks as usize..] {
            cache.reference(hash);
            self.private_kv -= u64::from(self.spec.block_tokens);
        }
        sequence.shared_blocks = blocks.len() as u32;
    }

    /// Gives back the KV memory of a sequence that holds `tokens`.
    pub(super) fn release(&mut self, tokens: u64, sequence: &mut Sequence) {
        self.private_kv -= tokens - u64::from(sequence.shared_blocks * self.spec.block_tokens);
        if let (Some(cache), Some(blocks)) = (&mut self.cache, &sequence.blocks) {
            cache.release(&blocks[..sequence.shared_blocks as usize]);
        }
        sequence.shared_blocks = 0;
    }

    fn join_batch(&mut self, stream: u32) {
        match self.decoding_by_stream.iter_mut().find(|e| e.0 == stream) {
            Some(entry) => entry.1 += 1,
            None => self.decoding_by_stream.push((stream, 1)),
        }
    }

    pub(super) fn leave_batch(&mut self, stream: u32) {
        if let Some(entry) = self.decoding_by_stream.iter_mut().find(|e| e.0 == stream) {
            entry.1 -= 1;
        }
    }
}

/// Tokens whose KV a sequence holds when its next token is computed.
pub(super) fn context_of(sequence: &Sequence) -> u64 {
    u64::from(sequence.input) + u64::from(sequence.emitted)
}
