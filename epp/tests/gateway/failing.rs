//! Servers that fail: what is tried again, what is not, and what the client is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wva_epp_core::config::Config;

use super::common::*;

/// A server that reads what is sent to it, writes `text`, and closes the connection; how many connections it had.
async fn abrupt(text: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Relaxed);
            let mut read = Vec::new();
            while !read.ends_with(b"}") && stream.read_buf(&mut read).await.unwrap_or(0) > 0 {}
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    (address, count)
}

async fn good() -> Server {
    Server::says(200, "application/json", "{\"ok\":true}").await
}

#[tokio::test]
async fn a_server_that_is_down_is_passed_over_and_then_left_out() {
    let (down, up) = (nobody().await, good().await);
    let running = gateway(&[down, up.address]).await;
    for _ in 0..5 {
        let response = running.post(CHAT, BODY).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            collect(response.into_body()).await.unwrap(),
            "{\"ok\":true}"
        );
        running.rests().await;
    }
    assert_eq!(up.seen().len(), 5);
    let tried = running.metric(&["wva_gateway_unserved_attempts_total"]);
    let unreachable = running.metric(&["unserved_attempts_total", "server-unreachable"]);
    assert_eq!(tried, unreachable);
    // The first alone, unless a second or more has passed.
    assert!((1.0..5.0).contains(&tried), "{tried}");
    assert_eq!(running.metric(&["llm_d_epp_request_error_total"]), 0.0);
}

#[tokio::test]
async fn whoever_serves_instead_is_the_one_that_counts() {
    let (down, (up, pens)) = (nobody().await, written().await);
    let running = gateway(&[down, up.address]).await;
    let response = running.post(CHAT, BODY).await;
    let load = |address| {
        let slot = running.store.pool().slot(&address).unwrap();
        running.store.state().inflight.load(slot).requests
    };
    assert_eq!((load(down), load(up.address)), (0, 1));
    pens.lock().unwrap().clear();
    collect(response.into_body()).await.unwrap();
    running.rests().await;
}

