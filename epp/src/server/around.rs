//! What runs beside the requests: the pages about the process, the certificate, and what time brings.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ServeError;
use super::listen::{Port, Speak, listen};
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

    /// Serves requests at `port`, and the same protocol at a port beside it, until `stop`; then tells that it will end,
    /// finishes what has begun, and ends.
    pub(crate) async fn serve<P: Speak>(
        self,
        port: Port<P>,
        beside: Option<Port<P>>,
        shared: &Arc<Shared>,
        drain: Duration,
        stop: impl Future<Output = ()>,
    ) {
        let mut background = self.start(shared);
        let (end, ends) = watch::channel(false);
        if let Some(beside) = beside {
            background.spawn(beside.serve(ends.clone(), drain));
        }
        let requests = tokio::spawn(port.serve(ends, drain));
        stop.await;
        shared.linger(drain).await;
        end.send_replace(true);
        // A panic there has been told of already.
        let _ = requests.await;
        drop(background);
    }

    /// Starts all of it; it ends when the set is dropped.
    fn start(self, shared: &Arc<Shared>) -> JoinSet<()> {
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
    async fn linger(&self, drain: Duration) {
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
