//! `external.metrics.k8s.io/v1beta1`, served by ourselves: the HPA asks the API server, the API server asks us.
//!
//! ```text
//! HPA ─► API server (aggregator) ─► serving ─► gate ─► routes ─► answers ─► Published
//!                                              │ who is it, and may it?
//!                                              ├─ front proxy's certificate + X-Remote-*
//!                                              ├─ a certificate of the cluster's client CA
//!                                              └─ bearer token (TokenReview); then SubjectAccessReview
//! ```
//! Why not through Prometheus and an adapter: two more systems, two more intervals and a query language between a decision
//! and its effect, and a metric that is missing there cannot be told from one that is 0. Only one APIService may own the
//! group in a cluster; where KEDA owns it, [`crate::keda`] is the way.

pub mod answers;
pub mod documents;
pub mod gate;
pub mod identity;
pub mod negotiation;
pub mod reviews;
pub mod selector;
pub mod status;
pub mod trust;

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::watch;

use crate::published::Published;
use answers::{Ask, Metric};
use gate::Gate;
use negotiation::{Format, Unacceptable};
use selector::Selector;
use status::Status;

/// API group.
pub const GROUP: &str = "external.metrics.k8s.io";
/// API version.
pub const VERSION: &str = "v1beta1";

/// What the routes read.
#[derive(Debug, Clone)]
struct Source {
    published: watch::Receiver<Arc<Published>>,
    gate: Arc<Gate>,
    instance: Option<Arc<str>>,
}

/// All routes of the server, guarded by `gate`. `instance` is the value of the `controller_instance` label, where the
/// installation has one.
pub fn router(
    published: watch::Receiver<Arc<Published>>,
    gate: Arc<Gate>,
    instance: Option<Arc<str>>,
) -> Router {
    let source = Source {
        published,
        gate: Arc::clone(&gate),
        instance,
    };
    Router::new()
        .route("/apis", get(groups))
        .route("/apis/external.metrics.k8s.io", get(group))
        .route("/apis/external.metrics.k8s.io/v1beta1", get(resources))
        .route(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}",
            get(values),
        )
        .route(
            "/openapi/v2",
            get(|h: HeaderMap| document(h, documents::openapi_v2)),
        )
        .route(
            "/openapi/v3",
            get(|h: HeaderMap| document(h, documents::openapi_v3_root)),
        )
        .route(
            "/openapi/v3/apis/external.metrics.k8s.io/v1beta1",
            get(|h: HeaderMap| document(h, documents::openapi_v3)),
        )
        .route("/version", get(|| async { Json(documents::version()) }))
        .route("/healthz", get(|| async { "ok" }))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .with_state(source)
        .layer(axum::middleware::from_fn_with_state(gate, gate::guard))
}

/// Ready once there is something to tell and it is known whom to trust: until then another replica answers better.
async fn ready(State(source): State<Source>) -> Response {
    let mut missing = Vec::new();
    if source.published.borrow().at.is_none() {
        missing.push("no cycle has been published yet");
    }
    if !source.gate.knows_whom_to_trust() {
        missing.push("kube-system/extension-apiserver-authentication has not been read yet");
    }
    if missing.is_empty() {
        return "ok".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.join("; ")).into_response()
}

async fn groups(headers: HeaderMap) -> Response {
    match negotiation::discovery(&headers) {
        Ok(format @ (Format::AggregatedV2 | Format::AggregatedV2Beta1)) => answer(
            &headers,
            format.content_type(),
            &documents::aggregated(format.version()),
        ),
        Ok(Format::Plain) => answer(&headers, Format::Plain.content_type(), &documents::groups()),
        Err(Unacceptable) => Status::not_acceptable().into_response(),
    }
}

async fn group(headers: HeaderMap) -> Response {
    document(headers, documents::group).await
}

async fn resources(headers: HeaderMap) -> Response {
    document(headers, documents::resources).await
}

async fn values(
    State(source): State<Source>,
    Path((namespace, metric)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Status> {
    let selector = checked(&query)?;
    let metric = Metric::named(&metric).ok_or_else(|| Status::unknown_metric(&metric))?;
    let published = Arc::clone(&source.published.borrow());
    let ask = Ask {
        namespace: &namespace,
        metric,
        selector: &selector,
        instance: source.instance.as_deref(),
    };
    Ok(Json(answers::values(&published, &ask)).into_response())
}

/// The label selector of a query that asks for nothing that is not served here.
fn checked(query: &[(String, String)]) -> Result<Selector, Status> {
    let last = |name: &str| {
        query
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    if let Some(watch) = last("watch")
        && !matches!(watch, "false" | "0" | "f" | "F" | "FALSE" | "False")
    {
        return Err(Status::method_not_allowed("watch"));
    }
    if last("fieldSelector").is_some_and(|selector| !selector.is_empty()) {
        return Err(Status::bad_request(
            "field selectors are not supported here: select by labels",
        ));
    }
    let text = last("labelSelector").unwrap_or_default();
    Selector::parse(text)
        .map_err(|error| Status::bad_request(format!("invalid labelSelector {text:?}: {error}")))
}

async fn document(headers: HeaderMap, make: fn() -> serde_json::Value) -> Response {
    answer(&headers, "application/json", &make())
}

/// The document, or 304 where the client has it already.
fn answer(
    headers: &HeaderMap,
    content_type: &'static str,
    document: &serde_json::Value,
) -> Response {
    let body = document.to_string();
    let tag = documents::entity_tag(&body);
    let fixed = [
        (header::CONTENT_TYPE, content_type.to_owned()),
        (header::ETAG, tag.clone()),
        (header::VARY, "Accept".to_owned()),
    ];
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|given| given.as_bytes() == tag.as_bytes());
    if known {
        (StatusCode::NOT_MODIFIED, fixed).into_response()
    } else {
        (fixed, body).into_response()
    }
}

async fn unknown(uri: Uri) -> Status {
    Status::not_found(uri.path())
}

async fn not_allowed(method: axum::http::Method) -> Status {
    Status::method_not_allowed(method.as_str())
}
