//! A stream between a proxy and the picker, without sockets: the bytes of gRPC both ways, in pieces of any length.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Future;
use futures::task::noop_waker;
use http::{HeaderMap, Response};
use hyper::body::{Body, Frame};
use prost::Message;
use tonic::Code;
use wva_epp::server::framing::Messages;
use wva_epp::server::shared::Shared;
use wva_epp::server::stream::Answers;
use wva_epp::server::wire::ProcessingResponse;

/// Longest message that the picker takes.
pub const MOST_MESSAGE: usize = 8 << 10;

/// What the proxy has sent and the picker has not taken; `None` is the end.
type Pieces = Arc<Mutex<VecDeque<Option<Bytes>>>>;

/// The picker's end of what the proxy sends.
struct Incoming(Pieces);

impl Body for Incoming {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.lock().expect("one thread").pop_front() {
            Some(piece) => Poll::Ready(piece.map(|piece| Ok(Frame::data(piece)))),
            None => Poll::Pending,
        }
    }
}

/// What the picker sends.
enum Outgoing {
    Begins(Pin<Box<dyn Future<Output = Response<tonic::body::Body>>>>),
    Goes(tonic::body::Body),
    Ended,
}

/// The proxy's end.
pub struct Line {
    sent: Pieces,
    outgoing: Outgoing,
    messages: Messages,
    /// What the stream has ended with.
    pub ended: Option<Code>,
}

impl Line {
    pub fn new(shared: &Arc<Shared>) -> Self {
        let sent = Pieces::default();
        let incoming = Incoming(Arc::clone(&sent));
        let begun = Answers::begin(incoming, MOST_MESSAGE, Arc::clone(shared));
        Self {
            sent,
            outgoing: Outgoing::Begins(Box::pin(begun)),
            messages: Messages::new(usize::MAX),
            ended: None,
        }
    }

    /// Sends a piece, or the end.
    pub fn send(&mut self, piece: Option<&[u8]>) {
        let piece = piece.map(Bytes::copy_from_slice);
        self.sent.lock().expect("one thread").push_back(piece);
    }

    /// Takes what there is, and waits for nothing.
    pub fn hear(&mut self) -> Vec<ProcessingResponse> {
        let mut heard = Vec::new();
        while let Poll::Ready(frame) = self.poll() {
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => self.read(data, &mut heard),
                Some(Err(frame)) => {
                    let trailers = frame.into_trailers();
                    self.end(&trailers.expect("data or trailers"));
                }
                None => {
                    assert!(self.ended.is_some(), "an end without a word");
                    self.outgoing = Outgoing::Ended;
                    break;
                }
            }
        }
        heard
    }

    fn read(&mut self, data: Bytes, heard: &mut Vec<ProcessingResponse>) {
        assert!(self.ended.is_none(), "a message after the end");
        self.messages.push(data);
        while let Some(message) = self.messages.whole().expect("messages") {
            heard.push(ProcessingResponse::decode(message).expect("an answer"));
        }
        assert!(self.messages.is_between(), "half a message");
    }

    /// Notes what a stream ends with.
    fn end(&mut self, told: &HeaderMap) {
        let code = told.get("grpc-status").map(|code| code.as_bytes());
        assert!(self.ended.is_none(), "two ends");
        self.ended = Some(Code::from_bytes(code.expect("a status")));
    }

    fn poll(&mut self) -> Poll<Option<Frame<Bytes>>> {
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        loop {
            match &mut self.outgoing {
                Outgoing::Begins(response) => {
                    let Poll::Ready(response) = response.as_mut().poll(&mut context) else {
                        return Poll::Pending;
                    };
                    let (head, body) = response.into_parts();
                    assert_eq!(head.status, 200);
                    assert_eq!(head.headers["content-type"], "application/grpc");
                    if head.headers.contains_key("grpc-status") {
                        self.end(&head.headers);
                    }
                    self.outgoing = Outgoing::Goes(body);
                }
                Outgoing::Goes(body) => {
                    let frame = Pin::new(body).poll_frame(&mut context);
                    return frame.map(|frame| frame.map(|frame| frame.expect("no way to fail")));
                }
                Outgoing::Ended => return Poll::Pending,
            }
        }
    }
}
