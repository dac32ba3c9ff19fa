//! Connections: accepting them, TLS, HTTP/2, and letting them end.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::service::Services;

/// Window of a stream: what a client may send before anything is read of it.
const STREAM_WINDOW: u32 = 1 << 20;
/// Window of a connection: what all its streams may together, and so the most memory that unread data takes.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Time to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time without a word after which a peer is asked whether it is there, and then to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Takes an address; on machines without IPv6, all of IPv4 where all of both was asked for.
pub(super) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse && address.is_ipv6() => {
            let all = address.ip().is_unspecified();
            let instead = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            let instead = if all { instead } else { address };
            TcpListener::bind(instead).await
        }
        bound => bound,
    }
}

/// A port and what it serves.
pub(super) struct Port {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    services: Services,
}

impl Port {
    /// Takes the address.
    pub(super) async fn bind(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        services: Services,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: listen(address).await?,
            tls: tls.map(TlsAcceptor::from),
            services,
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to end, and then until what has begun is finished, or `drain` is over.
    pub(super) async fn serve(self, mut ends: watch::Receiver<bool>, drain: Duration) {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = ends.wait_for(|ends| *ends) => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Answers are small and waited for.
                    let _ = stream.set_nodelay(true);
                    let (services, tls) = (self.services.clone(), self.tls.clone());
                    tokio::spawn(connection(stream, tls, services, graceful.watcher()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    // Out of files, perhaps: others have to end first.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.listener);
        if tokio::time::timeout(drain, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("streams were cut off at the end of the drain time");
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    services: Services,
    watcher: Watcher,
) {
    let Some(tls) = tls else {
        return speak(stream, services, watcher).await;
    };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => speak(stream, services, watcher).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS connection"),
        Err(_) => tracing::debug!("no TLS connection in time"),
    }
}

async fn speak<S>(stream: S, services: Services, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let services = services.clone();
        async move { Ok::<_, Infallible>(services.call(request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .max_concurrent_streams(None)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended");
    }
}
