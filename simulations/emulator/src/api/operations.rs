//! Everything but generation: health, models, metrics, sleep.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use crate::server::{Server, Status};

/// `GET /health`: an asleep server is healthy, as vLLM's is.
pub async fn health(State(server): State<Arc<Server>>) -> Result<(), Refusal> {
    match server.status() {
        Status::Ready | Status::Asleep(_) => Ok(()),
        status => Err(Refusal::unavailable(status)),
    }
}

/// `GET /v1/models`.
pub async fn models(State(server): State<Arc<Server>>) -> Json<Value> {
    let spec = &server.spec;
    let root = &spec.served_names[0];
    let created = server.unix_seconds() as u64;
    let card = |name: &String, parent: Option<&String>| {
        json!({
            "id": name, "object": "model", "created": created, "owned_by": "vllm", "root": root,
            "parent": parent, "max_model_len": spec.max_model_len, "permission": [],
        })
    };
    let models = spec.served_names.iter().map(|name| card(name, None));
    let adapters = spec.loras.iter().map(|name| card(name, Some(root)));
    let data: Vec<Value> = models.chain(adapters).collect();
    Json(json!({"object": "list", "data": data}))
}

/// `GET /version`: the vLLM whose API and metrics these are, and that it is not vLLM.
pub async fn version() -> Json<Value> {
    Json(json!({"version": concat!("0.11.0+wva.emulator.", env!("CARGO_PKG_VERSION"))}))
}

/// `GET /metrics`.
pub async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let page = server.page();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], page).into_response()
}

/// How to sleep.
#[derive(Debug, Deserialize)]
pub struct SleepLevel {
    /// 1 keeps the weights in host memory, 2 discards them.
    #[serde(default = "one")]
    level: u8,
}

fn one() -> u8 {
    1
}

/// `POST /sleep?level=1`: requests in flight are ended where they are.
pub async fn sleep(
    State(server): State<Arc<Server>>,
    Query(how): Query<SleepLevel>,
) -> Result<(), Refusal> {
    if !(1..=2).contains(&how.level) {
        return Err(Refusal::bad("level must be 1 or 2", Some("level")));
    }
    match server.status() {
        Status::Ready | Status::Asleep(_) => server.sleep(how.level),
        status => return Err(Refusal::unavailable(status)),
    }
    Ok(())
}

/// `POST /wake_up`: answers when it is awake.
pub async fn wake_up(State(server): State<Arc<Server>>) {
    tokio::time::sleep(server.wake_up()).await;
}

/// `GET /is_sleeping`.
pub async fn is_sleeping(State(server): State<Arc<Server>>) -> Json<Value> {
    let asleep = matches!(server.status(), Status::Asleep(_));
    Json(json!({"is_sleeping": asleep}))
}

/// Any other path, in the words of vLLM's web framework.
pub async fn not_found(_: Uri) -> (StatusCode, Json<Value>) {
    (StatusCode::NOT_FOUND, Json(json!({"detail": "Not Found"})))
}
