//! Real HTTP over loopback. Latencies are the engine's own tests' business, in simulated time; here the servers run a
//! hundred times as fast, and only orders are asserted.

mod answers;
mod disaggregation;
mod faces;
mod lifecycle;
mod many;

use std::net::SocketAddr;
use std::sync::Once;

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use wva_emulator::{Config, Emulator, Handle, ServerHandle, ServerSpec};

/// A free port of 127.0.0.1.
pub fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Llama on an L40S, ready at once.
pub fn llama() -> ServerSpec {
    ServerSpec::of("llama-3.1-8b", "l40s", anywhere()).expect("built in")
}

/// An emulator whose servers are this many times as fast.
pub fn emulator(speed: f64) -> Handle {
    Emulator::start(Config { speed }).expect("a sound speed")
}

/// An HTTP client.
pub fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().no_proxy().build().expect("a client")
}

/// A server and somebody to ask it.
pub struct Pair {
    /// The server.
    pub server: ServerHandle,
    /// The client.
    pub client: Client,
}

impl Pair {
    /// A server of its own emulator, a hundred times as fast.
    pub fn new(spec: ServerSpec) -> Self {
        Self {
            server: emulator(100.0).spawn_server(spec).expect("a free port"),
            client: client(),
        }
    }

    /// Where a path of the server is.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    /// Asks for a path.
    pub async fn get(&self, path: &str) -> Response {
        let answer = self.client.get(self.url(path)).send().await;
        answer.expect("an answer")
    }

    /// Sends JSON.
    pub async fn post(&self, path: &str, body: Value) -> Response {
        let request = self.client.post(self.url(path)).json(&body);
        request.send().await.expect("an answer")
    }

    /// Sends JSON, and expects JSON back.
    pub async fn ask(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.expect("JSON")
    }

    /// Value of a sample on the metrics page.
    pub async fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").await.text().await.expect("text");
        let line = page.lines().find(|l| l.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not on the page"));
        let (_, value) = line.rsplit_once(' ').expect("a value");
        value.parse().expect("a number")
    }

    /// Waits until a metric is as it should be.
    pub async fn until(&self, name: &str, holds: impl Fn(f64) -> bool) {
        for _ in 0..2_000 {
            if holds(self.metric(name).await) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("{name} is {}", self.metric(name).await);
    }
}

/// The data of each event of a stream.
pub fn events(text: &str) -> Vec<&str> {
    assert!(text.ends_with("\n\n"), "the last event is complete");
    let events = text.split_terminator("\n\n");
    events
        .map(|event| event.strip_prefix("data: ").expect("a data event"))
        .collect()
}
