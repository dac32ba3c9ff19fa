//! Connections to servers, kept open, and one request to one of them.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Method, Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Time for which a connection without a request is kept. Uvicorn, which most engines serve with, closes it after five
/// seconds, and a request on its way at that moment would be lost.
const KEEP: Duration = Duration::from_secs(4);
/// Longest head of an answer, and most that is read ahead of the client, bytes.
const BUFFER: usize = 256 << 10;

/// A body that is there, in two pieces. Copies share the bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces(pub [Bytes; 2]);

impl Pieces {
    /// Bytes of both.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.iter_mut().find(|piece| !piece.is_empty());
        Poll::Ready(next.map(|piece| Ok(Frame::data(std::mem::take(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}

/// A request to any server.
#[derive(Debug, Clone)]
pub(super) struct Onward {
    /// Method.
    pub method: Method,
    /// Path and query, as the client had them.
    pub path: PathAndQuery,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Pieces,
}

/// Why a server did not answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Failure {
    /// There was no connection: it has not seen the request.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The connection broke: it may have seen the request.
    #[error("the connection broke before an answer: {0}")]
    Broken(String),
    /// It answered nonsense.
    #[error("not an HTTP answer: {0}")]
    Nonsense(String),
    /// It took too long to answer.
    #[error("no answer within {0} s")]
    Late(f64),
}

/// Asks servers.
#[derive(Clone)]
pub(super) struct Outbound {
    client: Client<HttpConnector, Pieces>,
    first_byte: Option<Duration>,
}

impl Outbound {
    /// With these limits to connecting, and to the wait for an answer's head.
    pub(super) fn new(connect: Duration, first_byte: Option<Duration>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect));
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP)
            .http1_max_buf_size(BUFFER)
            .build(connector);
        Self { client, first_byte }
    }

    /// Sends a request; the answer when its head has come. Dropping either tells the server that nobody waits.
    pub(super) async fn ask(
        &self,
        server: SocketAddr,
        onward: Onward,
    ) -> Result<Response<Incoming>, Failure> {
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(server.to_string())
            .path_and_query(onward.path)
            .build()
            .map_err(|e| Failure::Unreachable(e.to_string()))?;
        let mut request = Request::new(onward.body);
        *request.method_mut() = onward.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = onward.headers;
        let answer = self.client.request(request);
        let answer = match self.first_byte {
            None => answer.await,
            Some(limit) => {
                let answer = tokio::time::timeout(limit, answer).await;
                answer.map_err(|_| Failure::Late(limit.as_secs_f64()))?
            }
        };
        answer.map_err(|error| failure(&error))
    }
}

fn failure(error: &legacy::Error) -> Failure {
    let cause = error
        .source()
        .and_then(|e| e.downcast_ref::<hyper::Error>());
    let told = deepest(error);
    match cause {
        // Given back before a byte of it was written.
        Some(cause) if cause.is_canceled() => Failure::Unreachable(told),
        Some(cause) if cause.is_parse() => Failure::Nonsense(told),
        _ if error.is_connect() => Failure::Unreachable(told),
        _ => Failure::Broken(told),
    }
}

/// What lies at the bottom of an error: the layers above it only say that there was one.
fn deepest(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
