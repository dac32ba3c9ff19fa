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
pub(crate) mod around;
pub mod exchange;
pub mod framing;
pub(crate) mod gathered;
pub mod head;
pub mod health;
pub(crate) mod listen;
pub mod metrics;
pub mod refusal;
pub mod reply;
pub(crate) mod request;
pub(crate) mod sent;
pub mod series;
mod service;
pub mod shared;
pub mod stream;
pub mod tally;
pub mod tls;
pub mod wire;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::store::Store;
use around::Around;
use health::Health;
use listen::Port;
use service::Services;
use shared::{Handling, Shared};
use tls::{Security, TlsError};

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
    grpc: Port<Services>,
    health: Port<Services>,
    around: Around,
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
        let (certificate, config) = tls::presented(&settings.security, &[b"h2"])?;
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
            around: Around::bind(settings.metrics, certificate).await?,
            shared,
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
            metrics: self.around.address()?,
        })
    }

    /// What its requests share.
    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Serves until `stop`, then tells that it will end, finishes what has begun, and ends.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (around, shared) = (self.around, self.shared);
        let health = Some(self.health);
        around
            .serve(self.grpc, health, &shared, self.drain, stop)
            .await;
    }
}
