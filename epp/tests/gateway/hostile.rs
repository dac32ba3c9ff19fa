//! What is not meant well: smuggling, endless heads and bodies, other paths, nonsense.

use std::time::Duration;

use http::StatusCode;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wva_epp_core::config::Config;

use super::common::*;

/// Says these bytes on a connection of its own; all that is answered until the gateway closes it.
async fn say(running: &Running, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(running.at.http).await.unwrap();
    // Whoever has closed the connection reads no more.
    let _ = stream.write_all(bytes).await;
    let mut told = Vec::new();
    let _ = soon(stream.read_to_end(&mut told)).await;
    String::from_utf8_lossy(&told).into_owned()
}

async fn echo() -> Server {
    Server::start(async |seen| answer(200, "application/json", Pieces::of(seen.body))).await
}

const SMUGGLED: &str =
    "POST /v1/completions HTTP/1.1\r\nhost: smuggled\r\ncontent-length: 2\r\n\r\n{}";

#[rstest]
#[case("content-length: 4\r\ntransfer-encoding: chunked")]
#[case("transfer-encoding: chunked\r\ncontent-length: 4")]
#[case("transfer-encoding: chunked\r\ncontent-length: 9999")]
#[tokio::test]
async fn two_lengths_smuggle_nothing(#[case] lengths: &str) {
    let server = echo().await;
    let running = gateway(&[server.address]).await;
    let size = BODY.len();
    let told = say(
        &running,
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\n{lengths}\r\n\r\n{size:x}\r\n{BODY}\r\n0\r\n\r\n{SMUGGLED}"
        )
        .as_bytes(),
    )
    .await;
    assert_eq!(told.matches("HTTP/1.1").count(), 1, "{told}");
    let seen = server.seen();
    assert!(seen.len() <= 1, "{seen:?}");
    for seen in seen {
        assert_eq!((&seen.body[..], &seen.path[..]), (BODY.as_bytes(), CHAT));
        assert_eq!(seen.headers["content-length"], size.to_string());
        assert!(!seen.headers.contains_key("transfer-encoding"));
    }
}

#[rstest]
#[case("content-length: 2\r\ncontent-length: 3")]
#[case("content-length: 2, 3")]
#[case("content-length: +2")]
#[case("content-length: -2")]
#[case("content-length: 99999999999999999999999")]
#[case("transfer-encoding: chunked, identity")]
#[case("transfer-encoding: xchunked")]
#[case("transfer-encoding : chunked")]
#[case("host: a\r\nhost: b\r\ncontent-length: 2")]
#[case(" folded: 1")]
#[case("bad\u{0}name: 1")]
#[case("x: a\rb")]
#[tokio::test]
async fn ambiguous_heads_are_refused(#[case] header: &str) {
    let server = echo().await;
    let running = gateway(&[server.address]).await;
    let told = say(
        &running,
        format!("POST {CHAT} HTTP/1.1\r\nconnection: close\r\n{header}\r\n\r\n{{}}{SMUGGLED}")
            .as_bytes(),
    )
    .await;
    assert!(told.starts_with("HTTP/1.1 400"), "{told}");
    assert_eq!(told.matches("HTTP/1.1").count(), 1, "{told}");
    assert!(server.seen().is_empty());
}

