//! Answers of the gateway itself, as clients of OpenAI's and Anthropic's APIs read them.

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::answer::Outgoing;
use crate::server::refusal::{REASON_HEADER, Refused};

/// OpenAI's clients read `error.message`, `error.type` and `error.code`; Anthropic's also look for the outer `type`.
#[derive(Serialize)]
struct Page<'a> {
    r#type: &'static str,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: &'a str,
}

/// The names that both APIs have for a status.
const fn kind(status: u16) -> &'static str {
    match status {
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// The answer to a request that is refused.
pub(super) fn page(refused: &Refused) -> Response<Outgoing> {
    let page = Page {
        r#type: "error",
        error: Error {
            message: &refused.message,
            r#type: kind(refused.status),
            param: None,
            code: refused.reason.unwrap_or(refused.code),
        },
    };
    let text = serde_json::to_vec(&page).unwrap_or_default();
    let mut response = Response::new(Outgoing::page(text));
    *response.status_mut() =
        StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if let Some(reason) = refused.reason {
        headers.insert(REASON_HEADER, HeaderValue::from_static(reason));
    }
    if let Some(seconds) = refused.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// A refusal for what the client did.
pub(super) fn bad(status: u16, code: &'static str, message: impl Into<String>) -> Refused {
    Refused {
        status,
        code,
        message: message.into(),
        reason: None,
        retry_after: None,
    }
}

/// A refusal for what became of the servers.
pub(super) fn unserved(status: u16, reason: &'static str, message: String) -> Refused {
    Refused {
        status,
        code: "ModelServerError",
        message,
        reason: Some(reason),
        retry_after: (status == 503).then_some(1),
    }
}
