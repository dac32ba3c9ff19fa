//! One HTTP request and its response, as the proxy tells of them: the protocol, without sockets.
//!
//! ```text
//!  headers ─► body … end ─► facts ─► (wait) ─► pick ─► headers, body, trailers back
//!  response headers ─► body … end / trailers, each echoed ─► counts and metrics
//! ```
//! A state machine that is given messages and gives messages: who owns the stream polls it (`server::stream`), so a
//! request is one task and no channel. Everything it holds (a place, a count in flight, a place in the queue) is given
//! back when it is dropped, however the stream ends.

mod request;
mod response;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tonic::Status;

use super::admission::{Place, Waiting};
use super::refusal::Refused;
use super::reply;
use super::request::Ready;
use super::sent::Sent;
use super::series::Series;
use super::shared::Shared;
use super::wire::{Part, ProcessingRequest, ProcessingResponse};
use request::{Collecting, End};

/// How far the request is.
enum Stage {
    /// Nothing has come.
    New,
    /// Headers have come, and some of the body.
    Collecting(Box<Collecting>),
    /// All has come; there is no place yet.
    Waiting(Box<Ready>, End, Waiting),
    /// It was sent on.
    Sent,
    /// It will not be: refused, or answered by the proxy itself.
    Over,
}

/// One request and its response.
pub struct Exchange {
    shared: Arc<Shared>,
    stage: Stage,
    sent: Option<Sent>,
    out: VecDeque<ProcessingResponse>,
    request_id: Bytes,
    started: f64,
    closing: bool,
    /// Whether the proxy keeps the answer's body to itself: then its end is the stream's.
    unseen: bool,
}

impl Exchange {
    /// Before anything has come.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            started: shared.clock.now(),
            shared,
            stage: Stage::New,
            sent: None,
            out: VecDeque::new(),
            request_id: Bytes::new(),
            closing: false,
            unseen: false,
        }
    }

    /// The next message to send.
    pub fn to_send(&mut self) -> Option<ProcessingResponse> {
        self.out.pop_front()
    }

    /// Whether the stream is to be closed when all messages are sent.
    #[must_use]
    pub const fn closing(&self) -> bool {
        self.closing
    }

    /// The place in the queue, while it is waited for.
    pub fn waiting(&mut self) -> Option<&mut Waiting> {
        match &mut self.stage {
            Stage::Waiting(_, _, waiting) => Some(waiting),
            _ => None,
        }
    }

    /// Takes a message.
    ///
    /// # Errors
    /// A status for what breaks the protocol's order; the stream then ends.
    pub fn receive(&mut self, message: ProcessingRequest) -> Result<(), Status> {
        let ProcessingRequest {
            part,
            metadata_context: metadata,
            protocol_config: config,
        } = message;
        if let Some(config) = config {
            self.unseen = config.response_body_mode == 0;
        }
        let Some(part) = part else { return Ok(()) };
        match part {
            Part::RequestHeaders(headers) => self.request_headers(headers, metadata.as_ref()),
            Part::RequestBody(chunk) => self.request_body(chunk, metadata.as_ref()),
            Part::RequestTrailers(_) => self.request_trailers(),
            Part::ResponseHeaders(headers) => {
                self.response_headers(headers, metadata.as_ref());
                Ok(())
            }
            Part::ResponseBody(chunk) => {
                self.response_body(&chunk.body, chunk.end_of_stream);
                Ok(())
            }
            Part::ResponseTrailers(_) => {
                self.response_trailers();
                Ok(())
            }
        }
    }

    /// Takes what came of waiting.
    pub fn admitted(&mut self, outcome: Result<Place, Refused>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let Stage::Waiting(mut ready, end, waiting) = stage else {
            self.stage = stage;
            return;
        };
        drop(waiting);
        ready.waited(self.shared.clock.now());
        match outcome {
            Ok(place) => self.decide(&ready, end, place),
            Err(refused) => self.refuse(&refused, ready.series()),
        }
    }

    /// Answers the client, and ends.
    fn refuse(&mut self, refused: &Refused, series: &Series) {
        tracing::debug!(
            request_id = %self.request_id.escape_ascii(),
            status = refused.status,
            reason = refused.reason,
            message = refused.message,
            "refused"
        );
        self.shared.metrics.failed(series, refused.code);
        self.out.push_back(reply::refused(refused));
        self.stage = Stage::Over;
        self.closing = true;
    }

    /// Refuses what was never read so far that its flow is known.
    fn refuse_unread(&mut self, refused: &Refused) {
        let series = self.shared.metrics.flow("", "", "", 0);
        self.refuse(refused, &series);
    }
}
