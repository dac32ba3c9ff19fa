//! Refusals in the API server's own words: `v1/Status` as JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// HTTP code.
    pub code: StatusCode,
    /// Kubernetes' reason, as `NotFound`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Status {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
        }
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: nobody knows who asks.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403: who asks may not.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// 404: no such path.
    #[must_use]
    pub fn not_found(path: &str) -> Self {
        let message = format!("the server could not find the requested resource: {path}");
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 404: no such metric.
    #[must_use]
    pub fn unknown_metric(metric: &str) -> Self {
        let message = format!("the server could not find the metric {metric}");
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 405: a method, or a watch, that is not served.
    #[must_use]
    pub fn method_not_allowed(what: &str) -> Self {
        let message =
            format!("{what} is not supported on resources of kind ExternalMetricValueList");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 406: only JSON is served.
    #[must_use]
    pub fn not_acceptable() -> Self {
        let message = "only the following media types are served: application/json, and for /apis also \
            application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList (or v2beta1)";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 500: something that the answer needs failed.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        (self.code, Json(body)).into_response()
    }
}
