//! The response's side: echoed as it comes, counted on the way.

use bytes::Bytes;

use super::{Exchange, Stage};
use crate::server::reply::{self, CHUNK, LB_NAMESPACE};
use crate::server::sent::{Changed, Sent};
use crate::server::wire::{HttpHeaders, Metadata};

/// Where the proxy says which endpoint served a request.
const SERVED: &str = "x-gateway-destination-endpoint-served";

/// Notes the headers of an answer.
fn read(sent: &mut Sent, headers: HttpHeaders) -> Changed {
    let (mut status, mut stream, mut compressed) = (0, false, false);
    for header in headers.headers.unwrap_or_default().headers {
        let value = std::str::from_utf8(header.bytes()).unwrap_or_default();
        match &header.key[..] {
            b":status" | b"status" => status = value.parse().unwrap_or(0),
            b"content-type" => stream = value.starts_with("text/event-stream"),
            b"content-encoding" => compressed = value != "identity",
            _ => {}
        }
    }
    sent.head(status, stream, compressed)
}

impl Exchange {
    pub(super) fn response_headers(&mut self, headers: HttpHeaders, metadata: Option<&Metadata>) {
        if !matches!(self.stage, Stage::Sent) {
            // The proxy itself has answered, for example that the client was too slow.
            self.stage = Stage::Over;
        }
        let ends = headers.end_of_stream;
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        if let Some(sent) = &mut self.sent {
            let served = metadata.and_then(|m| m.get(LB_NAMESPACE, SERVED));
            let served = served.and_then(|s| s.texts().next()?.parse().ok());
            if let Some(address) = served {
                sent.served_by(&address);
            }
            if self.unseen {
                sent.unseen();
            }
            let changed = read(sent, headers);
            if let Some((name, token)) = changed.session {
                set.push(reply::header(name, token));
            }
            if changed.resized {
                remove.push("content-length".to_owned());
            }
        }
        self.out.push_back(reply::response_headers(set, remove));
        if ends {
            self.finish();
        }
    }

    pub(super) fn response_body(&mut self, chunk: &Bytes, last: bool) {
        let out = match &mut self.sent {
            Some(sent) => sent.chunk(chunk, last),
            None => chunk.clone(),
        };
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
        let rest = self.sent.as_mut().map(Sent::rest).unwrap_or_default();
        if !rest.is_empty() {
            self.out_response(rest, false);
        }
        self.out.push_back(reply::response_trailers());
        self.finish();
    }

    /// The answer has ended.
    fn finish(&mut self) {
        if let Some(sent) = self.sent.take() {
            sent.finish();
        }
    }
}
