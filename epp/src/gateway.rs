//! The gateway: the same choice behind a reverse proxy of its own, for people who have no Envoy.
//!
//! ```text
//!  8080  HTTP/1.1 and HTTP/2   front ─► relay ─► request (wait, pick) ─► outbound ─► a server, or the next one
//!                                                                       answer ◄───┘
//!  9090  /metrics /healthz /readyz
//! ```
//! What a request asks for, who is let in, and where it goes are the external processor's code
//! ([`crate::server`]). Here is only what Envoy does around that: connections on both sides, headers, another try before
//! the first byte of an answer, and the answer's bytes on their way back.
//!
//! **What is tried again.** A connection that was never made, and a server's 503: nothing was begun. A connection that
//! broke before the answer's head, only where asking twice does no harm: `GET`, `HEAD`, `OPTIONS`, completions, chats,
//! messages and embeddings, which leave nothing behind but a computation. Never what has begun to be answered: such an
//! answer is cut, so that nobody takes it for whole.

mod answer;
mod failing;
mod front;
mod headers;
mod inbound;
mod models;
mod outbound;
mod refusal;
mod relay;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::server::around::Around;
use crate::server::listen::Port;
use crate::server::shared::{Handling, Shared};
use crate::server::tls::{self, Security};
use crate::store::Store;
use front::Front;
use relay::Relay;

pub use crate::server::ServeError;

/// What operators set of the gateway.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of requests.
    pub http: SocketAddr,
    /// Address of metrics.
    pub metrics: SocketAddr,
    /// TLS of requests.
    pub security: Security,
    /// Time to finish what has begun after being told to end.
    pub drain: Duration,
    /// How requests are handled.
    pub handling: Handling,
    /// How they are passed on.
    pub passing: Passing,
}

/// How requests are passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passing {
    /// Paths that are passed on, by what they begin with; others are not found.
    pub paths: Vec<String>,
    /// Most further tries before the first byte of an answer.
    pub retries: usize,
    /// Time to connect to a server.
    pub connect: Duration,
    /// Time until a server begins to answer; `None` for as long as the client waits.
    pub first_byte: Option<Duration>,
    /// Time between two pieces of an answer; and of a request, where that is less than 30 s.
    pub idle: Duration,
    /// Time for the head of a request, and for which a connection is kept without one.
    pub head: Duration,
}

impl Default for Passing {
    /// OpenAI's, Anthropic's, Cohere's and vLLM's own paths for requests, but none that manages a server; two further tries,
    /// 2 s to connect, any time to the first byte, 5 minutes between pieces, a minute for a head.
    fn default() -> Self {
        let paths = [
            "/v1/",
            "/v2/",
            "/tokenize",
            "/detokenize",
            "/score",
            "/rerank",
            "/pooling",
            "/classify",
        ];
        Self {
            paths: paths.map(str::to_owned).to_vec(),
            retries: 2,
            connect: Duration::from_secs(2),
            first_byte: None,
            idle: Duration::from_secs(300),
            head: Duration::from_secs(60),
        }
    }
}

/// A gateway that has its addresses.
pub struct Gateway {
    shared: Arc<Shared>,
    http: Port<Front>,
    around: Around,
    drain: Duration,
}

/// Where a gateway listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Requests.
    pub http: SocketAddr,
    /// Metrics.
    pub metrics: SocketAddr,
}

impl Gateway {
    /// Takes the addresses and the certificate.
    ///
    /// # Errors
    /// [`ServeError`] where one of them cannot be had.
    pub async fn bind(
        store: Arc<Store>,
        clock: Clock,
        settings: Settings,
    ) -> Result<Self, ServeError> {
        let protocols: [&[u8]; 2] = [b"h2", b"http/1.1"];
        let (certificate, config) = tls::presented(&settings.security, &protocols)?;
        let shared = Shared::new(store, clock, &settings.handling);
        let front = Front {
            head_wait: settings.passing.head,
            relay: Arc::new(Relay::new(Arc::clone(&shared), settings.passing)),
            secure: config.is_some(),
        };
        let http = settings.http;
        let at = |why| ServeError::Listen { address: http, why };
        Ok(Self {
            http: Port::bind(http, config, front).await.map_err(at)?,
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
            http: self.http.address()?,
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
        around
            .serve(self.http, None, &shared, self.drain, stop)
            .await;
    }
}
