//! How tokens get from the engine to the answer: one cell per request with the number of tokens so far.
//!
//! Not a channel of tokens: filler text follows from its number, so a slow reader needs no backlog, it finds a larger
//! number. vLLM merges the tokens of a slow reader in the same way.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Why a request ended, as the API says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The model stopped by itself.
    Stop,
    /// The most tokens asked for are there.
    Length,
    /// Somebody took it back.
    Abort,
}

impl Reason {
    /// `finish_reason` of the API, `finished_reason` of the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
        }
    }
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Output tokens so far.
    pub tokens: u32,
    /// Prompt tokens that were not computed: found in the prefix cache, or come over the link.
    pub cached: u32,
    /// Set once there is nothing to come.
    pub end: Option<End>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With an answer.
    Finished(Reason),
    /// The server is gone.
    Lost,
}

/// The cell; one writer, one reader.
#[derive(Debug, Default)]
pub struct Delivery(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    progress: Progress,
    reader: Option<Waker>,
}

impl Delivery {
    /// The engine's word on how the request stands.
    pub fn put(&self, progress: Progress) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.progress = progress;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Ready once there are more than `seen` tokens, or the request ended.
    pub fn poll_beyond(&self, seen: u32, context: &mut Context<'_>) -> Poll<Progress> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.progress.tokens > seen || state.progress.end.is_some() {
            return Poll::Ready(state.progress);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// How the request stands now.
    #[cfg(test)]
    pub fn peek(&self) -> Progress {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .progress
    }
}
