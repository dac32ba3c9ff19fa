//! Prometheus as a source: one batch of queries for the whole fleet, raw counters with their own time stamps.
//!
//! ```text
//! time() ─► server's clock t ─► at t: engines · heartbeats · shapes · pickers · their heartbeats · GPUs ─► join to pods
//! ```
//! - All queries are evaluated at the same instant of the server's own clock, so that a value and its time stamp belong
//!   together and our clock does not matter.
//! - Values are raw. How old they are is asked with `timestamp()` of one gauge that every engine has: everything else of a
//!   pod came with the same scrape.
//! - Queries are per signal, not per pod: their number does not grow with the fleet. Histograms are added up per model by
//!   the server, since a million bucket series a cycle would be the fleet's largest workload; a shape survives that, an
//!   arrival count would not.

mod answer;
mod join;
mod owners;
mod queries;

use std::sync::Arc;
use std::time::Instant;

use prometheus_http_query::Client;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::evidence::Evidence;
use super::gathered::SourceHealth;
use super::http::{self, Http, HttpSettings, Limits, SettingsError};
use super::reason::{Missing, Reason};
use super::targets::Targets;

pub use queries::Signal;

/// How to ask Prometheus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrometheusSettings {
    /// Base URL, with the path prefix where it has one.
    pub url: String,
    /// Further label matchers for every query, PromQL syntax without braces, e.g. `cluster="a"`.
    pub matchers: String,
    /// Deadline of one query, seconds.
    pub timeout_seconds: f64,
    /// Longest answer, bytes, decompressed: some 7 kB per pod.
    pub max_bytes: u64,
    /// How to reach it.
    pub http: HttpSettings,
}

impl Default for PrometheusSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            matchers: String::new(),
            timeout_seconds: 10.0,
            max_bytes: 128 << 20,
            http: HttpSettings::default(),
        }
    }
}

/// Prometheus, or anything that answers like it.
#[derive(Debug, Clone)]
pub struct PrometheusSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: PrometheusSettings,
    http: Http,
}

/// What one batch came to.
#[derive(Debug, Default)]
pub struct Answers {
    /// The server's clock when it was asked, seconds since the Unix epoch.
    pub at: f64,
    /// The body of each answer, or why there is none.
    pub bodies: Vec<(Signal, Result<Vec<u8>, Missing>)>,
}

impl PrometheusSource {
    /// A source by `settings`.
    ///
    /// # Errors
    /// [`SettingsError`] where the settings cannot be followed.
    pub fn new(settings: PrometheusSettings) -> Result<Self, SettingsError> {
        let parsed = reqwest::Url::parse(&settings.url)
            .map_err(|e| SettingsError::Url(format!("{}: {e}", settings.url)))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(SettingsError::Url(format!(
                "{}: not an HTTP URL",
                settings.url
            )));
        }
        let limits = Limits {
            timeout_s: settings.timeout_seconds,
            max_bytes: settings.max_bytes,
            accept_gzip: true,
            keep_alive: true,
        };
        let http = Http::new(settings.http.clone(), limits)?;
        Ok(Self(Arc::new(Inner { settings, http })))
    }

    /// Asks everything about `targets` at `now` and adds it to the evidence, its own health included.
    pub async fn gather(
        &self,
        targets: &Arc<Targets>,
        now: f64,
        health: &mut SourceHealth,
        evidence: &mut Evidence,
    ) {
        let began = Instant::now();
        health.configured = true;
        health.warnings.clear();
        let answers = match self.ask(targets).await {
            Ok(answers) => answers,
            Err(missing) => {
                health.last_failure = Some(now);
                health.last_error = Some(missing.clone());
                return join::nothing(targets, &missing, evidence);
            }
        };
        health.clock_skew_s = Some(answers.at - now);
        let targets = Arc::clone(targets);
        // Tens of megabytes at ten thousand pods: not for a thread that others wait on.
        let digested =
            tokio::task::spawn_blocking(move || join::digest(&targets, &answers, now)).await;
        let Ok(mut digest) = digested else {
            health.last_failure = Some(now);
            health.last_error = Some(Missing::new(
                Reason::PrometheusError,
                "the answers could not be read",
            ));
            return;
        };
        health.latency_s = Some(began.elapsed().as_secs_f64());
        digest.report(now, health);
        digest.hand_over(evidence);
    }

    async fn ask(&self, targets: &Targets) -> Result<Answers, Missing> {
        let time = self.query("time()".to_owned(), None).await?;
        let at = answer::scalar(&time)?;
        let mut asked = JoinSet::new();
        for (signal, promql) in queries::batch(targets, &self.0.settings.matchers) {
            let source = self.clone();
            asked.spawn(async move { (signal, source.query(promql, Some(at)).await) });
        }
        let mut bodies = Vec::new();
        while let Some(joined) = asked.join_next().await {
            let lost = |_| Missing::new(Reason::PrometheusError, "the query was given up");
            bodies.push(joined.map_err(lost)?);
        }
        bodies.sort_by_key(|(signal, _)| *signal);
        Ok(Answers { at, bodies })
    }

    /// One instant query at the server's time `at`: the body of its answer, errors of the API among them. POST is used,
    /// since queries that name pods are long; where it is refused, GET.
    async fn query(&self, promql: String, at: Option<f64>) -> Result<Vec<u8>, Missing> {
        let mut response = self.send(&promql, at, true).await?;
        if matches!(response.status().as_u16(), 403 | 405) && promql.len() < 6000 {
            response = self.send(&promql, at, false).await?;
        }
        let json = response
            .headers()
            .get(reqwest::header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| v.starts_with("application/json"));
        // Errors of the API come as JSON with a message; anything else is of whoever stands before it.
        if !json {
            http::succeeded(&response)?;
            let detail = "the answer is not JSON: is this the URL of Prometheus?";
            return Err(Missing::new(Reason::BadContentType, detail));
        }
        if matches!(response.status().as_u16(), 401 | 403) {
            http::succeeded(&response)?;
        }
        http::body(response, self.0.http.limits().max_bytes).await
    }

    async fn send(
        &self,
        promql: &str,
        at: Option<f64>,
        post: bool,
    ) -> Result<reqwest::Response, Missing> {
        let settings = &self.0.settings;
        self.0
            .http
            .send(|client, headers| async move {
                let client = Client::from(client, &settings.url).map_err(|e| asking(&e))?;
                let mut query = client
                    .query(promql)
                    .timeout((settings.timeout_seconds * 1e3) as i64);
                if let Some(at) = at {
                    query = query.query("time", format!("{at:.3}"));
                }
                for (name, value) in &headers {
                    query = query.header(name.clone(), value.clone());
                }
                let sent = if post {
                    query.post_raw().await
                } else {
                    query.get_raw().await
                };
                sent.map_err(|e| asking(&e))
            })
            .await
    }
}

/// Why a query could not be sent.
fn asking(e: &prometheus_http_query::Error) -> Missing {
    let source = std::error::Error::source(e).and_then(|s| s.downcast_ref::<reqwest::Error>());
    source.map_or_else(
        || Missing::new(Reason::PrometheusError, e.to_string()),
        http::failure,
    )
}
