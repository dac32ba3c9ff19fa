//! The response's side: echoed as it comes, counted on the way.

use bytes::Bytes;

use super::{Exchange, Stage};
use crate::body::rename::Restore;
use crate::body::usage::UsageScan;
use crate::server::reply::{self, CHUNK, LB_NAMESPACE};
use crate::server::series::Ended;
use crate::server::wire::{HttpHeaders, Metadata};

/// Where the proxy says which endpoint served a request.
const SERVED: &str = "x-gateway-destination-endpoint-served";

/// What is known of an answer so far.
pub(super) struct Answering {
    status: u16,
    stream: bool,
    first: Option<f64>,
    bytes: u64,
    usage: UsageScan,
    restore: Option<Restore>,
    session: Option<(String, String)>,
    text: u64,
}

impl Answering {
    /// Before anything has come. `renamed` is the served and the asked model where they differ; `session` a header for
    /// the client; `text` the bytes of the prompt's text, 0 where there is more to it.
    pub(super) fn new(
        renamed: Option<(String, String)>,
        session: Option<(String, String)>,
        text: u64,
    ) -> Self {
        Self {
            status: 0,
            stream: false,
            first: None,
            bytes: 0,
            usage: UsageScan::default(),
            restore: renamed.map(|(served, asked)| Restore::new(&served, &asked)),
            session,
            text,
        }
    }

    fn read(&mut self, headers: HttpHeaders) {
        for header in headers.headers.unwrap_or_default().headers {
            let value = std::str::from_utf8(header.bytes()).unwrap_or_default();
            match &header.key[..] {
                b":status" | b"status" => self.status = value.parse().unwrap_or(0),
                b"content-type" => self.stream = value.starts_with("text/event-stream"),
                // Nothing can be read in it, nor put into it.
                b"content-encoding" if value != "identity" => self.restore = None,
                _ => {}
            }
        }
    }
}

impl Exchange {
    pub(super) fn response_headers(&mut self, headers: HttpHeaders, metadata: Option<&Metadata>) {
        if !matches!(self.stage, Stage::Sent) {
            // The proxy itself has answered, for example that the client was too slow.
            self.stage = Stage::Over;
        }
        self.served_by(metadata);
        let ends = headers.end_of_stream;
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        if let Some(answering) = &mut self.answering {
            answering.read(headers);
            if let Some((name, token)) = answering.session.take() {
                set.push(reply::header(name, token));
            }
            if answering.restore.is_some() {
                // The body will be as long as the names in it.
                remove.push("content-length".to_owned());
            }
        }
        self.out.push_back(reply::response_headers(set, remove));
        if ends {
            self.finish();
        }
    }

    fn served_by(&mut self, metadata: Option<&Metadata>) {
        let (Some(flying), Some(served)) = (
            &mut self.flying,
            metadata.and_then(|m| m.get(LB_NAMESPACE, SERVED)),
        ) else {
            return;
        };
        let address = served.texts().next().and_then(|text| text.parse().ok());
        let pool = self.shared.store.pool();
        if let Some(slot) = address.and_then(|address| pool.slot(&address)) {
            flying.moved(slot, self.shared.clock.now());
        }
    }

    pub(super) fn response_body(&mut self, chunk: &Bytes, last: bool) {
        let now = self.shared.clock.now() - self.started;
        let mut out = chunk.clone();
        if let Some(answering) = &mut self.answering {
            answering.usage.push(chunk);
            if !chunk.is_empty() && answering.first.is_none() {
                answering.first = Some(now);
                if let Some(flying) = &mut self.flying {
                    flying.answered();
                }
            }
            if let Some(restore) = &mut answering.restore {
                out = restore.push(chunk, last);
            }
            answering.bytes += out.len() as u64;
        }
        self.out_response(out, last);
        if last {
            self.finish();
        }
    }

    fn out_response(&mut self, mut body: Bytes, last: bool) {
        while body.len() > CHUNK {
            let chunk = body.split_to(CHUNK);
            self.out.push_back(reply::response_chunk(chunk, false));
        }
        self.out.push_back(reply::response_chunk(body, last));
    }

    pub(super) fn response_trailers(&mut self) {
        let restore = self.answering.as_mut().and_then(|a| a.restore.as_mut());
        let rest = restore.map(Restore::rest).unwrap_or_default();
        if !rest.is_empty() {
            self.out_response(rest, false);
        }
        self.out.push_back(reply::response_trailers());
        self.finish();
    }

    /// The answer has ended.
    fn finish(&mut self) {
        let (Some(flying), Some(answering)) = (self.flying.take(), self.answering.take()) else {
            return;
        };
        match answering.status {
            500.. => self
                .shared
                .metrics
                .failed(&flying.series, "ModelServerError"),
            400.. => self.shared.metrics.failed(&flying.series, "BadRequest"),
            _ => flying.series.served(&Ended {
                first: answering.first,
                whole: self.shared.clock.now() - self.started,
                stream: answering.stream,
                bytes: answering.bytes,
                usage: answering.usage.usage,
                text: answering.text,
            }),
        }
    }
}
