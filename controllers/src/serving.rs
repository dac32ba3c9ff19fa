//! One listener for everything that is served: HTTP/1.1 and HTTP/2, plain or TLS, an axum router behind it.
//!
//! ```text
//! accept ─► place (at most MOST_CONNECTIONS) ─► TLS handshake ─► Peer{chain} ─► router
//!                                               ▲
//!                                  HotCertificate, replaced while serving
//! ```
//! Why not axum's own server: it hands over no client certificates and shuts down with no bound on how long it waits. A
//! certificate is looked up at each handshake, so replacing it touches no connection that exists.

pub mod authority;
pub mod certificates;
pub mod possession;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use certificates::HotCertificate;
use possession::AnyPossessor;

/// Most connections at a time: further ones wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 1024;
/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for the head of a request, and between the pings of HTTP/2.
const SILENCE: Duration = Duration::from_secs(30);
/// Time for open requests once the server is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);

/// Who is at the other end of a connection; an extension of each request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Certificates that it presented, its own first. It holds the key of the first, but nothing has been verified beyond
    /// that: whoever relies on them checks who signed them.
    pub chain: Arc<[CertificateDer<'static>]>,
}

/// How connections are secured.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Not at all.
    Plain,
    /// TLS.
    Tls(Arc<ServerConfig>),
}

impl Transport {
    /// TLS 1.2 and 1.3 with this certificate; clients may present one of theirs.
    #[must_use]
    pub fn tls(certificate: Arc<HotCertificate>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .with_client_cert_verifier(Arc::new(AnyPossessor::new(&provider)))
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::Tls(Arc::new(config))
    }
}

/// Answers `ok` at these paths, to whoever wants to know whether there is an answer.
pub fn alive(paths: &[&str]) -> Router {
    let ok = async || "ok";
    paths
        .iter()
        .fold(Router::new(), |router, path| router.route(path, get(ok)))
}

/// Serves `app` until `shutdown` is done, then lets open requests finish for a few seconds.
pub async fn serve(
    listener: TcpListener,
    transport: Transport,
    app: Router,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (stream, address, place) = accept(&listener, &places) => {
                let connection = Connection {
                    address,
                    app: app.clone(),
                    watcher: graceful.watcher(),
                };
                connections.spawn(connection.run(stream, transport.clone(), place));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    // Whatever outlives the farewell (streams that never end) is cut off when the set is dropped.
    let _ = timeout(FAREWELL, graceful.shutdown()).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address, place),
            Err(error) => {
                // Out of descriptors, or a connection reset before it was taken: neither is a reason to stop serving.
                tracing::debug!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What one connection needs.
struct Connection {
    address: SocketAddr,
    app: Router,
    watcher: Watcher,
}

impl Connection {
    async fn run(self, stream: TcpStream, transport: Transport, _place: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let Transport::Tls(config) = transport else {
            let chain = Arc::default();
            return self
                .talk(auto::Builder::new(TokioExecutor::new()), stream, chain)
                .await;
        };
        match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => {
                let session = stream.get_ref().1;
                let chain = session.peer_certificates().unwrap_or_default();
                let chain = chain.iter().map(|c| c.clone().into_owned()).collect();
                let builder = auto::Builder::new(TokioExecutor::new());
                // The version is settled, so that no client can keep a place by sending nothing at all.
                let builder = if session.alpn_protocol() == Some(b"h2") {
                    builder.http2_only()
                } else {
                    builder.http1_only()
                };
                self.talk(builder, stream, chain).await;
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, peer = %self.address, "TLS handshake failed");
            }
            Err(_) => tracing::debug!(peer = %self.address, "TLS handshake took too long"),
        }
    }

    async fn talk<S>(
        self,
        mut builder: auto::Builder<TokioExecutor>,
        stream: S,
        chain: Arc<[CertificateDer<'static>]>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(SILENCE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(SILENCE)
            .keep_alive_timeout(SILENCE);
        let peer = Peer {
            address: self.address,
            chain,
        };
        let app = self.app;
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            app.clone().call(request.map(Body::new))
        });
        let connection = builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%error, peer = %self.address, "connection ended in an error");
        }
    }
}