#[tokio::test]
async fn nobody_at_all_is_told_with_the_time_to_try_again() {
    let running = gateway(&[nobody().await, nobody().await]).await;
    let response = running.post(CHAT, BODY).await;
    let (status, headers, json) = refusal(response).await;
    assert_eq!(
        (status, &headers["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    assert_eq!(
        headers["x-llm-d-request-dropped-reason"],
        "server-unreachable"
    );
    let message = json["error"]["message"].as_str().unwrap();
    assert!(message.contains("cannot connect"), "{json}");
    assert_eq!(running.flying(), 0);
    assert_eq!(
        running.metric(&["wva_gateway_unserved_attempts_total"]),
        2.0
    );
    assert_eq!(
        running.metric(&["request_error_total{", "ModelServerError"]),
        2.0,
        "under both names"
    );
}

#[rstest]
#[case(CHAT, BODY, true)]
#[case("/v1/completions", r#"{"model":"m","prompt":"a"}"#, true)]
#[case("/v1/messages", r#"{"model":"m","messages":[1]}"#, true)]
#[case("/v1/responses", r#"{"model":"m","input":"a"}"#, false)]
#[case("/v1/fine_tuning/jobs", r#"{"model":"m"}"#, false)]
#[tokio::test]
async fn a_broken_connection_is_tried_again_where_that_does_no_harm(
    #[case] path: &str,
    #[case] body: &'static str,
    #[case] again: bool,
) {
    let ((breaks, count), up) = (abrupt("").await, good().await);
    let running = gateway(&[breaks, up.address]).await;
    let response = running.post(path, body).await;
    assert_eq!((count.load(Relaxed), up.seen().len()), (1, again.into()));
    if again {
        assert_eq!(response.status(), StatusCode::OK);
    } else {
        let (status, headers, _) = refusal(response).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert_eq!(
            headers["x-llm-d-request-dropped-reason"],
            "server-broke-off"
        );
    }
    running.rests().await;
}

#[tokio::test]
async fn a_503_is_taken_elsewhere_and_the_last_one_is_passed_on() {
    let (asleep, up) = (
        Server::says(503, "text/plain", "asleep").await,
        good().await,
    );
    let running = gateway(&[asleep.address, up.address]).await;
    assert_eq!(running.post(CHAT, BODY).await.status(), StatusCode::OK);
    assert_eq!(
        running.metric(&["unserved_attempts_total", "unavailable"]),
        1.0
    );
    let other = Server::says(503, "text/plain", "asleep").await;
    let running = gateway(&[asleep.address, other.address]).await;
    let response = running.post(CHAT, BODY).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(collect(response.into_body()).await.unwrap(), "asleep");
    running.rests().await;
}

#[rstest]
#[case(400)]
#[case(404)]
#[case(429)]
#[case(500)]
#[tokio::test]
async fn other_statuses_are_answers(#[case] status: u16) {
    let (refuses, up) = (Server::says(status, "text/plain", "no").await, good().await);
    let running = gateway(&[refuses.address, up.address]).await;
    let response = running.post(CHAT, BODY).await;
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(collect(response.into_body()).await.unwrap(), "no");
    assert!(up.seen().is_empty());
    running.rests().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_and_not_tried_again() {
    for http2 in [false, true] {
        let (dies, pens) = written().await;
        let up = good().await;
        let running = gateway(&[dies.address, up.address]).await;
        let request = running.request(http::Method::POST, CHAT);
        let request = request.body(Pieces::of(BODY)).unwrap();
        let response = soon(client(http2).request(request)).await.unwrap();
        let mut body = response.into_body();
        let pen = pens.lock().unwrap().pop().unwrap();
        pen.write(SSE[0]).await;
        assert_eq!(piece(&mut body).await.unwrap().unwrap(), SSE[0]);
        pen.break_off().await;
        assert!(
            piece(&mut body).await.unwrap().is_err(),
            "cut, not ended: http2 {http2}"
        );
        assert!(up.seen().is_empty());
        running.rests().await;
        let failed = running.metric(&["llm_d_epp_request_error_total", "ModelServerError"]);
        assert_eq!(failed, 1.0);
    }
}

#[tokio::test]
async fn nonsense_is_no_answer() {
    let ((nonsense, _), up) = (abrupt("SSH-2.0-OpenSSH_9.2\r\n").await, good().await);
    let running = gateway(&[nonsense, up.address]).await;
    let (status, headers, _) = refusal(running.post(CHAT, BODY).await).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(headers["x-llm-d-request-dropped-reason"], "server-nonsense");
    assert!(up.seen().is_empty());
    assert_eq!(running.flying(), 0);
}

#[tokio::test]
async fn whoever_takes_too_long_to_begin_is_given_up() {
    let gone = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&gone);
    let slow = Server::start(move |_| {
        let gone = Gone(Arc::clone(&counted));
        async move {
            std::future::pending::<()>().await;
            drop(gone);
            answer(200, "text/plain", Pieces::of("never"))
        }
    })
    .await;
    let running = gateway_with(Config::standard(), &[slow.address], |settings| {
        settings.passing.first_byte = Some(Duration::from_millis(50));
    })
    .await;
    let (status, headers, _) = refusal(running.post(CHAT, BODY).await).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(headers["x-llm-d-request-dropped-reason"], "server-late");
    until(|| gone.load(Relaxed) == 1).await;
    assert_eq!(running.flying(), 0);
}

/// Counts when it is dropped.
struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_cut() {
    let (silent, pens) = written().await;
    let running = gateway_with(Config::standard(), &[silent.address], |settings| {
        settings.passing.idle = Duration::from_millis(200);
    })
    .await;
    let mut body = running.post(CHAT, BODY).await.into_body();
    let pen = pens.lock().unwrap().pop().unwrap();
    pen.write(SSE[0]).await;
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), SSE[0]);
    assert!(piece(&mut body).await.unwrap().is_err());
    pen.unread().await;
    running.rests().await;
}
