//! Clients: one for most requests, and one that writes and reads bytes where those matter.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A client without connections of its own to keep: each test has a runtime of its own.
pub fn client() -> Client {
    static READY: LazyLock<()> = LazyLock::new(wva_testbed::use_ring);
    LazyLock::force(&READY);
    let builder = Client::builder().no_proxy().tls_certs_only([]);
    let builder = builder.timeout(Duration::from_secs(60));
    builder.pool_max_idle_per_host(0).build().unwrap()
}

/// A request for a completion.
pub fn completion(model: &str, prompt: &str) -> Value {
    json!({"model": model, "prompt": prompt, "max_tokens": 5})
}

/// What came back: status, body, and of a refusal its reason and the seconds after which to come back.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub reason: Option<String>,
    pub retry_after: Option<u32>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Posts a body, with more headers.
pub async fn post(url: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> Answer {
    let mut request = client().post(url).body(body);
    request = request.header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map(|v| v.to_str().unwrap().to_owned())
    };
    Answer {
        status: response.status().as_u16(),
        reason: header("x-llm-d-request-dropped-reason"),
        retry_after: header("retry-after").map(|v| v.parse().unwrap()),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

/// Posts pieces as chunks, with time between them; the body of the answer.
pub async fn post_pieces(to: SocketAddr, path: &str, pieces: &[&[u8]]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in pieces {
        let size = format!("{:x}\r\n", piece.len());
        stream.write_all(size.as_bytes()).await.unwrap();
        stream.write_all(piece).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    parsed(&answer)
}

fn parsed(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = &answer[end + 4..];
    let chunked = head.contains("transfer-encoding: chunked");
    Answer {
        status: head[9..12].parse().unwrap(),
        reason: None,
        retry_after: None,
        body: if chunked { joined(body) } else { body.to_vec() },
    }
}

fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|w| w == b"\r\n").unwrap();
        let size = std::str::from_utf8(&chunks[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunks[end + 2..end + 2 + size]);
        chunks = &chunks[end + 2 + size + 2..];
    }
}
