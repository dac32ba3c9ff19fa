//! Refusals, in the form of OpenAI's errors.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::server::Status;

/// Why a request is not served.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
    param: Option<&'static str>,
    retry_after_s: Option<u64>,
}

impl Refusal {
    /// 400: the request is wrong; `param` says where.
    pub fn bad(message: impl Into<String>, param: Option<&'static str>) -> Self {
        let kind = "BadRequestError";
        Self::new(StatusCode::BAD_REQUEST, kind, message.into(), param)
    }

    /// 404: there is no such model.
    pub fn unknown_model(name: &str) -> Self {
        let message = format!("The model `{name}` does not exist.");
        Self::new(
            StatusCode::NOT_FOUND,
            "NotFoundError",
            message,
            Some("model"),
        )
    }

    /// 413: the body is longer than `most` bytes.
    pub fn too_large(most: usize) -> Self {
        let message = format!("the request body is longer than {most} bytes");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BadRequestError",
            message,
            None,
        )
    }

    /// 503: the server takes no requests.
    pub fn unavailable(status: Status) -> Self {
        let (message, retry_after_s) = match status {
            Status::Starting(left) => {
                let message = format!(
                    "the model is being loaded, for {:.1} s more",
                    left.as_secs_f64()
                );
                (message, Some(left.as_secs() + 1))
            }
            Status::Asleep(level) => (
                format!("the server sleeps at level {level}: POST /wake_up first"),
                None,
            ),
            Status::Draining => ("the server shuts down".to_owned(), None),
            // It has become ready since it refused.
            Status::Ready => ("the server was not ready".to_owned(), Some(1)),
        };
        Self {
            retry_after_s,
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailableError",
                message,
                None,
            )
        }
    }

    /// 500: the server went away.
    pub fn lost() -> Self {
        let message = "the server was stopped".to_owned();
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            message,
            None,
        )
    }

    const fn new(
        status: StatusCode,
        kind: &'static str,
        message: String,
        param: Option<&'static str>,
    ) -> Self {
        Self {
            status,
            kind,
            message,
            param,
            retry_after_s: None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.status.as_u16(),
        }});
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
