//! A request that was sent: what it holds until it ends, and what its answer tells on the way.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use wva_epp_core::endpoint::Slot;
use wva_epp_core::inflight::Flight;

use super::admission::Place;
use super::series::{Ended, Series};
use super::shared::Shared;
use crate::body::rename::Restore;
use crate::body::usage::UsageScan;

/// What is known of a request when it is sent.
pub struct Sending {
    /// Its count in flight.
    pub flight: Flight,
    /// The endpoint that was picked.
    pub slot: Slot,
    /// Metrics of its flow.
    pub series: Arc<Series>,
    /// Leave to be in flight.
    pub place: Place,
    /// When it began to arrive.
    pub began: f64,
    /// The served and the asked model, where they differ.
    pub renamed: Option<(String, String)>,
    /// A header for the client.
    pub session: Option<(String, String)>,
    /// Bytes of the prompt's text, 0 where there is more to it.
    pub text: u64,
}

/// A request that was sent. Dropping it gives back what it holds; dropped before [`Sent::finish`], it counts as broken off.
pub struct Sent {
    shared: Arc<Shared>,
    flight: Flight,
    slot: Slot,
    series: Arc<Series>,
    place: Option<Place>,
    began: f64,
    text: u64,
    session: Option<(String, String)>,
    restore: Option<Restore>,
    usage: UsageScan,
    status: u16,
    stream: bool,
    first: Option<f64>,
    bytes: u64,
    unseen: bool,
    ended: bool,
}

/// What becomes of an answer's headers.
#[derive(Debug, Default)]
pub struct Changed {
    /// A header to set.
    pub session: Option<(String, String)>,
    /// Whether the body may become longer or shorter, as the names in it.
    pub resized: bool,
}

impl Sent {
    /// Counts a request that is being sent.
    pub fn new(shared: Arc<Shared>, sending: Sending) -> Self {
        let Sending { series, .. } = sending;
        series.running.inc();
        let restore = sending.renamed;
        Self {
            shared,
            flight: sending.flight,
            slot: sending.slot,
            series,
            place: Some(sending.place),
            began: sending.began,
            text: sending.text,
            session: sending.session,
            restore: restore.map(|(served, asked)| Restore::new(&served, &asked)),
            usage: UsageScan::default(),
            status: 0,
            stream: false,
            first: None,
            bytes: 0,
            unseen: false,
            ended: false,
        }
    }

    /// Notes that another endpoint serves it, if it is one of the pool.
    pub fn served_by(&mut self, address: &SocketAddr) {
        let Some(to) = self.shared.store.pool().slot(address) else {
            return;
        };
        if to != self.slot {
            self.slot = to;
            let now = self.shared.clock.now();
            let mut state = self.shared.store.state();
            self.flight.decode = state.inflight.moved(self.flight.decode, to, now);
        }
    }

    /// Notes the head of the answer: its status, whether it is a stream of events, and whether it is compressed.
    pub fn head(&mut self, status: u16, stream: bool, compressed: bool) -> Changed {
        self.status = status;
        self.stream = stream;
        if compressed {
            // Nothing can be read in it, nor put into it.
            self.restore = None;
        }
        Changed {
            session: self.session.take(),
            resized: self.restore.is_some(),
        }
    }

    /// Notes that an answer has begun of which only the headers will be seen: it ends when this is dropped.
    pub fn unseen(&mut self) {
        self.unseen = true;
        self.restore = None;
        self.begun();
    }

    fn begun(&mut self) {
        if self.first.is_none() {
            self.first = Some(self.shared.clock.now() - self.began);
            self.shared.store.state().inflight.answered(&self.flight);
        }
    }

    /// Notes a chunk of the answer; the chunk as the client should see it.
    pub fn chunk(&mut self, chunk: &Bytes, last: bool) -> Bytes {
        self.usage.push(chunk);
        if !chunk.is_empty() {
            self.begun();
        }
        let out = match &mut self.restore {
            Some(restore) => restore.push(chunk, last),
            None => chunk.clone(),
        };
        self.bytes += out.len() as u64;
        out
    }

    /// What is still held back of the chunks so far.
    pub fn rest(&mut self) -> Bytes {
        self.restore.as_mut().map(Restore::rest).unwrap_or_default()
    }

    /// Notes the end of the answer.
    pub fn finish(mut self) {
        self.ended = true;
        self.answered();
    }

    fn answered(&self) {
        match self.status {
            500.. => self.failed("ModelServerError"),
            400.. => self.failed("BadRequest"),
            _ => self.series.served(&Ended {
                first: self.first,
                whole: self.shared.clock.now() - self.began,
                stream: self.stream,
                bytes: self.bytes,
                usage: self.usage.usage,
                text: self.text,
            }),
        }
    }

    /// Notes that no server answered, or that one did not finish.
    pub fn broken(mut self) {
        self.ended = true;
        self.failed("ModelServerError");
    }

    fn failed(&self, code: &'static str) {
        self.shared.metrics.failed(&self.series, code);
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if self.unseen && !self.ended {
            // Whether the client saw the end of it is not told.
            self.answered();
        } else if !self.ended {
            // The client, the proxy or the server has gone before the end.
            self.failed("Aborted");
        }
        self.series.running.dec();
        self.shared.store.state().inflight.ended(&self.flight);
        // Whoever gets the place sees that this one has gone.
        drop(self.place.take());
    }
}
