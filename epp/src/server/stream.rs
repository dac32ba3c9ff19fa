//! A gRPC stream that owns an [`Exchange`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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
