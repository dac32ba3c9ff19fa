//! Prometheus metrics out.
//!
//! Everything about variants is read from [`Published`] at the moment of a scrape: there is no second store that could lag
//! behind or keep series of variants that are gone. Labels come from object names, from reason codes (few per variant) and
//! from fixed lists, so the number of series is bounded by the number of variants. Only what has no place in `Published`
//! (how long cycles take, what fails) is counted here.

mod fleet;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::published::Published;
use fleet::Fleet;

/// How metrics are named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Naming {
    /// Value of the `controller_instance` label; absent, the label is left out.
    pub instance: Option<String>,
    /// Whether replicas and scalings are also exported under the predecessor's first names, `inferno_*`.
    pub legacy: bool,
}

/// What failed; the values of the `stage` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Watching Kubernetes objects.
    Watch,
    /// Reading telemetry.
    Telemetry,
    /// Reading the catalogue, policies or objects of the user.
    Configuration,
    /// Planning.
    Plan,
    /// Writing status, events or scales.
    Actuation,
    /// Keeping certificates, the APIService or leadership.
    Serving,
    /// Writing audit lines and bundles.
    Recording,
}

impl Stage {
    /// The label's value.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Telemetry => "telemetry",
            Self::Configuration => "configuration",
            Self::Plan => "plan",
            Self::Actuation => "actuation",
            Self::Serving => "serving",
            Self::Recording => "recording",
        }
    }
}

/// One label with a value from a fixed list.
type Label = [(&'static str, &'static str); 1];

/// What the cycle reports beside what it publishes. Clones count together.
#[derive(Clone)]
pub struct Meters {
    cycles: Family<Label, Histogram>,
    errors: Family<Label, Counter>,
    leader: Gauge,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl Meters {
    fn registered(registry: &mut Registry) -> Self {
        // 1 ms to 65 s.
        let buckets = || Histogram::new(exponential_buckets(0.001, 2.0, 17));
        let meters = Self {
            cycles: Family::new_with_constructor(buckets),
            errors: Family::default(),
            leader: Gauge::default(),
        };
        registry.register(
            "wva_optimization_duration_seconds",
            "Time of a decision cycle by how it ended",
            meters.cycles.clone(),
        );
        registry.register("wva_errors", "Errors by stage", meters.errors.clone());
        registry.register(
            "wva_leader",
            "1 where this replica acts on what it decides",
            meters.leader.clone(),
        );
        meters
    }

    /// A cycle took this many seconds, and published or failed.
    pub fn cycle(&self, seconds: f64, published: bool) {
        let status = if published { "success" } else { "error" };
        self.cycles
            .get_or_create(&[("status", status)])
            .observe(seconds);
    }

    /// Something failed.
    pub fn error(&self, stage: Stage) {
        self.errors.get_or_create(&[("stage", stage.code())]).inc();
    }

    /// This replica acts on what it decides, or does not.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}

/// Everything that is exported.
#[derive(Debug)]
pub struct Exported(Registry);

impl Exported {
    /// Exports what is published, and what the meters are told.
    #[must_use]
    pub fn new(published: watch::Receiver<Arc<Published>>, naming: Naming) -> (Self, Meters) {
        let mut registry = Registry::default();
        let meters = Meters::registered(&mut registry);
        registry.register_collector(Box::new(Fleet { published, naming }));
        (Self(registry), meters)
    }

    /// The exposition in OpenMetrics text.
    ///
    /// # Errors
    /// [`fmt::Error`] never in practice: a `String` takes everything.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// `GET /metrics`. Whoever should not read it is kept out by a layer, as
/// [`guard`](crate::external_metrics::gate::guard), or by the network.
pub fn router(exported: Arc<Exported>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .with_state(exported)
}

async fn scrape(State(exported): State<Arc<Exported>>) -> Response {
    match exported.text() {
        Ok(text) => {
            let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, media)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
