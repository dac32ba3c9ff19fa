//! What passes, unchanged and at once.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wva_epp::server::tls::Security;
use wva_epp_core::config::Config;

use super::common::*;

/// A server that streams, and writes the next event only when the test has seen the last.
async fn streaming() -> (Server, tokio::sync::mpsc::Receiver<Pen>) {
    let (pens, written) = tokio::sync::mpsc::channel(64);
    let server = Server::start(move |_| {
        let pens = pens.clone();
        async move {
            let (pen, body) = Pieces::open();
            pens.send(pen).await.unwrap();
            answer(200, "text/event-stream; charset=utf-8", body)
        }
    })
    .await;
    (server, written)
}

#[tokio::test]
async fn events_pass_byte_for_byte_when_they_come() {
    let (server, mut pens) = streaming().await;
    let running = gateway(&[server.address]).await;
    let response = running.post(CHAT, BODY).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let slot = running.store.pool().slot(&server.address).unwrap();
    let pending = || running.store.state().inflight.load(slot).pending;
    assert_eq!((running.flying(), pending()), (1, 1));
    let (pen, mut body) = (soon(pens.recv()).await.unwrap(), response.into_body());
    for event in SSE {
        pen.write(event).await;
        let got = piece(&mut body).await.unwrap().unwrap();
        assert_eq!(got, event, "each before the next is written");
        assert_eq!(pending(), 0);
    }
    drop(pen);
    assert!(piece(&mut body).await.is_none());
    running.rests().await;
    assert_eq!(
        running.metric(&["llm_d_epp_request_input_tokens_sum"]),
        11.0
    );
    assert_eq!(
        running.metric(&["llm_d_epp_request_output_tokens_sum"]),
        5.0
    );
    assert_eq!(
        running.metric(&["llm_d_epp_request_ttft_seconds_count", "streaming=\"true\""]),
        1.0
    );
    assert_eq!(server.seen()[0].body, BODY);
}

#[tokio::test]
async fn five_megabytes_pass_both_ways() {
    let server = Server::start(async |seen| answer(200, "application/json", Pieces::of(seen.body)));
    let server = server.await;
    let running = gateway(&[server.address]).await;
    let words: String = (0..5 << 20)
        .map(|i| char::from(b'a' + (i % 23) as u8))
        .collect();
    let large = format!(r#"{{"model":"m","input":"{words}"}}"#);
    let response = running.post("/v1/embeddings", large.clone()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let got = collect(response.into_body()).await.unwrap();
    assert!(got == large, "{} of {} bytes", got.len(), large.len());
    assert_eq!(
        server.seen()[0].headers["content-length"],
        large.len().to_string()
    );
    running.rests().await;
}

#[tokio::test]
async fn a_length_that_the_server_states_is_stated() {
    let server = Server::start(async |_| {
        let mut response = answer(200, "application/json", Pieces::of("{\"ok\":true}"));
        let length = http::HeaderValue::from_static("11");
        response.headers_mut().insert("content-length", length);
        response
    });
    let server = server.await;
    let running = gateway(&[server.address]).await;
    let response = running.post(CHAT, BODY).await;
    assert_eq!(response.headers()["content-length"], "11");
    assert!(!response.headers().contains_key("transfer-encoding"));
    assert_eq!(
        collect(response.into_body()).await.unwrap(),
        "{\"ok\":true}"
    );
    running.rests().await;
    assert_eq!(running.metric(&["llm_d_epp_request_error_total"]), 0.0);
}

#[tokio::test]
async fn many_streams_share_a_connection_of_http2() {
    let (server, mut pens) = streaming().await;
    let running = gateway(&[server.address]).await;
    let stream = TcpStream::connect(running.at.http).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    let ask = |i: usize| {
        let (mut sender, request) = (sender.clone(), running.request(Method::POST, CHAT));
        let request = request.header("x-request-id", format!("r-{i}"));
        async move {
            let request = request.body(Pieces::of(BODY)).unwrap();
            let response = soon(sender.send_request(request)).await.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            response
        }
    };
    let responses = futures::future::join_all((0..20).map(ask)).await;
    assert_eq!(running.flying(), 20);
    for _ in 0..responses.len() {
        let pen = soon(pens.recv()).await.unwrap();
        for event in SSE {
            pen.write(event).await;
        }
    }
    for response in responses {
        let all = collect(response.into_body()).await.unwrap();
        assert_eq!(all, SSE.concat());
    }
    running.rests().await;
    let hosts: Vec<_> = server
        .seen()
        .iter()
        .map(|s| s.headers["host"].clone())
        .collect();
    assert!(
        hosts
            .iter()
            .all(|host| *host == running.at.http.to_string())
    );
}

#[tokio::test]
async fn tls_offers_both_versions_and_follows_the_client() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = std::env::temp_dir().join(format!("wva-gateway-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let server = Server::says(200, "application/json", "{}").await;
    let running = gateway_with(Config::standard(), &[server.address], |settings| {
        settings.security = Security::Folder(folder.clone());
    })
    .await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let http2 = version == Version::HTTP_2;
        config.alpn_protocols = vec![if http2 {
            b"h2".to_vec()
        } else {
            b"http/1.1".to_vec()
        }];
        let stream = TcpStream::connect(running.at.http).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = soon(connector.connect(name, stream)).await.unwrap();
        assert_eq!(
            stream.get_ref().1.alpn_protocol().map(<[u8]>::len),
            Some(if http2 { 2 } else { 8 })
        );
        let request = Request::post("https://localhost/v1/chat/completions");
        let request = request
            .header("host", "localhost")
            .body(Pieces::of(BODY))
            .unwrap();
        let io = TokioIo::new(stream);
        let response = if http2 {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            soon(sender.send_request(request)).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            soon(sender.send_request(request)).await.unwrap()
        };
        assert_eq!(
            (response.status(), response.version()),
            (StatusCode::OK, version)
        );
    }
    let seen = server.seen();
    assert!(
        seen.iter()
            .all(|s| s.headers["x-forwarded-proto"] == "https")
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn whatever_is_not_understood_passes_too() {
    let server =
        Server::start(async |seen| answer(200, "application/octet-stream", Pieces::of(seen.body)))
            .await;
    let running = gateway(&[server.address]).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for path in ["/v1/audio/transcriptions", "/v1/rerank?x=%C3%BC"] {
        let response = running.post(path, bytes.clone()).await;
        let got = collect(response.into_body()).await.unwrap();
        assert!(got == bytes, "{} bytes", got.len());
    }
    assert_eq!(server.seen()[1].path, "/v1/rerank?x=%C3%BC");
    let request = running.request(Method::GET, "/v1/models/m");
    let request = request.body(Pieces::of(Bytes::new())).unwrap();
    let response = soon(client(false).request(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(server.seen()[2].method, Method::GET);
}
