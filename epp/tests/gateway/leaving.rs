//! Clients that go away, and a gateway that does.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rstest::rstest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use wva_epp_core::config::Config;
use wva_epp_core::flow::FlowSettings;
use wva_epp_core::saturation::Detector;

use super::common::*;

#[rstest]
#[case(false)]
#[case(true)]
#[tokio::test]
async fn a_client_that_goes_stops_the_server(#[case] http2: bool) {
    let (server, pens) = written().await;
    let running = gateway(&[server.address]).await;
    let request = running.request(Method::POST, CHAT);
    let request = request.body(Pieces::of(BODY)).unwrap();
    let client = client(http2);
    let response = soon(client.request(request)).await.unwrap();
    let mut body = response.into_body();
    let pen = pens.lock().unwrap().pop().unwrap();
    pen.write(SSE[0]).await;
    piece(&mut body).await.unwrap().unwrap();
    assert_eq!(running.flying(), 1);
    drop(body);
    pen.unread().await;
    running.rests().await;
    let aborted = running.metric(&["llm_d_epp_request_error_total", "Aborted"]);
    assert_eq!(aborted, 1.0);
    assert_eq!(running.metric(&["llm_d_epp_request_running{"]), 0.0);
}

#[rstest]
#[case(false)]
#[case(true)]
#[tokio::test]
async fn also_before_it_answers(#[case] http2: bool) {
    struct Told(Arc<Notify>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let gone = Arc::new(Notify::new());
    let told = Arc::clone(&gone);
    let server = Server::start(move |_| {
        let told = Told(Arc::clone(&told));
        async move {
            std::future::pending::<()>().await;
            drop(told);
            answer(200, "text/plain", Pieces::of("never"))
        }
    })
    .await;
    let running = gateway(&[server.address]).await;
    let request = running.request(Method::POST, CHAT);
    let request = request.body(Pieces::of(BODY)).unwrap();
    let client = client(http2);
    let asking = tokio::spawn(async move { client.request(request).await });
    until(|| server.seen().len() == 1).await;
    assert_eq!(running.flying(), 1);
    asking.abort();
    soon(gone.notified()).await;
    running.rests().await;
}

#[tokio::test]
async fn whoever_goes_while_waiting_leaves_no_trace() {
    let (server, pens) = written().await;
    let running = gateway_with(narrow(), &[server.address], |_| {}).await;
    let first = running.post(CHAT, BODY).await;
    let request = running.request(Method::POST, CHAT);
    let request = request.body(Pieces::of(BODY)).unwrap();
    let asking = tokio::spawn(async move { client(false).request(request).await });
    until(|| running.shared.admission.waiting() == 1).await;
    asking.abort();
    until(|| running.shared.admission.waiting() == 0).await;
    assert_eq!((running.flying(), server.seen().len()), (1, 1));
    drop(first);
    running.rests().await;
    drop(pens);
}

/// One place on each server, and a queue.
pub fn narrow() -> Config {
    let mut config = Config::standard();
    config.flow = Some(FlowSettings::default());
    config.picker.detector = Detector::Concurrency {
        requests: 1.0,
        tokens: f64::INFINITY,
        headroom: 0.0,
    };
    config
}

#[rstest]
#[case(false)]
#[case(true)]
#[tokio::test]
async fn told_to_end_it_finishes_what_has_begun(#[case] http2: bool) {
    let (server, pens) = written().await;
    let mut running = gateway_with(Config::standard(), &[server.address], |settings| {
        settings.drain = Duration::from_secs(6);
    })
    .await;
    let request = running.request(Method::POST, CHAT);
    let request = request.body(Pieces::of(BODY)).unwrap();
    let response = soon(client(http2).request(request)).await.unwrap();
    let pen = pens.lock().unwrap().pop().unwrap();
    pen.write(SSE[0]).await;
    running.stop.take().unwrap().send(()).unwrap();
    until(|| !running.store.is_ready()).await;
    // Refused from here on.
    soon(async {
        while TcpStream::connect(running.at.http).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pen.write(SSE[1]).await;
    pen.write(SSE[2]).await;
    drop(pen);
    let all = collect(response.into_body()).await.unwrap();
    assert_eq!(all, SSE.concat());
    soon(running.task).await.unwrap();
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_after_the_drain_time() {
    let (server, pens) = written().await;
    let mut running = gateway(&[server.address]).await;
    let response = running.post(CHAT, BODY).await;
    let pen = pens.lock().unwrap().pop().unwrap();
    pen.write(SSE[0]).await;
    running.stop.take().unwrap().send(()).unwrap();
    soon(&mut running.task).await.unwrap();
    drop(response);
}
