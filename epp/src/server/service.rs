//! The gRPC services by path.
//!
//! Called by the connections directly: between HTTP/2 and a request's stream there is no router and no layer that every
//! message would pass.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

use super::health::{Check, Health, Watch};
use super::listen::Speak;
use super::shared::Shared;
use super::stream::Answers;

const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Window of a stream: what a client may send before anything is read of it.
const STREAM_WINDOW: u32 = 1 << 20;
/// Window of a connection: what all its streams may together, and so the most memory that unread data takes.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Time without a word after which a peer is asked whether it is there, and then to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// What a port serves.
#[derive(Clone)]
pub(super) struct Services {
    /// External processing; `None` on the port for health alone.
    pub shared: Option<Arc<Shared>>,
    /// Health.
    pub health: Health,
    /// Longest message, bytes.
    pub most_message: usize,
}

impl Services {
    fn grpc<A, B>(&self) -> Grpc<ProstCodec<A, B>>
    where
        A: Message + Send + 'static,
        B: Message + Default + Send + 'static,
    {
        Grpc::new(ProstCodec::default()).max_decoding_message_size(self.most_message)
    }

    /// Answers one call.
    async fn call(self, request: Request<Incoming>) -> Response<Body> {
        let health = self.health.clone();
        match (request.uri().path(), &self.shared) {
            // Another picker may know already; so may this one, when it is asked again.
            (PROCESS, Some(shared)) if !shared.store.is_synced() => {
                Status::unavailable("the endpoints are not known yet").into_http()
            }
            (PROCESS, Some(shared)) => {
                Answers::begin(request.into_body(), self.most_message, Arc::clone(shared)).await
            }
            (CHECK, _) => self.grpc().unary(Check(health), request).await,
            (WATCH, _) => self.grpc().server_streaming(Watch(health), request).await,
            _ => Status::unimplemented("no such method").into_http(),
        }
    }
}

impl Speak for Services {
    async fn speak<S>(self, stream: S, _: SocketAddr, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let services = self.clone();
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
}
