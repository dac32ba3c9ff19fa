//! A gRPC stream that owns an [`Exchange`].

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::{Body, Frame};
use prost::Message;
use tonic::Status;

use super::exchange::Exchange;
use super::framing::{Messages, put};
use super::shared::Shared;
use super::wire::{ProcessingRequest, ProcessingResponse};

/// Bytes of answers that go out together at least, where there are as many.
const TOGETHER: usize = 32 << 10;

/// The messages to the proxy, made as its messages come. Polled by the connection's task for this request: no task and no
/// channel of its own.
pub struct Answers<B> {
    incoming: B,
    messages: Messages,
    exchange: Exchange,
    shared: Arc<Shared>,
    first: Option<Bytes>,
    end: End,
}

/// How a stream ends.
enum End {
    /// It does not yet.
    Open,
    /// With this.
    With(Status),
    /// It has.
    Told,
}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Answers<B> {
    /// The response to what comes, in messages of at most `most_message` bytes. A proxy that has not seen the head of the answers, when this process ends, may ask
    /// another picker with what it has kept of the request; had it seen it, the request would be lost. So the head goes out
    /// with the first answer.
    pub async fn begin(
        incoming: B,
        most_message: usize,
        shared: Arc<Shared>,
    ) -> Response<tonic::body::Body> {
        shared.metrics.streams.inc();
        let mut answers = Self {
            incoming,
            messages: Messages::new(most_message),
            exchange: Exchange::new(Arc::clone(&shared)),
            shared,
            first: None,
            end: End::Open,
        };
        answers.first = poll_fn(|context| answers.poll_data(context)).await;
        match &answers.end {
            End::With(status) if answers.first.is_none() && status.code() != tonic::Code::Ok => {
                status.clone().into_http()
            }
            _ => {
                let mut response = Response::new(tonic::body::Body::new(answers));
                let kind = HeaderValue::from_static("application/grpc");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
        }
    }

    /// The answers that there are; `None` at the end.
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut out = BytesMut::new();
        while out.len() < TOGETHER {
            match self.poll_answer(context) {
                Poll::Ready(Some(answer)) => put(&mut out, &answer),
                _ if !out.is_empty() => break,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Some(out.freeze()))
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Option<ProcessingResponse>> {
        loop {
            if let Some(answer) = self.exchange.to_send() {
                return Poll::Ready(Some(answer));
            }
            if !matches!(self.end, End::Open) {
                return Poll::Ready(None);
            }
            if self.exchange.closing() {
                self.end = End::With(Status::ok(""));
                return Poll::Ready(None);
            }
            if let Some(waiting) = self.exchange.waiting()
                && let Poll::Ready(outcome) = Pin::new(waiting).poll(context)
            {
                self.exchange.admitted(outcome);
                continue;
            }
            if let Err(end) = ready!(self.poll_message(context)) {
                self.end = End::With(end);
            }
        }
    }

    /// Takes the next message of the proxy, or a piece of it.
    ///
    /// # Errors
    /// What the stream ends with.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if let Some(message) = self.messages.whole()? {
            let message = ProcessingRequest::decode(message);
            let message = message.map_err(|e| Status::internal(e.to_string()))?;
            return Poll::Ready(self.exchange.receive(message));
        }
        Poll::Ready(
            match ready!(Pin::new(&mut self.incoming).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        self.messages.push(piece);
                    }
                    Ok(())
                }
                None if !self.messages.is_between() => {
                    Err(Status::internal("the stream ends within a message"))
                }
                // The proxy has ended it, or is gone.
                None | Some(Err(_)) => Err(Status::ok("")),
            },
        )
    }
}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Body for Answers<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.first.take() {
            Some(first) => Some(first),
            None => ready!(self.poll_data(context)),
        };
        if let Some(data) = data {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let end = std::mem::replace(&mut self.end, End::Told);
        Poll::Ready(match end {
            End::With(status) => {
                let mut trailers = HeaderMap::new();
                // A status of ours has nothing in it that a header may not have.
                let _ = status.add_header(&mut trailers);
                Some(Ok(Frame::trailers(trailers)))
            }
            _ => None,
        })
    }
}

impl<B> Drop for Answers<B> {
    fn drop(&mut self) {
        self.shared.metrics.streams.dec();
    }
}
