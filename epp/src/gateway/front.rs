//! Connections of clients: HTTP/1.1 or HTTP/2, whichever the client speaks, within bounds of size and time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};

use super::headers::Client;
use super::relay::Relay;
use crate::server::listen::Speak;

/// Longest head of a request, bytes.
const HEAD_BYTES: usize = 64 << 10;
/// Most requests at once on a connection of HTTP/2.
const MOST_STREAMS: u32 = 1000;
/// Window of a stream: what a client may send before anything is read of it.
const STREAM_WINDOW: u32 = 1 << 20;
/// Window of a connection: what all its streams may together.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Time without a word after which a peer is asked whether it is there, and then to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// What clients speak to.
#[derive(Clone)]
pub(super) struct Front {
    pub relay: Arc<Relay>,
    /// Whether connections come by TLS.
    pub secure: bool,
    /// Time for the head of a request, and for which a connection is kept without one.
    pub head_wait: Duration,
}

fn builder(head_wait: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_wait)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_BYTES as u32)
        .max_concurrent_streams(MOST_STREAMS)
        .keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1);
    builder
}

impl Speak for Front {
    async fn speak<S>(self, stream: S, peer: SocketAddr, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = Client {
            address: peer.ip().to_canonical(),
            secure: self.secure,
        };
        let asked = Arc::new(AtomicBool::new(false));
        let (relay, asks) = (self.relay, Arc::clone(&asked));
        let service = service_fn(move |request| {
            asks.store(true, Relaxed);
            let relay = Arc::clone(&relay);
            async move { Ok::<_, Infallible>(relay.serve(request, client).await) }
        });
        let builder = builder(self.head_wait);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        // The bound on the time of a head begins when it is known what is spoken: some say less than that.
        let silent = async {
            tokio::time::sleep(self.head_wait).await;
            if asked.load(Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            outcome = watcher.watch(connection) => if let Err(error) = outcome {
                tracing::debug!(%error, "a connection ended");
            },
            () = silent => tracing::debug!("a connection without a request"),
        }
    }
}
