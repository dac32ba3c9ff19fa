//! Start-up, sleep, disconnects, draining, stopping.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use wva_emulator::{EmulatorError, Status};

use crate::{Pair, anywhere, client, emulator, llama};

/// A request for more tokens than any test waits for.
fn endless() -> Value {
    json!({"prompt": "a".repeat(4000), "max_tokens": 30_000, "ignore_eos": true, "stream": true})
}

#[tokio::test]
async fn while_it_loads_it_says_503_and_when() {
    let mut spec = llama();
    // Speed 100: an hour is 36 s.
    spec.start_up = Duration::from_secs(3600);
    let pair = Pair::new(spec);
    assert!(matches!(pair.server.status(), Status::Starting(_)));
    for path in ["/health", "/ping", "/readyz"] {
        assert_eq!(
            pair.get(path).await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
    assert_eq!(pair.get("/healthz").await.status(), StatusCode::OK);
    let answer = pair.post("/v1/completions", json!({"prompt": "hi"})).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u64 = answer.headers()["retry-after"]
        .to_str()
        .ok()
        .and_then(|s| s.parse().ok())
        .expect("seconds");
    assert!((1..=36).contains(&seconds));

    let mut spec = llama();
    spec.start_up = Duration::from_secs(10);
    let quick = Pair::new(spec);
    while quick.get("/health").await.status() != StatusCode::OK {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    quick.ask("/v1/completions", json!({"prompt": "hi"})).await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_memory() {
    let pair = Pair::new(llama());
    let mut stream = pair.post("/v1/completions", endless()).await;
    stream.chunk().await.expect("a chunk").expect("not the end");
    assert_eq!(pair.server.in_flight(), 1);
    assert!(pair.metric("vllm:kv_cache_usage_perc").await > 0.0);
    drop(stream);
    pair.until("vllm:num_requests_running", |n| n == 0.0).await;
    assert_eq!(pair.metric("vllm:kv_cache_usage_perc").await, 0.0);
    let aborted = "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\"";
    assert_eq!(pair.metric(aborted).await, 1.0);
    assert_eq!(pair.server.in_flight(), 0);

    // The same where nothing is streamed: the client gives up waiting.
    let mut body = endless();
    body["stream"] = false.into();
    let sent = pair.client.post(pair.url("/v1/completions")).json(&body);
    let gave_up = sent.timeout(Duration::from_millis(100)).send().await;
    assert!(gave_up.is_err_and(|e| e.is_timeout()));
    pair.until(aborted, |n| n == 2.0).await;
}

#[tokio::test]
async fn asleep_it_serves_nothing_and_awake_it_has_forgotten() {
    let pair = Pair::new(llama());
    let body = json!({"prompt": "a".repeat(400), "max_tokens": 2});
    pair.ask("/v1/completions", body.clone()).await;
    let mut stream = pair.post("/v1/completions", endless()).await;
    stream.chunk().await.expect("a chunk");
    assert_eq!(
        pair.post("/sleep?level=1", Value::Null).await.status(),
        StatusCode::OK
    );

    let rest = stream.text().await.expect("the answer ends");
    assert!(rest.contains(r#""finish_reason":"abort""#) && rest.ends_with("data: [DONE]\n\n"));
    let sleeping: Value = pair.get("/is_sleeping").await.json().await.expect("JSON");
    assert_eq!(sleeping["is_sleeping"], true);
    let state = r#"vllm:engine_sleep_state{engine="0",sleep_state="weights_offloaded""#;
    assert_eq!(pair.metric(state).await, 1.0);
    let refused = pair.post("/v1/completions", body.clone()).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(pair.get("/health").await.status(), StatusCode::OK);
    assert_eq!(
        pair.post("/sleep?level=7", Value::Null).await.status(),
        StatusCode::BAD_REQUEST
    );

    assert_eq!(
        pair.post("/wake_up", Value::Null).await.status(),
        StatusCode::OK
    );
    let answer = pair.ask("/v1/completions", body).await;
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
}

#[tokio::test]
async fn drained_it_finishes_what_it_has_and_frees_its_address() {
    let pair = Pair::new(llama());
    let body = json!({"prompt": "hi", "max_tokens": 2000, "ignore_eos": true, "stream": true});
    let mut stream = pair.post("/v1/completions", body).await;
    let mut text = stream
        .chunk()
        .await
        .expect("a chunk")
        .expect("not the end")
        .to_vec();
    // Somebody who never says anything holds up nothing.
    let _silent = std::net::TcpStream::connect(pair.server.address()).expect("a connection");
    let server = pair.server.clone();
    let draining = tokio::spawn(async move { server.drain().await });
    while pair.get("/health").await.status() == StatusCode::OK {
        tokio::task::yield_now().await;
    }
    assert_eq!(pair.server.status(), Status::Draining);
    let refused = pair.post("/v1/completions", json!({"prompt": "hi"})).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);

    while let Some(chunk) = stream.chunk().await.expect("a whole answer") {
        text.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8_lossy(&text).ends_with("data: [DONE]\n\n"));
    draining.await.expect("no panic");
    assert!(pair.client.get(pair.url("/health")).send().await.is_err());
    std::net::TcpListener::bind(pair.server.address()).expect("the address is free");
}

#[tokio::test]
async fn stopped_it_breaks_its_connections() {
    let emulator = emulator(100.0);
    let pair = Pair {
        server: emulator.spawn_server(llama()).expect("a free port"),
        client: client(),
    };
    let mut stream = pair.post("/v1/completions", endless()).await;
    stream.chunk().await.expect("a chunk");
    pair.server.stop().await;
    let rest = stream.text().await;
    assert!(rest.is_err(), "the answer is broken off");
    assert!(pair.client.get(pair.url("/health")).send().await.is_err());
    assert!(emulator.servers().is_empty());

    let mut again = llama();
    again.address = pair.server.address();
    emulator
        .spawn_server(again.clone())
        .expect("the address is free");
    let taken = emulator
        .spawn_server(again)
        .expect_err("the address is taken");
    assert!(matches!(taken, EmulatorError::Listen { .. }));
}

#[tokio::test]
async fn servers_end_with_their_emulator() {
    let emulator = emulator(1.0);
    let mut spec = llama();
    spec.address = anywhere();
    let url = emulator.spawn_server(spec).expect("a free port").url();
    let client = client();
    assert!(client.get(format!("{url}/health")).send().await.is_ok());
    drop(emulator);
    for _ in 0..200 {
        if client.get(format!("{url}/health")).send().await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it still answers");
}
