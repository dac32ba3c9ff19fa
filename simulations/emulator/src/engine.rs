//! One engine behind a server: the simulator's replica, the requests in it, and what the metrics say of them.
//!
//! Pure: time is an argument, and everything happens at the time at which it would have happened, however late the
//! caller is. A request passes the front end (a constant delay), comes over the link if its prompt was computed
//! elsewhere, and then is the replica's.

mod metrics;
mod request;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use wva_simulations::histogram::LogHistogram;
use wva_simulations::replica::{Replica, ReplicaSpec, Signal, Surroundings};
use wva_simulations::sequence::{Sequence, SequenceId, Sequences};
use wva_simulations::time::Time;

pub use self::metrics::About;
pub use self::request::{Ask, RequestKey};

use self::metrics::{Finished, Metrics};
use self::request::Record;
use crate::delivery::{Delivery, End, Progress, Reason};

/// What an engine is.
#[derive(Debug, Clone)]
pub struct EngineSpec {
    /// The replica, at the speed at which it really runs.
    pub replica: ReplicaSpec,
    /// Most tokens of a request.
    pub max_model_len: u32,
    /// Seconds for the KV cache of one token to come over the link.
    pub transfer_s_per_token: f64,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    spec: EngineSpec,
    replica: Replica,
    sequences: Sequences,
    /// Gaps between tokens: there is one stream.
    gaps: [LogHistogram; 1],
    signals: Vec<Signal>,
    /// By sequence.
    records: Vec<Option<Record>>,
    /// Requests in the front end or on the link: when they arrive, in order.
    arrivals: BinaryHeap<Reverse<(Time, u64, SequenceId)>>,
    /// Requests past their first token whose next ones are waited for.
    streams: Vec<SequenceId>,
    link_free: Time,
    submitted: u64,
    now: Time,
    metrics: Metrics,
}

impl Engine {
    /// An idle engine.
    pub fn new(spec: EngineSpec) -> Self {
        Self {
            replica: Replica::new(spec.replica),
            metrics: Metrics::new(spec.max_model_len),
            spec,
            sequences: Sequences::default(),
            gaps: [LogHistogram::default()],
            signals: Vec::new(),
            records: Vec::new(),
            arrivals: BinaryHeap::new(),
            streams: Vec::new(),
            link_free: Time::ZERO,
            submitted: 0,
            now: Time::ZERO,
        }
    }

    /// A request arrives at the server. Input and output must fit the longest context.
    pub fn submit(&mut self, now: Time, ask: Ask) -> (RequestKey, Arc<Delivery>) {
        self.advance(now);
        let number = self.submitted;
        self.submitted += 1;
        let mut sequence = Sequence::new(0, 0, ask.input, ask.output, self.now, number);
        sequence.transferred = ask.transferred;
        sequence.blocks = Some(ask.blocks.clone());
        let slot = self.sequences.insert(sequence);
        let at = self.arrival(&ask);
        self.arrivals.push(Reverse((at, number, slot)));
        let delivery = Arc::new(Delivery::default());
        let record = Record {
            number,
            received: self.now,
            inside: false,
            told: 0,
            ask,
            delivery: Arc::clone(&delivery),
        };
        if self.records.len() <= slot as usize {
            self.records.resize_with(slot as usize + 1, || None);
        }
        self.records[slot as usize] = Some(record);
        self.advance(now);
        (RequestKey { slot, number }, delivery)
    }

    /// When a request that comes now reaches the replica. The link carries one prompt at a time.
    fn arrival(&mut self, ask: &Ask) -> Time {
        let front_end = Time::from_seconds(self.spec.replica.model.law.front_end_s);
        let ready = self.now + front_end;
        if !ask.transferred {
            return ready;
        }
        let seconds = self.spec.transfer_s_per_token * f64::from(ask.input);
        self.link_free = ready.max(self.link_free) + Time::from_seconds(seconds);
        self.link_free
    }

    /// Takes a request back; nothing where it has ended already.
    pub fn abort(&mut self, now: Time, key: RequestKey) {
        self.advance(now);
        if self
            .record(key.slot)
            .is_some_and(|r| r.number == key.number)
        {
            self.drop_request(key.slot);
            self.advance(now);
        }
    }

    /// Takes all requests back, forgets the prefix cache and says `end` to whoever waits.
    pub fn clear(&mut self, now: Time, end: End) {
        self.advance(now);
        for slot in 0..self.records.len() {
            if let Some(record) = self.drop_request(slot as SequenceId) {
                let progress = Progress {
                    tokens: record.told,
                    end: Some(end),
                    ..Progress::default()
                };
                record.delivery.put(progress);
            }
        }
        self.replica = Replica::new(self.spec.replica);
    }

    fn drop_request(&mut self, slot: SequenceId) -> Option<Record> {
        let record = self.records[slot as usize].take()?;
        if record.inside {
            let now = self.now;
            self.step(|replica, around| replica.abort(now, slot, around));
        } else {
            self.arrivals
                .retain(|Reverse((_, number, _))| *number != record.number);
        }
        self.streams.retain(|&s| s != slot);
        self.sequences.remove(slot);
        self.metrics.ended(Reason::Abort);
        Some(record)
    }

