//! Envoy's external processor: one stream for each HTTP request.
//!
//! ```text
//!  9002  ext-proc and health   listen ─► service ─► stream ─► exchange ─► admission, pick
//!  9003  health                listen ─► service
//!  9090  /metrics /healthz /readyz
//! ```
//! On the way from the socket to the choice there is one task for a request, no channel, and no copy of the body but the
//! one that puts its chunks together.

pub mod admission;
pub mod exchange;
pub mod head;
pub mod health;
mod listen;
pub mod metrics;
pub mod refusal;
pub mod reply;
pub mod series;
mod service;
pub mod shared;
pub mod stream;
pub mod tls;
pub mod wire;

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

use crate::clock::Clock;
use crate::store::{self, Store};
use health::Health;
use listen::Port;
use service::Services;
use shared::{Handling, Shared};
use tls::{Certificate, Security, TlsError};

/// Longest time in which new requests are still taken after being told to end: proxies need it to notice.
const LINGER: Duration = Duration::from_secs(5);

/// What operators set of the server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of external processing.
    pub grpc: SocketAddr,
    /// Address of health checks.
    pub health: SocketAddr,
    /// Address of metrics.
    pub metrics: SocketAddr,
    /// TLS of external processing.
    pub security: Security,
    /// Longest message, bytes.
    pub most_message: usize,
    /// Time to finish what has begun after being told to end.
    pub drain: Duration,
    /// How requests are handled.
    pub handling: Handling,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be had.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        why: io::Error,
    },
    /// There is no certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A server that has its addresses.
pub struct Server {
    shared: Arc<Shared>,
    grpc: Port,
    health: Port,
    metrics: TcpListener,
    certificate: Option<Arc<Certificate>>,
    security: Security,
    drain: Duration,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// External processing.
    pub grpc: SocketAddr,
    /// Health checks.
    pub health: SocketAddr,
    /// Metrics.
    pub metrics: SocketAddr,
}

impl Server {
    /// Takes the addresses and the certificate.
    ///
    /// # Errors
    /// [`ServeError`] where one of them cannot be had.
    pub async fn bind(
        store: Arc<Store>,
        clock: Clock,
        settings: Settings,
    ) -> Result<Self, ServeError> {
        let certificate = Certificate::of(&settings.security)?;
        let config = certificate.clone().map(Certificate::server_config);
        let config = config.transpose()?;
        let shared = Shared::new(Arc::clone(&store), clock, &settings.handling);
        let services = |shared| Services {
            shared,
            health: Health(Arc::clone(&store)),
            most_message: settings.most_message,
        };
        let at = |address| move |why| ServeError::Listen { address, why };
        let (grpc, health) = (settings.grpc, settings.health);
        let processing = services(Some(Arc::clone(&shared)));
        Ok(Self {
            grpc: Port::bind(grpc, config, processing)
                .await
                .map_err(at(grpc))?,
            health: Port::bind(health, None, services(None))
                .await
                .map_err(at(health))?,
            metrics: listen::listen(settings.metrics)
                .await
                .map_err(at(settings.metrics))?,
            shared,
            certificate,
            security: settings.security,
            drain: settings.drain,
        })
    }

    /// Where it listens, also where port 0 was asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses {
            grpc: self.grpc.address()?,
            health: self.health.address()?,
            metrics: self.metrics.local_addr()?,
        })
    }

    /// What its requests share.
    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Serves until `stop`, then tells that it will end, finishes what has begun, and ends.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let shared = Arc::clone(&self.shared);
        let mut background = tokio::task::JoinSet::new();
        background.spawn(store::publish(Arc::clone(&shared.store)));
        background.spawn(Arc::clone(&shared.admission).run());
        if let (Some(certificate), Security::Folder(folder)) = (self.certificate, self.security) {
            background.spawn(certificate.follow(folder));
        }
        let told = Router::new()
            .route("/metrics", get(metrics_page))
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(ready))
            .with_state(Arc::clone(&shared));
        background.spawn(async {
            // Ends with the set.
            let _ = axum::serve(self.metrics, told).await;
        });
        let (end, ends) = watch::channel(false);
        let grpc = tokio::spawn(self.grpc.serve(ends.clone(), self.drain));
        background.spawn(self.health.serve(ends, self.drain));
        stop.await;
        shared.store.drain();
        shared.admission.close();
        let streams = shared.metrics.streams.get();
        tracing::info!(streams, "ending: no new requests are wanted");
        tokio::time::sleep(LINGER.min(self.drain / 3)).await;
        end.send_replace(true);
        // A panic there has been told of already.
        let _ = grpc.await;
    }
}

async fn metrics_page(
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
