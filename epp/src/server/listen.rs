//! Connections: accepting them, TLS, and letting them end.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Time to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A protocol on connections.
pub(crate) trait Speak: Clone + Send + 'static {
    /// Speaks it with `peer` until the connection ends, or is told to end by `watcher`.
    fn speak<S>(
        self,
        stream: S,
        peer: SocketAddr,
        watcher: Watcher,
    ) -> impl Future<Output = ()> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static;
}

/// Takes an address; on machines without IPv6, all of IPv4 where all of both was asked for.
pub(crate) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
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

/// A port and what is spoken there.
pub(crate) struct Port<P> {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    protocol: P,
}

impl<P: Speak> Port<P> {
    /// Takes the address.
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        protocol: P,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: listen(address).await?,
            tls: tls.map(TlsAcceptor::from),
            protocol,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to end, and then until what has begun is finished, or `drain` is over.
    pub(crate) async fn serve(self, mut ends: watch::Receiver<bool>, drain: Duration) {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = ends.wait_for(|ends| *ends) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Answers are small and waited for.
                    let _ = stream.set_nodelay(true);
                    let (protocol, tls) = (self.protocol.clone(), self.tls.clone());
                    let watcher = graceful.watcher();
                    tokio::spawn(connection(stream, peer, tls, protocol, watcher));
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

async fn connection<P: Speak>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    protocol: P,
    watcher: Watcher,
) {
    let Some(tls) = tls else {
        return protocol.speak(stream, peer, watcher).await;
    };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => protocol.speak(stream, peer, watcher).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS connection"),
        Err(_) => tracing::debug!("no TLS connection in time"),
    }
}
