//! `GET /debug/cycle`: the last cycle with everything that it started from, so that anybody can plan it once more and ask
//! why. It is written out when it is asked for: most cycles are never looked at.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;
use wva_optimizer::replay::Moment;

/// The last cycle; `None` before the first.
pub type LastCycle = Option<Arc<Moment>>;

/// Serves it.
pub fn router(last: watch::Receiver<LastCycle>) -> Router {
    Router::new()
        .route("/debug/cycle", get(show))
        .with_state(last)
}

async fn show(State(last): State<watch::Receiver<LastCycle>>) -> Response {
    let Some(moment) = last.borrow().clone() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "no cycle yet").into_response();
    };
    // What a large fleet remembers takes a while to write out.
    match tokio::task::spawn_blocking(move || moment.to_json()).await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
