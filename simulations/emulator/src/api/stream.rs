//! Answers as server-sent events: what the engine has emitted since the last one, as it emits it.

use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use hyper::body::{Body, Frame};
use serde_json::Value;

use super::answer::Heading;
use super::request::Kind;
use crate::delivery::{End, Progress};
use crate::filler;
use crate::server::Ticket;

/// The body of a streamed answer.
#[derive(Debug)]
pub struct Events {
    ticket: Ticket,
    heading: Heading,
    /// Start of every event, up to the choices.
    head: String,
    /// Tokens in the events so far.
    told: u32,
    begun: bool,
    ended: bool,
}

impl Events {
    /// The events of a request.
    pub fn new(ticket: Ticket, heading: Heading) -> Self {
        let object = match heading.about.kind {
            Kind::Completion => "text_completion",
            Kind::Chat => "chat.completion.chunk",
        };
        let head = format!(
            r#"data: {{"id":{},"object":"{object}","created":{},"model":{},"choices":["#,
            Value::from(&*heading.id),
            heading.created,
            Value::from(&*heading.about.model),
        );
        Self {
            ticket,
            heading,
            head,
            told: 0,
            begun: false,
            ended: false,
        }
    }

    /// The events that tell of `progress`.
    fn tell(&mut self, progress: &Progress) -> String {
        let mut text = String::with_capacity(512);
        if self.heading.about.kind == Kind::Chat && !self.begun {
            let delta = r#""delta":{"role":"assistant","content":""}"#;
            self.event(&mut text, |text| text.push_str(delta), None);
        }
        self.begun = true;
        let reason = match progress.end {
            Some(End::Finished(reason)) => Some(reason.name()),
            Some(End::Lost) | None => None,
        };
        let (seed, from, to) = (
            self.heading.about.seed,
            self.told,
            progress.tokens.max(self.told),
        );
        let (open, close) = match self.heading.about.kind {
            Kind::Completion => (r#""text":""#, "\""),
            Kind::Chat => (r#""delta":{"content":""#, "\"}"),
        };
        let content = |text: &mut String| {
            text.push_str(open);
            filler::write(text, seed, from, to);
            text.push_str(close);
        };
        self.event(&mut text, content, reason);
        self.told = to;
        if progress.end.is_some() {
            self.ended = true;
            self.conclude(&mut text, progress);
        }
        text
    }

    /// One event with one choice.
    fn event(&self, text: &mut String, content: impl FnOnce(&mut String), reason: Option<&str>) {
        text.push_str(&self.head);
        text.push_str(r#"{"index":0,"#);
        content(text);
        let _ = match reason {
            Some(reason) => write!(
                text,
                r#","logprobs":null,"finish_reason":"{reason}","stop_reason":null}}]}}"#
            ),
            None => write!(text, r#","logprobs":null,"finish_reason":null}}]}}"#),
        };
        text.push_str("\n\n");
    }

    fn conclude(&self, text: &mut String, progress: &Progress) {
        if self.heading.about.include_usage {
            let usage = self.heading.usage(progress);
            let _ = write!(text, "{}],\"usage\":{usage}}}\n\n", self.head);
        }
        text.push_str("data: [DONE]\n\n");
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let progress = ready!(this.ticket.poll_beyond(this.told, context));
        if progress.end == Some(End::Lost) {
            this.ended = true;
            let lost = io::Error::other("the server was stopped");
            return Poll::Ready(Some(Err(lost)));
        }
        let text = this.tell(&progress);
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}
