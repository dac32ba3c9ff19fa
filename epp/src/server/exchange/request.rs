//! The request's side: collecting it, and sending it on.

use bytes::Bytes;
use tonic::Status;
use wva_epp_core::picker::Choice;
use wva_epp_core::pool::Pool;
use wva_epp_core::request::Allowed;

use super::{Exchange, Stage};
use crate::server::admission::{Entry, Place};
use crate::server::gathered::Gathered;
use crate::server::head::Head;
use crate::server::refusal::Refused;
use crate::server::reply::{self, CHUNK};
use crate::server::request::{Arrived, Ready};
use crate::server::wire::{HttpBody, HttpHeaders, Metadata};

/// Where the proxy lists the endpoints that it allows.
const SUBSET: (&str, &str) = (
    "envoy.lb.subset_hint",
    "x-gateway-destination-endpoint-subset",
);

/// A request that is coming.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    head: Head,
    subset: Option<Vec<Allowed>>,
    body: Gathered,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its headers.
    Headers,
    /// With its body.
    Body,
    /// With trailers.
    Trailers,
}

fn subset(metadata: Option<&Metadata>) -> Option<Vec<Allowed>> {
    let hint = metadata?.get(SUBSET.0, SUBSET.1)?;
    Some(hint.texts().flat_map(Allowed::list).collect())
}

impl Exchange {
    pub(super) fn request_headers(
        &mut self,
        headers: HttpHeaders,
        metadata: Option<&Metadata>,
    ) -> Result<(), Status> {
        if !matches!(self.stage, Stage::New) {
            return Err(Status::invalid_argument("request headers came twice"));
        }
        let end_of_stream = headers.end_of_stream;
        let collecting = Collecting {
            head: Head::read(headers, &self.shared.wanted),
            subset: subset(metadata),
            body: Gathered::default(),
        };
        self.request_id = collecting.head.request_id.clone();
        if end_of_stream {
            self.complete(collecting, End::Headers);
        } else {
            self.stage = Stage::Collecting(Box::new(collecting));
        }
        Ok(())
    }

    pub(super) fn request_body(
        &mut self,
        chunk: HttpBody,
        metadata: Option<&Metadata>,
    ) -> Result<(), Status> {
        let collecting = match &mut self.stage {
            Stage::Collecting(collecting) => collecting,
            // What a client still sends of a request that was answered already.
            Stage::Over => return Ok(()),
            // Envoy from 1.35 on may send the last chunk of a large body twice.
            Stage::Waiting(..) | Stage::Sent if chunk.end_of_stream => return Ok(()),
            _ => return Err(Status::invalid_argument("a request body out of order")),
        };
        if collecting.subset.is_none() {
            collecting.subset = subset(metadata);
        }
        if collecting.body.len() + chunk.body.len() > self.shared.most_body {
            let refused = Refused::too_large(self.shared.most_body);
            self.refuse_unread(&refused);
            return Ok(());
        }
        let expected = collecting.head.content_length;
        collecting.body.push(chunk.body, expected);
        if chunk.end_of_stream {
            self.collected(End::Body);
        }
        Ok(())
    }

    pub(super) fn request_trailers(&mut self) -> Result<(), Status> {
        match self.stage {
            Stage::Collecting(_) => self.collected(End::Trailers),
            Stage::Sent => self.out.push_back(reply::request_trailers()),
            Stage::Over => {}
            _ => return Err(Status::invalid_argument("request trailers out of order")),
        }
        Ok(())
    }

    fn collected(&mut self, end: End) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        if let Stage::Collecting(collecting) = stage {
            self.complete(*collecting, end);
        }
    }

    /// All has come: reads it, and asks for a place.
    fn complete(&mut self, collecting: Collecting, end: End) {
        let Collecting { head, subset, body } = collecting;
        let arrived = Arrived {
            head,
            subset,
            body: (end != End::Headers).then(|| body.finish()),
            began: self.started,
        };
        let mut ready = match Ready::read(&self.shared, arrived) {
            Ok(ready) => ready,
            Err(refused) => return self.refuse_unread(&refused),
        };
        match ready.enter(&self.shared) {
            Ok(Entry::In(place)) => self.decide(&ready, end, place),
            Ok(Entry::Wait(waiting)) => self.stage = Stage::Waiting(Box::new(ready), end, waiting),
            Err(refused) => self.refuse(&refused, ready.series()),
        }
    }

    /// Chooses, and sends the request on.
    pub(super) fn decide(&mut self, ready: &Ready, end: End, place: Place) {
        let pool = self.shared.store.pool();
        match ready.send(&self.shared, &pool, place, &[]) {
            Ok((choice, sent)) => {
                self.sent = Some(sent);
                self.out_request(ready, end, &choice, &pool);
                self.stage = Stage::Sent;
            }
            Err(refused) => self.refuse(&refused, ready.series()),
        }
    }

    /// Headers, body and trailers of the request, in this order.
    fn out_request(&mut self, ready: &Ready, end: End, choice: &Choice, pool: &Pool) {
        let pieces = ready.pieces();
        let mut headers: Vec<_> = choice
            .headers(pool)
            .into_iter()
            .map(|(name, value)| reply::header(name, value))
            .collect();
        if end != End::Headers {
            let length: usize = pieces.iter().map(Bytes::len).sum();
            headers.push(reply::header("content-length", length.to_string()));
        }
        let destination = choice.destination(pool);
        self.out.push_back(reply::to(destination.into(), headers));
        if end == End::Headers {
            return;
        }
        let last = end == End::Body;
        let mut chunks = pieces.into_iter().flat_map(chunks).peekable();
        if chunks.peek().is_none() {
            self.out.push_back(reply::request_chunk(Bytes::new(), last));
        }
        while let Some(chunk) = chunks.next() {
            let last = last && chunks.peek().is_none();
            self.out.push_back(reply::request_chunk(chunk, last));
        }
        if end == End::Trailers {
            self.out.push_back(reply::request_trailers());
        }
    }
}

/// A body in pieces that the proxy takes.
fn chunks(mut body: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let length = body.len().min(CHUNK);
        (length > 0).then(|| body.split_to(length))
    })
}
