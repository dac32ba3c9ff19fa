//! A gRPC stream that owns an [`Exchange`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use tonic::{Status, Streaming};

use super::exchange::Exchange;
use super::shared::Shared;
use super::wire::{ProcessingRequest, ProcessingResponse};

/// The messages to the proxy, made as its messages come. Polled by the connection's task for this request: no task and no
/// channel of its own.
pub struct Answers {
    incoming: Streaming<ProcessingRequest>,
    exchange: Exchange,
    shared: Arc<Shared>,
    first: Option<Result<ProcessingResponse, Status>>,
    ended: bool,
}

impl Answers {
    /// The answers to what comes.
    #[must_use]
    pub fn new(incoming: Streaming<ProcessingRequest>, shared: Arc<Shared>) -> Self {
        shared.metrics.streams.inc();
        Self {
            incoming,
            exchange: Exchange::new(Arc::clone(&shared)),
            shared,
            first: None,
            ended: false,
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.shared.metrics.streams.dec();
    }
}

impl Stream for Answers {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(first));
        }
        loop {
            if let Some(message) = this.exchange.to_send() {
                return Poll::Ready(Some(Ok(message)));
            }
            if this.ended || this.exchange.closing() {
                return Poll::Ready(None);
            }
            if let Some(waiting) = this.exchange.waiting()
                && let Poll::Ready(outcome) = Pin::new(waiting).poll(context)
            {
                this.exchange.admitted(outcome);
                continue;
            }
            match Pin::new(&mut this.incoming).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => this.ended = true,
                Poll::Ready(Some(Ok(message))) => {
                    if let Err(status) = this.exchange.receive(message) {
                        this.ended = true;
                        return Poll::Ready(Some(Err(status)));
                    }
                }
                Poll::Ready(Some(Err(status))) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(status)));
                }
            }
        }
    }
}

/// Answers of which the first is there. A proxy that has not seen the head of the answers, when this process ends, may ask
/// another picker with what it has kept of the request; had it seen it, the request would be lost.
pub struct Begun(Option<Answers>);

impl Begun {
    /// Of these answers.
    #[must_use]
    pub const fn new(answers: Answers) -> Self {
        Self(Some(answers))
    }
}

impl Future for Begun {
    type Output = Result<tonic::Response<Answers>, Status>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answers = self.0.as_mut().expect("polled until it is ready");
        let first = ready!(Pin::new(answers).poll_next(context));
        let mut answers = self.0.take().expect("just polled");
        Poll::Ready(match first {
            Some(Err(status)) => Err(status),
            first => {
                answers.first = first;
                Ok(tonic::Response::new(answers))
            }
        })
    }
}
