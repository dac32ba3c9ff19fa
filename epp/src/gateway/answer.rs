//! An answer on its way to the client: each piece when it comes, byte for byte, counted as it passes.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::server::sent::Sent;

/// Why an answer was cut.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    /// The server broke it off.
    #[error("the server broke its answer off: {0}")]
    Broken(#[from] hyper::Error),
    /// The server fell silent.
    #[error("the server said nothing for {0:?}")]
    Silent(Duration),
}

/// A server's answer. Dropping it cancels the request at the server.
pub(super) struct Answer {
    server: Incoming,
    /// Until the end has been counted.
    sent: Option<Sent>,
    /// Trailers that come after what was held back.
    trailers: Option<Frame<Bytes>>,
    resized: bool,
    idle: Duration,
    heard: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Answer {
    /// The answer that `server` gives, whose pieces come at most `idle` apart.
    pub(super) fn new(server: Incoming, sent: Sent, resized: bool, idle: Duration) -> Self {
        let mut answer = Self {
            server,
            sent: Some(sent),
            trailers: None,
            resized,
            idle,
            heard: Instant::now(),
            alarm: Box::pin(tokio::time::sleep(idle)),
        };
        if answer.server.is_end_stream() {
            answer.finish();
        }
        answer
    }

    fn finish(&mut self) {
        if let Some(sent) = self.sent.take() {
            sent.finish();
        }
    }

    fn cut(&mut self, cut: Cut) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        tracing::debug!(why = %cut, "an answer was cut");
        if let Some(sent) = self.sent.take() {
            sent.broken();
        }
        Poll::Ready(Some(Err(cut)))
    }

    /// A piece as the client should see it; nothing where all of it is held back.
    fn piece(&mut self, data: &Bytes) -> Bytes {
        self.heard = Instant::now();
        let last = self.server.is_end_stream();
        let out = match &mut self.sent {
            Some(sent) => sent.chunk(data, last),
            None => data.clone(),
        };
        if last {
            self.finish();
        }
        out
    }

    /// The end: what was held back, and then nothing.
    fn end(&mut self) -> Option<Bytes> {
        let rest = self.sent.as_mut().map(Sent::rest);
        self.finish();
        rest.filter(|rest| !rest.is_empty())
    }

    /// Whether the server has been silent for too long.
    fn poll_silent(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.alarm.as_mut().poll(context));
            let until = self.heard + self.idle;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(until);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        if let Some(trailers) = this.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        loop {
            let frame = match Pin::new(&mut this.server).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return this.cut(error.into()),
                Poll::Ready(None) => {
                    let rest = this.end();
                    return Poll::Ready(rest.map(|rest| Ok(Frame::data(rest))));
                }
                Poll::Pending => {
                    ready!(this.poll_silent(context));
                    return this.cut(Cut::Silent(this.idle));
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    let out = this.piece(&data);
                    if !out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(out))));
                    }
                }
                Err(trailers) => {
                    let Some(rest) = this.end() else {
                        return Poll::Ready(Some(Ok(trailers)));
                    };
                    this.trailers = Some(trailers);
                    return Poll::Ready(Some(Ok(Frame::data(rest))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.server.is_end_stream() && self.sent.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.resized {
            SizeHint::default()
        } else {
            self.server.size_hint()
        }
    }
}

/// What a client gets: a server's answer, or a page of the gateway's own.
pub(super) enum Outgoing {
    /// A server's.
    Answer(Box<Answer>),
    /// Our own.
    Page(Bytes),
}

impl Outgoing {
    /// A page.
    pub(super) fn page(text: impl Into<Bytes>) -> Self {
        Self::Page(text.into())
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Answer(answer) => {
                let frame = ready!(Pin::new(answer.as_mut()).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Self::Page(text) => {
                let text = std::mem::take(text);
                Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Answer(answer) => answer.is_end_stream(),
            Self::Page(text) => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Answer(answer) => answer.size_hint(),
            Self::Page(text) => SizeHint::with_exact(text.len() as u64),
        }
    }
}
