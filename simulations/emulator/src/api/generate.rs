//! `/v1/completions` and `/v1/chat/completions`.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::answer::{Heading, kv_transfer_params};
use super::refusal::Refusal;
use super::request::{Kind, Wanted};
use super::stream::Events;
use crate::delivery::End;
use crate::server::{Server, Status};

/// Longest body, bytes: several times the longest context.
const MOST_BYTES: usize = 16 << 20;

/// `POST /v1/completions`.
pub async fn completions(
    State(server): State<Arc<Server>>,
    request: Request,
) -> Result<Response, Refusal> {
    generate(Kind::Completion, &server, request).await
}

/// `POST /v1/chat/completions`.
pub async fn chat(
    State(server): State<Arc<Server>>,
    request: Request,
) -> Result<Response, Refusal> {
    generate(Kind::Chat, &server, request).await
}

async fn generate(kind: Kind, server: &Arc<Server>, request: Request) -> Result<Response, Refusal> {
    // Before anything is read: what is not served need not be sent.
    let status = server.status();
    if status != Status::Ready {
        return Err(Refusal::unavailable(status));
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, MOST_BYTES).await;
    let bytes = bytes.map_err(|_| Refusal::too_large(MOST_BYTES))?;
    let wanted = Wanted::read(kind, &bytes, &server.spec)?;
    drop(bytes);
    let client_id = parts.headers.get("x-request-id");
    answer(wanted, server, client_id.and_then(|id| id.to_str().ok())).await
}

async fn answer(
    wanted: Wanted,
    server: &Arc<Server>,
    client_id: Option<&str>,
) -> Result<Response, Refusal> {
    let Wanted { ask, about } = wanted;
    let streaming = ask.streaming;
    let mut ticket = server.submit(ask).map_err(Refusal::unavailable)?;
    let heading = Heading::new(about, server, &ticket, client_id);
    if streaming {
        let headers = [
            (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
            (CACHE_CONTROL, "no-cache"),
        ];
        let events = Events::new(ticket, heading);
        return Ok((headers, Body::new(events)).into_response());
    }
    let progress = ticket.end().await;
    let Some(End::Finished(reason)) = progress.end else {
        return Err(Refusal::lost());
    };
    let elsewhere = heading.about.decoded_elsewhere;
    let kv = elsewhere.then(|| kv_transfer_params(server, &ticket, &heading));
    Ok(Json(heading.whole(&progress, reason, kv)).into_response())
}
