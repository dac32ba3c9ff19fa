//! Why a number is not there, in words that stay the same from release to release.

use serde::{Deserialize, Serialize};

/// Where a number came from. Of two equally fresh ones the earlier in this order wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Pushed by an endpoint picker.
    Push,
    /// Scraped from the pod itself.
    Pod,
    /// Asked of Prometheus.
    Prometheus,
}

impl Source {
    /// All sources, the one preferred on a tie first.
    pub const ALL: [Self; 3] = [Self::Push, Self::Pod, Self::Prometheus];

    /// Stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pod => "pod",
            Self::Prometheus => "prometheus",
        }
    }
}

/// Why there is no sample. The codes are part of the interface: scripts and dashboards match them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No source is configured that could know.
    NoSource,
    /// A source is configured but has not come round to it yet.
    NotYetScraped,
    /// The pod has no address.
    NoAddress,
    /// The pod says that it must not be scraped.
    ScrapeDisabled,
    /// Nothing answered at the address.
    Unreachable,
    /// It answered too slowly.
    Timeout,
    /// The answer is longer than the limit.
    TooLarge,
    /// The answer broke off.
    Truncated,
    /// The answer is not a metrics page.
    BadContentType,
    /// Credentials are missing, wrong or not sufficient (401, 403).
    Unauthorized,
    /// The answer points elsewhere; redirects are not followed.
    Redirected,
    /// Any other HTTP status than 200.
    HttpStatus,
    /// The TLS handshake failed.
    Tls,
    /// The page, or Prometheus, has no metric of a known engine for this pod.
    NoEngineMetrics,
    /// Prometheus knows no series of this pod.
    NotInPrometheus,
    /// Prometheus refused or failed the query.
    PrometheusError,
    /// Too old.
    Stale,
    /// Not a number, negative, or far beyond what the hardware can do.
    Absurd,
    /// No engine or endpoint picker reports arrivals of this model.
    NoArrivals,
    /// Arrivals are not told apart by class, and this is not the model's default class.
    NoClassLabel,
    /// Too large a part of the model's pods is missing for the sum to mean anything.
    PartialFleet,
    /// A router claims far more requests than the engines got, or could have got.
    Contradicted,
}