#[rstest]
#[case("GET /sleep", 404)]
#[case("POST /v1/../sleep", 400)]
#[case("POST /v1/%2e%2e/sleep", 400)]
#[case("GET /metrics", 404)]
#[case("CONNECT 169.254.169.254:80", 405)]
#[tokio::test]
async fn what_is_no_request_for_a_model_goes_nowhere(#[case] line: &str, #[case] status: u16) {
    let server = echo().await;
    let running = gateway(&[server.address]).await;
    let told = say(
        &running,
        format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
    )
    .await;
    assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{told}");
    assert!(told.contains("\"error\":{\"message\":"), "{told}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_client_does_not_say_where_it_goes() {
    let server = echo().await;
    let running = gateway(&[server.address]).await;
    let head = "host: inside\r\nconnection: close\r\nx-prefiller-host-port: 169.254.169.254:80\r\n\
        x-gateway-destination-endpoint: 169.254.169.254:80\r\nx-forwarded-for: 203.0.113.9";
    let told = say(
        &running,
        format!(
            "POST http://outside{CHAT} HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{BODY}",
            BODY.len()
        )
        .as_bytes(),
    )
    .await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    let seen = &server.seen()[0];
    assert_eq!(
        (&seen.path[..], &seen.headers["host"]),
        (CHAT, &"outside".parse().unwrap())
    );
    assert!(!seen.headers.contains_key("x-prefiller-host-port"));
    assert!(!seen.headers.contains_key("x-gateway-destination-endpoint"));
    assert_eq!(seen.headers["x-forwarded-for"], "203.0.113.9, 127.0.0.1");
}

#[tokio::test]
async fn endless_heads_are_refused() {
    let server = echo().await;
    let running = gateway(&[server.address]).await;
    let long = format!("x: {}\r\n", "a".repeat(200_000));
    let many: String = (0..5000).map(|i| format!("x-{i}: a\r\n")).collect();
    for headers in [long, many] {
        let told = say(
            &running,
            format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\n{headers}content-length: 2\r\n\r\n{{}}")
                .as_bytes(),
        )
        .await;
        // The answer may be lost where more was sent than anybody reads.
        assert!(
            told.is_empty() || told.starts_with("HTTP/1.1 431"),
            "{told}"
        );
    }
    assert!(server.seen().is_empty());
    assert_eq!(running.post(CHAT, BODY).await.status(), StatusCode::OK);
}

#[rstest]
#[case("")]
#[case("PRI * HT")]
#[case("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ")]
#[case("\u{16}\u{3}\u{1}\u{2}\u{0}")]
#[tokio::test]
async fn whoever_says_too_little_is_not_waited_for(#[case] beginning: &str) {
    let running = gateway_with(Config::standard(), &[nobody().await], |settings| {
        settings.passing.head = Duration::from_millis(100);
    })
    .await;
    let told = say(&running, beginning.as_bytes()).await;
    assert!(!told.contains("200"), "{told}");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_not_waited_for() {
    let server = echo().await;
    let running = gateway_with(Config::standard(), &[server.address], |settings| {
        settings.passing.idle = Duration::from_millis(100);
    })
    .await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{{\"mod");
    let told = say(&running, head.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    assert!(server.seen().is_empty());
}

#[rstest]
#[case("content-length")]
#[case("transfer-encoding")]
#[tokio::test]
async fn too_large_a_body_is_refused_with_a_reason(#[case] framing: &str) {
    let server = echo().await;
    let running = gateway_with(Config::standard(), &[server.address], |settings| {
        settings.handling.most_body = 1 << 20;
    })
    .await;
    let body = vec![b' '; 6 << 20];
    let length = body.len().to_string();
    let stated = [("content-length", length.as_str())];
    let headers = if framing == "content-length" {
        &stated[..]
    } else {
        &[]
    };
    let (status, _, json) = refusal(running.post_with(CHAT, headers, body).await).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        json["error"]["message"],
        "request body is larger than 1048576 bytes"
    );
    assert!(server.seen().is_empty());
}

#[rstest]
#[case(b"{\"model\":\"m\",\"messages\":[")]
#[case(b"")]
#[case(b"{\"messages\":[1]}")]
#[case(b"{\"model\":\"m\",\"messages\":[\"\xc3\"]}")]
#[case(b"{\"model\":\"m\",\"messages\":[\"\xed\xa0\x80\"]}")]
#[tokio::test]
async fn bodies_that_no_server_takes_are_refused(#[case] body: &'static [u8]) {
    let server = echo().await;
    let running = gateway(&[server.address]).await;
    let (status, _, json) = refusal(running.post(CHAT, body).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(json["error"]["type"], "invalid_request_error");
    assert!(server.seen().is_empty());
    assert_eq!(running.flying(), 0);
}

#[tokio::test]
async fn nonsense_hurts_nobody() {
    let server = echo().await;
    let running = gateway_with(Config::standard(), &[server.address], |settings| {
        settings.passing.head = Duration::from_millis(200);
    })
    .await;
    let mut state = 1_u64;
    let talks = (0..40).map(|i| {
        let bytes: Vec<u8> = (0..200)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 33) as u8
            })
            .collect();
        let beginning = [
            "",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "POST / HTTP/1.1\r\n",
        ][i % 3];
        [beginning.as_bytes(), &bytes].concat()
    });
    let talks: Vec<_> = talks.collect();
    futures::future::join_all(talks.iter().map(|bytes| say(&running, bytes))).await;
    assert!(server.seen().is_empty());
    assert_eq!(running.post(CHAT, BODY).await.status(), StatusCode::OK);
}
