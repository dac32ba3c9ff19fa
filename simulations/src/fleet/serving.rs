//! Requests on replicas: sent, first token, over the link, done.

use super::pod::{Load, PodState};
use super::stream::Finished;
use super::{Event, Fleet};
use crate::replica::{Signal, Surroundings};
use crate::sequence::SequenceId;
use crate::time::Time;

impl Fleet<'_> {
    /// Sends a request to a replica, and names the replica that will decode it, if another.
    pub(super) fn send(&mut self, id: SequenceId, pod: u32, decoder: Option<u32>) {
        let sequence = &mut self.sequences[id];
        sequence.replica = pod;
        sequence.decoder = decoder.unwrap_or(u32::MAX);
        sequence.charged = sequence.to_compute();
        let charged = u64::from(sequence.charged);
        let stream = &mut self.streams[sequence.stream as usize];
        stream.running += 1;
        if stream.deadline.is_some() {
            self.pods[pod as usize].batch_prefill += charged;
        }
        if let Some(load) = self.load(pod) {
            load.prefill += charged;
        }
        self.occupy(pod);
        if let Some(decoder) = decoder {
            self.occupy(decoder);
        }
        self.enqueue(id, pod);
    }

    /// The engine of a replica has reached an event; stale ones are recognised by their time.
    pub(crate) fn wake(&mut self, pod: u32) {
        let p = &mut self.pods[pod as usize];
        if p.wake != self.now {
            return;
        }
        p.wake = Time::NEVER;
        let mut around = Surroundings {
            sequences: &mut self.sequences,
            gaps: &mut self.gaps,
            signals: &mut self.signals,
        };
        p.engine.wake(self.now, &mut around);
        self.rewake(pod);
        if !self.signals.is_empty() {
            let mut signals = std::mem::take(&mut self.signals);
            for signal in signals.drain(..) {
                match signal {
                    Signal::First(id) => self.first_token(id),
                    Signal::Done(id) => self.done(id, pod),
                }
            }
            self.signals = signals;
        }
        let variant = self.pods[pod as usize].variant;
        if !self.models[self.variants[variant].model].batch.is_empty() {
            self.pull_batch(pod);
        }
    }

    /// A prompt's KV has reached its decode replica.
    pub(crate) fn transferred(&mut self, id: SequenceId) {
        let sequence = &mut self.sequences[id];
        let (from, to) = (sequence.replica, sequence.decoder);
        sequence.replica = to;
        sequence.decoder = u32::MAX;
        sequence.transferred = true;
        sequence.scheduled = Time::NEVER;
        self.enqueue(id, to);
        self.vacate(from);
    }

    fn enqueue(&mut self, id: SequenceId, pod: u32) {
        let engine = &mut self.pods[pod as usize].engine;
        engine.arrive(self.now, id, &mut self.sequences);
        self.rewake(pod);
    }

    /// Has the engine's next event in the queue.
    fn rewake(&mut self, pod: u32) {
        let p = &mut self.pods[pod as usize];
        let next = p.engine.next();
        if next != p.wake {
            p.wake = next;
            if next != Time::NEVER {
                self.push(next, Event::Wake(pod));
            }
        }
    }

    fn first_token(&mut self, id: SequenceId) {
        self.discharge(id);
        let sequence = &self.sequences[id];
        if let Some(endpoints) = &mut self.endpoints {
            let model = self.streams[sequence.stream as usize].model;
            endpoints.answered(id, model);
        }
        let front_end = self.front_end(sequence.replica);
        let ttft = (sequence.first - sequence.arrived).seconds() + front_end;
        let stream = &mut self.streams[sequence.stream as usize];
        stream.first_token(ttft);
        if !sequence.transferred {
            stream.looked_up(sequence.input, sequence.hit);
        }
    }

    /// The router no longer counts a request's prompt against its replica.
    fn discharge(&mut self, id: SequenceId) {
        let sequence = &mut self.sequences[id];
        let (pod, charged) = (sequence.replica, u64::from(sequence.charged));
        sequence.charged = 0;
        if self.streams[sequence.stream as usize].deadline.is_some() {
            self.pods[pod as usize].batch_prefill -= charged;
        }
        if let Some(load) = self.load(pod) {
            load.prefill -= charged;
        }
    }

    fn done(&mut self, id: SequenceId, pod: u32) {
        if self.sequences[id].decoder != u32::MAX {
            self.hand_over(id, pod);
            return;
        }
        let sequence = &self.sequences[id];
        let front_end = self.front_end(pod);
        let finished = Finished {
            input: sequence.input,
            output: sequence.output,
            ttft: (sequence.first - sequence.arrived).seconds() + front_end,
            e2e: (self.now - sequence.arrived).seconds() + front_end,
            decode: (self.now - sequence.first).seconds(),
        };
        let stream = &mut self.streams[sequence.stream as usize];
        stream.finished(&finished);
        if let Some(endpoints) = &mut self.endpoints {
            endpoints.ended(id, stream.model);
        }
        self.sequences.remove(id);
        self.vacate(pod);
    }

    /// A prompt is computed on a prefill replica: its KV goes over the replica's link, one prompt after the other.
    fn hand_over(&mut self, id: SequenceId, pod: u32) {
        self.discharge(id);
        let sequence = &self.sequences[id];
        self.streams[sequence.stream as usize].looked_up(sequence.input, sequence.hit);
        let tokens = f64::from(sequence.input);
        let p = &mut self.pods[pod as usize];
        let seconds = tokens * self.variants[p.variant].transfer_s;
        p.link_free = p.link_free.max(self.now) + Time::from_seconds(seconds);
        let arrival = p.link_free;
        self.push(arrival, Event::Transferred(id));
    }

    fn front_end(&self, pod: u32) -> f64 {
        let variant = self.pods[pod as usize].variant;
        self.variants[variant].spec.model.law.front_end_s
    }

    fn occupy(&mut self, pod: u32) {
        self.pods[pod as usize].requests += 1;
        if let Some(load) = self.load(pod) {
            load.requests += 1;
        }
    }

    fn vacate(&mut self, pod: u32) {
        self.pods[pod as usize].requests -= 1;
        match self.load(pod) {
            Some(load) => load.requests -= 1,
            None => self.leave_if_drained(pod),
        }
    }

    /// What the router knows of a ready replica; `None` once it drains.
    fn load(&mut self, pod: u32) -> Option<&mut Load> {
        let p = &self.pods[pod as usize];
        (p.state == PodState::Ready).then(|| &mut self.variants[p.variant].loads[p.place])
    }
}