    /// Brings everything up to `now`: what was due happens at its own time, tokens are told. Times earlier than one
    /// given before count as that.
    pub fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        loop {
            let arrival = self.next_arrival();
            let wake = self.replica.next();
            if arrival.min(wake) > self.now {
                break;
            }
            if arrival <= wake {
                self.arrive(arrival);
            } else {
                self.step(|replica, around| replica.wake(wake, around));
                self.signalled(wake);
            }
        }
        if !self.streams.is_empty() {
            let now = self.now;
            self.step(|replica, around| replica.settle(now, around));
            self.tell();
        }
    }

    /// When [`Engine::advance`] has something to do next; [`Time::NEVER`] when idle.
    pub fn next(&self) -> Time {
        let replica = if self.streams.is_empty() {
            self.replica.next()
        } else {
            self.replica.iteration_end()
        };
        replica.min(self.next_arrival())
    }

    /// The metrics page of what is up to `now`. `loras` are the server's adapters, `unix_s` the time on the wall.
    pub fn page(&mut self, now: Time, about: &About<'_>) -> String {
        self.advance(now);
        let now = self.now;
        self.step(|replica, around| replica.settle(now, around));
        let (mut running_loras, mut waiting_loras) = (Vec::new(), Vec::new());
        let mut on_link = 0;
        for (slot, record) in self.records.iter().enumerate() {
            let Some(record) = record else { continue };
            on_link += u32::from(!record.inside && record.ask.transferred);
            let Some(lora) = record.ask.lora else {
                continue;
            };
            let running = self.sequences[slot as SequenceId].scheduled != Time::NEVER;
            let list = if running {
                &mut running_loras
            } else {
                &mut waiting_loras
            };
            if !list.contains(&lora) {
                list.push(lora);
            }
        }
        let kv_tokens = self.spec.replica.model.limits.kv_tokens;
        let state = metrics::State {
            running: self.replica.running(),
            waiting: self.replica.waiting() + on_link as usize,
            kv_usage: (self.replica.held() as f64 / kv_tokens).min(1.0),
            running_loras,
            waiting_loras,
        };
        self.metrics.page(about, &state, &self.gaps[0])
    }

    /// Requests that have not ended.
    #[cfg(test)]
    pub fn requests(&self) -> usize {
        self.sequences.len()
    }

    /// KV tokens held by running requests.
    #[cfg(test)]
    pub fn held(&self) -> u64 {
        self.replica.held()
    }

    fn next_arrival(&self) -> Time {
        self.arrivals.peek().map_or(Time::NEVER, |e| e.0.0)
    }

    fn record(&self, slot: SequenceId) -> Option<&Record> {
        self.records.get(slot as usize)?.as_ref()
    }

    fn arrive(&mut self, at: Time) {
        let Some(Reverse((_, _, slot))) = self.arrivals.pop() else {
            return;
        };
        if let Some(record) = &mut self.records[slot as usize] {
            record.inside = true;
            self.replica.arrive(at, slot, &mut self.sequences);
        }
    }

    /// Has the replica do something, and counts the iterations that this ended.
    fn step(&mut self, act: impl FnOnce(&mut Replica, &mut Surroundings<'_>)) {
        let before = *self.replica.counters();
        let mut around = Surroundings {
            sequences: &mut self.sequences,
            gaps: &mut self.gaps,
            signals: &mut self.signals,
        };
        act(&mut self.replica, &mut around);
        self.metrics.iterations(&before, self.replica.counters());
    }

    fn signalled(&mut self, at: Time) {
        let mut signals = std::mem::take(&mut self.signals);
        for signal in signals.drain(..) {
            match signal {
                Signal::First(slot) => self.first(slot, at),
                Signal::Done(slot) => self.done(slot, at),
            }
        }
        self.signals = signals;
    }

    fn first(&mut self, slot: SequenceId, at: Time) {
        let Some(record) = &mut self.records[slot as usize] else {
            return;
        };
        let hit = self.sequences[slot].hit;
        let ttft = (at - record.received).seconds();
        let external = record.ask.transferred.then_some(record.ask.input);
        self.metrics
            .first_token(ttft, record.ask.input, hit, external);
        if record.ask.streaming {
            self.streams.push(slot);
        }
    }

    fn done(&mut self, slot: SequenceId, at: Time) {
        let Some(record) = self.records[slot as usize].take() else {
            return;
        };
        self.streams.retain(|&s| s != slot);
        let sequence = &self.sequences[slot];
        self.metrics.finished(&Finished {
            sequence,
            received: record.received,
            at,
            reason: record.ask.reason,
            max_tokens: record.ask.max_tokens,
        });
        record.delivery.put(Progress {
            tokens: sequence.output,
            cached: cached(sequence),
            end: Some(End::Finished(record.ask.reason)),
        });
        self.sequences.remove(slot);
    }

    /// Tells the readers of streams what they do not know yet.
    fn tell(&mut self) {
        for &slot in &self.streams {
            let sequence = &self.sequences[slot];
            let tokens = self.replica.emitted(sequence);
            let Some(record) = &mut self.records[slot as usize] else {
                continue;
            };
            if tokens > record.told {
                record.told = tokens;
                record.delivery.put(Progress {
                    tokens,
                    cached: cached(sequence),
                    end: None,
                });
            }
        }
    }
}

fn cached(sequence: &Sequence) -> u32 {
    if sequence.transferred {
        sequence.input
    } else {
        sequence.hit
    }
}

#[cfg(test)]
mod tests;