impl Reason {
    /// The stable code, kebab-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSource => "no-source",
            Self::NotYetScraped => "not-yet-scraped",
            Self::NoAddress => "no-address",
            Self::ScrapeDisabled => "scrape-disabled",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::Truncated => "truncated",
            Self::BadContentType => "bad-content-type",
            Self::Unauthorized => "unauthorized",
            Self::Redirected => "redirected",
            Self::HttpStatus => "http-status",
            Self::Tls => "tls",
            Self::NoEngineMetrics => "no-engine-metrics",
            Self::NotInPrometheus => "not-in-prometheus",
            Self::PrometheusError => "prometheus-error",
            Self::Stale => "stale",
            Self::Absurd => "absurd",
            Self::NoArrivals => "no-arrivals",
            Self::NoClassLabel => "no-class-label",
            Self::PartialFleet => "partial-fleet",
            Self::Contradicted => "contradicted",
        }
    }

    /// What to do about it, one sentence.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        match self {
            Self::NoSource => {
                "Configure a source: prometheus.url, pod scraping, or the endpoint picker's push."
            }
            Self::NotYetScraped => "Wait one scrape interval.",
            Self::NoAddress => "Wait until the pod has an IP, or see why it is not running.",
            Self::ScrapeDisabled => {
                "Remove the annotation prometheus.io/scrape: \"false\" from the pod, or use Prometheus as the source."
            }
            Self::Unreachable => {
                "Check the metrics port (annotation prometheus.io/port) and that no NetworkPolicy keeps the controller out."
            }
            Self::Timeout => {
                "Raise the timeout, or see why the server is too busy to answer /metrics."
            }
            Self::TooLarge => {
                "Raise the byte limit, or find out which metric has grown without bound."
            }
            Self::Truncated => {
                "See why the server or a proxy in between closes the connection early."
            }
            Self::BadContentType => {
                "Point the path (annotation prometheus.io/path) at a Prometheus metrics page; trtllm-serve has it at /prometheus/metrics."
            }
            Self::Unauthorized => {
                "Give the controller a token that may read metrics (bearer_token_file) and the role it needs."
            }
            Self::Redirected => {
                "Use the address that the redirect names; credentials are not sent after redirects."
            }
            Self::HttpStatus => "See the server's log for why its metrics page fails.",
            Self::Tls => {
                "Set ca_file to the issuer of the server's certificate, and the client certificate if it asks for one."
            }
            Self::NoEngineMetrics => {
                "Enable the engine's metrics (SGLang: --enable-metrics; trtllm-serve: return_perf_metrics) or correct llm-d.ai/engine-type."
            }
            Self::NotInPrometheus => {
                "Add a PodMonitor or ServiceMonitor for these pods and keep the pod and namespace labels."
            }
            Self::PrometheusError => {
                "See the message; check the URL, the token and the query limits of Prometheus."
            }
            Self::Stale => "Check that the scrape target is up and scraped at least every 15 s.",
            Self::Absurd => {
                "Look at the metrics page by hand: a value is NaN, negative, in other units, or beyond the hardware."
            }
            Self::NoArrivals => {
                "Scrape the endpoint picker or the engines; without arrivals nothing is scaled."
            }
            Self::NoClassLabel => {
                "Let the endpoint picker report the class (priority or objective), or make this the model's only class."
            }
            Self::PartialFleet => {
                "Repair the pods named in the detail; until then the model is held."
            }
            Self::Contradicted => {
                "Compare the router's request counter with the engines' by hand: one of them is counted twice, rewritten, or of another model."
            }
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Absence of a sample, with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// Stable code.
    pub reason: Reason,
    /// What exactly, for people; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Age of the newest sample that was not good enough, seconds, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<f64>,
}

impl Missing {
    /// An absence for `reason` with the particulars in `detail`.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            age: None,
        }
    }
}

/// Something that is odd about a sample which is used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Note {
    /// Its time stamp is ahead of our clock; the time it was first seen is used instead.
    ClockAhead,
    /// The same series came more than once (several scrape jobs); one of them is used.
    Duplicated,
    /// The page has metrics of another engine than the label says.
    EngineMismatch,
    /// The engine serves the model under a name that the catalogue does not list.
    NameMismatch,
    /// Arrivals are counted at the engines: a lower bound, blind to what was refused or held before them.
    LowerBound,
    /// A few pods are missing; their part is taken to be what the others had on average.
    PartialFleet,
    /// The engine's counters started anew.
    Restarted,
    /// Part of the page could not be read.
    Malformed,
    /// A router claims far more requests than the engines got, which count instead.
    Contradicted,
}

impl Note {
    /// The stable code, kebab-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClockAhead => "clock-ahead",
            Self::Duplicated => "duplicated",
            Self::EngineMismatch => "engine-mismatch",
            Self::NameMismatch => "name-mismatch",
            Self::LowerBound => "lower-bound",
            Self::PartialFleet => "partial-fleet",
            Self::Restarted => "restarted",
            Self::Malformed => "malformed",
            Self::Contradicted => "contradicted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_what_serde_writes() {
        for (reason, code) in [
            (Reason::NotYetScraped, "not-yet-scraped"),
            (Reason::HttpStatus, "http-status"),
            (Reason::PartialFleet, "partial-fleet"),
        ] {
            assert_eq!(reason.as_str(), code);
            assert_eq!(serde_json::to_value(reason).unwrap(), code);
        }
        assert_eq!(
            serde_json::to_value(Note::ClockAhead).unwrap(),
            "clock-ahead"
        );
        assert_eq!(
            serde_json::to_value(Source::Prometheus).unwrap(),
            "prometheus"
        );
    }
}
