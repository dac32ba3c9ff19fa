//! vLLM's HTTP API, as far as gateways, autoscalers, load generators and people use it.

mod answer;
mod generate;
mod operations;
mod refusal;
mod request;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::server::Server;

/// The routes of one server.
pub fn router(server: Arc<Server>) -> Router {
    let health = get(operations::health);
    Router::new()
        .route("/v1/completions", post(generate::completions))
        .route("/v1/chat/completions", post(generate::chat))
        .route("/v1/models", get(operations::models))
        .route("/health", health.clone())
        .route("/ping", health.clone().post(operations::health))
        .route("/readyz", health)
        .route("/healthz", get(|| async { "ok" }))
        .route("/version", get(operations::version))
        .route("/metrics", get(operations::metrics))
        .route("/sleep", post(operations::sleep))
        .route("/wake_up", post(operations::wake_up))
        .route("/is_sleeping", get(operations::is_sleeping))
        .fallback(operations::not_found)
        .with_state(server)
}
