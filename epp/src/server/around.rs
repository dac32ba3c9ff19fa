//! What runs beside the requests: the pages about the process, the certificate, and what time brings.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::ServeError;
use super::listen::listen;
use super::shared::Shared;
use super::tls::Presented;
use crate::store;

/// Longest time in which new requests are still taken after being told to end: proxies need it to notice.
const LINGER: Duration = Duration::from_secs(5);

/// The port of `/metrics`, `/healthz` and `/readyz`, and the certificate to follow.
pub(crate) struct Around {
    pages: TcpListener,
    certificate: Option<Presented>,
}

impl Around {
    /// Takes the address of the pages.
    pub(crate) async fn bind(
        pages: SocketAddr,
        certificate: Option<Presented>,
    ) -> Result<Self, ServeError> {
        let at = |why| ServeError::Listen {
            address: pages,
            why,
        };
        Ok(Self {
            pages: listen(pages).await.map_err(at)?,
            certificate,
        })
    }

    /// Where the pages are.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.pages.local_addr()
    }

    /// Starts all of it; it ends when the set is dropped.
    pub(crate) fn start(self, shared: &Arc<Shared>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(store::publish(Arc::clone(&shared.store)));
        tasks.spawn(Arc::clone(&shared.admission).run());
        if let Some(certificate) = self.certificate {
            tasks.spawn(certificate.follow());
        }
        let told = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(ready))
            .with_state(Arc::clone(shared));
        tasks.spawn(async {
            // Ends with the set.
            let _ = axum::serve(self.pages, told).await;
        });
        tasks
    }
}

impl Shared {
    /// Wants no new requests, and waits until proxies have noticed.
    pub(crate) async fn linger(&self, drain: Duration) {
        self.store.drain();
        self.admission.close();
        let streams = self.metrics.streams.get();
        tracing::info!(streams, "ending: no new requests are wanted");
        tokio::time::sleep(LINGER.min(drain / 3)).await;
    }
}

async fn metrics(
    State(shared): State<Arc<Shared>>,
) -> ([(header::HeaderName, &'static str); 1], String) {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.metrics.text())
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    match shared.store.is_ready() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    }
}
