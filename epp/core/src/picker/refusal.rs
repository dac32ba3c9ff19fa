//! Why a request is not sent anywhere: outcomes with a status and a stable reason, not errors.

use std::fmt;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The pool has no ready endpoint.
    NoEndpoints,
    /// The proxy allows none of the pool's endpoints.
    EmptySubset,
    /// The filters leave none.
    NoCandidates,
    /// Everything is full, and the request may be shed.
    Saturated,
    /// The queue is full of requests that are as important.
    QueueFull,
    /// It was queued, and had to make room for something more important.
    Shed,
    /// It was queued for longer than it may.
    Expired,
    /// It was queued for longer than it may while there was no endpoint at all.
    ExpiredWithoutEndpoints,
    /// It could not be served in time, so it is not begun.
    Infeasible,
}

impl RefusalKind {
    /// HTTP status: 503 where there is nothing to serve it, 429 where there is too much to serve.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::NoEndpoints
            | Self::EmptySubset
            | Self::NoCandidates
            | Self::ExpiredWithoutEndpoints => 503,
            Self::Saturated | Self::QueueFull | Self::Shed | Self::Expired | Self::Infeasible => {
                429
            }
        }
    }

    /// A stable reason for headers and metrics, `rejected-no-endpoints` as the upstream spells it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoEndpoints | Self::EmptySubset => "rejected-no-endpoints",
            Self::NoCandidates => "rejected-no-candidates",
            Self::Saturated => "rejected-saturated",
            Self::QueueFull => "rejected-capacity",
            Self::Shed => "evicted-priority",
            Self::Expired => "evicted-ttl",
            Self::ExpiredWithoutEndpoints => "evicted-no-endpoints",
            Self::Infeasible => "rejected-infeasible",
        }
    }
}

impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// A refusal, and when to try again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refusal {
    /// Why.
    pub kind: RefusalKind,
    /// Seconds after which it would be served, as far as can be told.
    pub retry_after: Option<f64>,
}

impl Refusal {
    /// A refusal with nothing to say about later.
    #[must_use]
    pub const fn of(kind: RefusalKind) -> Self {
        Self {
            kind,
            retry_after: None,
        }
    }

    /// The value of a `Retry-After` header: whole seconds, rounded up, from 1 to an hour.
    #[must_use]
    pub fn retry_after_header(&self) -> Option<u32> {
        let seconds = self.retry_after.filter(|s| !s.is_nan())?;
        Some(seconds.ceil().clamp(1.0, 3600.0) as u32)
    }
}
