//! Servers that answer as a test says, a gateway before them, and clients.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use wva_epp::clock::Clock;
use wva_epp::gateway::{Addresses, Gateway, Passing, Settings};
use wva_epp::server::shared::{Handling, Shared};
use wva_epp::server::tls::Security;
use wva_epp::store::Store;
use wva_epp_core::config::Config;
use wva_epp_core::endpoint::{Endpoint, Metrics};

pub const CHAT: &str = "/v1/chat/completions";
pub const BODY: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"Tell me of Tübingen"}],"stream":true}"#;
pub const SSE: [&str; 3] = [
    "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"Über\"}}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"compl",
    "etion_tokens\":5}}\n\ndata: [DONE]\n\n",
];

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(30), future).await;
    outcome.expect("it comes soon")
}

pub async fn until(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A body that comes from a channel; an error in it breaks the connection.
pub struct Pieces(mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>);

/// The other end of it.
#[derive(Clone)]
pub struct Pen(mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>);

impl Pieces {
    pub fn open() -> (Pen, Self) {
        let (sender, receiver) = mpsc::channel(16);
        (Pen(sender), Self(receiver))
    }

    pub fn of(bytes: impl Into<Bytes>) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        sender.try_send(Ok(Frame::data(bytes.into()))).unwrap();
        Self(receiver)
    }
}

impl Pen {
    pub async fn write(&self, bytes: impl Into<Bytes>) {
        let frame = Ok(Frame::data(bytes.into()));
        soon(self.0.send(frame)).await.expect("somebody reads");
    }

    pub async fn break_off(self) {
        let error = std::io::Error::other("the server dies");
        soon(self.0.send(Err(error))).await.expect("somebody reads");
    }

    /// Waits until nobody reads any more.
    pub async fn unread(&self) {
        soon(self.0.closed()).await;
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context)
    }
}

/// What a server was asked.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A model server that answers as a test says.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start<A, F>(answer: A) -> Self
    where
        A: Fn(Seen) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Pieces>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (all, answer) = (Arc::clone(&all), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (all, answer) = (Arc::clone(&all), answer.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        let seen = Seen {
                            method: parts.method,
                            path: parts.uri.to_string(),
                            headers: parts.headers,
                            body: collect(body).await.unwrap_or_default(),
                        };
                        all.lock().unwrap().push(seen.clone());
                        Ok::<_, Infallible>(answer(seen).await)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    /// One that answers the same to everything.
    pub async fn says(status: u16, kind: &'static str, text: &'static str) -> Self {
        Self::start(move |_| async move { answer(status, kind, Pieces::of(text)) }).await
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub fn answer(status: u16, kind: &str, body: Pieces) -> Response<Pieces> {
    let response = Response::builder().status(status);
    response.header("content-type", kind).body(body).unwrap()
}

/// A server whose answers a test writes.
pub async fn written() -> (Server, Arc<Mutex<Vec<Pen>>>) {
    let pens: Arc<Mutex<Vec<Pen>>> = Arc::default();
    let kept = Arc::clone(&pens);
    let server = Server::start(move |_| {
        let (pen, body) = Pieces::open();
        kept.lock().unwrap().push(pen);
        async { answer(200, "text/event-stream", body) }
    });
    (server.await, pens)
}

/// An address at which nobody listens.
pub async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// A gateway that serves.
pub struct Running {
    pub at: Addresses,
    pub store: Arc<Store>,
    pub shared: Arc<Shared>,
    pub stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<()>,
}

/// A gateway before these servers, of which the first has the shortest queue.
pub async fn gateway(servers: &[SocketAddr]) -> Running {
    gateway_with(Config::standard(), servers, |_| {}).await
}

pub async fn gateway_with(
    config: Config,
    servers: &[SocketAddr],
    change: impl FnOnce(&mut Settings),
) -> Running {
    let store = Arc::new(Store::new(config.picker.with_at_least(3), 1));
    store.update(|directory| {
        for (i, address) in servers.iter().enumerate() {
            directory.apply(Endpoint::new(*address, "ns", &format!("pod-{i}")));
        }
    });
    for (i, address) in servers.iter().enumerate() {
        let waiting = 100.0 * i as f64;
        let metrics = Metrics {
            waiting,
            kv_usage: 0.1,
            ..Metrics::default()
        };
        store.observe(address, &metrics);
    }
    store.publish();
    store.set_synced();
    let local = "127.0.0.1:0".parse().unwrap();
    let mut settings = Settings {
        http: local,
        metrics: local,
        security: Security::Plain,
        drain: Duration::from_millis(600),
        handling: Handling {
            flow: config.flow,
            start_up_s: 0.0,
            ..Handling::default()
        },
        passing: Passing::default(),
    };
    change(&mut settings);
    let gateway = Gateway::bind(Arc::clone(&store), Clock::start(), settings).await;
    let gateway = gateway.unwrap();
    let (stop, stopped) = oneshot::channel();
    Running {
        at: gateway.addresses().unwrap(),
        store,
        shared: Arc::clone(gateway.shared()),
        stop: Some(stop),
        task: tokio::spawn(gateway.run(async {
            let _ = stopped.await;
        })),
    }
}

impl Running {
    /// A request that is about to be made.
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let uri = format!("http://{}{path}", self.at.http);
        Request::builder().method(method).uri(uri)
    }

    /// Posts a body; the answer's head.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Response<Incoming> {
        self.post_with(path, &[], body).await
    }

    pub async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let mut request = self.request(Method::POST, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Pieces::of(body)).unwrap();
        soon(client(false).request(request)).await.unwrap()
    }

    /// Requests in flight at servers.
    pub fn flying(&self) -> usize {
        self.store.state().inflight.requests()
    }

    /// Waits until nothing is in flight.
    pub async fn rests(&self) {
        until(|| self.flying() == 0).await;
    }

    /// The sum of all series of a metric whose line has all of `parts`.
    pub fn metric(&self, parts: &[&str]) -> f64 {
        let page = self.shared.metrics.text();
        let lines = page.lines().filter(|l| !l.starts_with('#'));
        let lines = lines.filter(|line| parts.iter().all(|part| line.contains(part)));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

/// A client of HTTP/1.1, or of HTTP/2 without TLS.
pub fn client(http2: bool) -> Client<HttpConnector, Pieces> {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.http2_only(http2).build_http()
}

/// The next piece of a body; `None` at its end.
pub async fn piece(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        let frame = soon(poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))).await?;
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => return Some(Ok(data)),
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

/// All of a body.
pub async fn collect(mut body: Incoming) -> Result<Bytes, hyper::Error> {
    let mut all = Vec::new();
    while let Some(piece) = piece(&mut body).await {
        all.extend_from_slice(&piece?);
    }
    Ok(all.into())
}

/// Status and JSON of an answer of the gateway's own.
pub async fn refusal(response: Response<Incoming>) -> (StatusCode, HeaderMap, serde_json::Value) {
    let (parts, body) = response.into_parts();
    let body = collect(body).await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    for key in ["message", "type", "code"] {
        assert!(json["error"][key].is_string(), "{json}");
    }
    (parts.status, parts.headers, json)
}
