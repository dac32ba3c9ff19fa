//! Answers to the client instead of a server's: their status, text and reason.

use std::fmt;

use wva_epp_core::picker::{Refusal, RefusalKind};

use crate::body::Invalid;

/// Header with the stable reason of a refusal.
pub const REASON_HEADER: &str = "x-llm-d-request-dropped-reason";

/// A refusal as the client sees it. Texts begin as the upstream's do, which clients may look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Name of the status, as in the body and in metrics.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Stable reason, where the request itself is sound.
    pub reason: Option<&'static str>,
    /// Whole seconds after which to try again.
    pub retry_after: Option<u32>,
}

impl Refused {
    /// The body of the answer.
    #[must_use]
    pub fn body(&self) -> String {
        self.to_string()
    }

    /// A body of more than `most` bytes.
    #[must_use]
    pub fn too_large(most: usize) -> Self {
        Self {
            status: 413,
            code: "PayloadTooLarge",
            message: format!("request body is larger than {most} bytes"),
            reason: None,
            retry_after: None,
        }
    }

    /// A request that came while the process was about to end.
    #[must_use]
    pub fn shutting_down() -> Self {
        Self {
            status: 503,
            code: "ServiceUnavailable",
            message: "the endpoint picker is shutting down".to_owned(),
            reason: Some("rejected-shutting-down"),
            retry_after: Some(1),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inference error: {} - {}", self.code, self.message)
    }
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        Self {
            status: 400,
            code: "BadRequest",
            message: invalid.to_string(),
            reason: None,
            retry_after: None,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.kind.status();
        Self {
            status,
            code: if status == 503 {
                "ServiceUnavailable"
            } else {
                "ResourceExhausted"
            },
            message: explained(refusal.kind).to_owned(),
            reason: Some(refusal.kind.reason()),
            retry_after: refusal.retry_after_header(),
        }
    }
}

const fn explained(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::NoEndpoints | RefusalKind::EmptySubset => "failed to find endpoint candidates",
        RefusalKind::NoCandidates => "no endpoint candidates are left after filtering",
        RefusalKind::Saturated => "system saturated, request dropped",
        RefusalKind::QueueFull => "the queue is full",
        RefusalKind::Shed => "made room for more important requests",
        RefusalKind::Expired => "waited too long in the queue",
        RefusalKind::ExpiredWithoutEndpoints => "waited too long for an endpoint to start",
        RefusalKind::Infeasible => "cannot be served in time",
    }
}
