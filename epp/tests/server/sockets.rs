//! Over real connections: gRPC, TLS, health, metrics, and the end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use wva_epp::clock::Clock;
use wva_epp::server::health::{HealthCheckRequest, HealthCheckResponse, PROCESSOR};
use wva_epp::server::shared::Handling;
use wva_epp::server::tls::Security;
use wva_epp::server::wire::{ProcessingRequest, ProcessingResponse};
use wva_epp::server::{Addresses, ServeError, Server, Settings};
use wva_epp::store::Store;
use wva_epp_core::config::Config;

use super::common::*;

pub struct Running {
    pub at: Addresses,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

pub async fn bind(store: &Arc<Store>, security: Security) -> Result<Server, ServeError> {
    let local = "127.0.0.1:0".parse().unwrap();
    let settings = Settings {
        grpc: local,
        health: local,
        metrics: local,
        security,
        most_message: 4 << 20,
        drain: Duration::from_millis(600),
        handling: Handling::default(),
    };
    Server::bind(Arc::clone(store), Clock::start(), settings).await
}

pub async fn run(store: &Arc<Store>, security: Security) -> Running {
    let server = bind(store, security).await.unwrap();
    let (stop, stopped) = oneshot::channel();
    Running {
        at: server.addresses().unwrap(),
        stop: Some(stop),
        task: tokio::spawn(server.run(async {
            let _ = stopped.await;
        })),
    }
}

impl Running {
    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.at.grpc)).unwrap();
        endpoint.connect().await.unwrap()
    }
}

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(20), future).await;
    outcome.expect("it comes soon")
}

async fn until(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The answers of a stream. Their head comes with the first of them, so it can only be waited for when something was said.
pub enum Answers {
    Asked(JoinHandle<Result<Response<Streaming<ProcessingResponse>>, Status>>),
    Begun(Box<Streaming<ProcessingResponse>>),
}

impl Answers {
    async fn message(&mut self) -> Result<Option<ProcessingResponse>, Status> {
        loop {
            match self {
                Self::Begun(answers) => return answers.message().await,
                Self::Asked(head) => {
                    *self = Self::Begun(Box::new(head.await.unwrap()?.into_inner()))
                }
            }
        }
    }
}

pub async fn process(channel: Channel) -> (mpsc::Sender<ProcessingRequest>, Answers) {
    let (sender, receiver) = mpsc::channel(64);
    let messages = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|message| (message, receiver))
    });
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
        .parse()
        .unwrap();
    let codec: ProstCodec<ProcessingRequest, ProcessingResponse> = ProstCodec::default();
    let head = async move { grpc.streaming(Request::new(messages), path, codec).await };
    (sender, Answers::Asked(tokio::spawn(head)))
}

pub async fn next(answers: &mut Answers) -> Result<Option<ProcessingResponse>, Status> {
    soon(answers.message()).await
}

pub async fn check(channel: Channel, service: &str) -> Result<i32, Code> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
    let path = "/grpc.health.v1.Health/Check".parse().unwrap();
    let request = Request::new(HealthCheckRequest {
        service: service.to_owned(),
    });
    let answer = soon(grpc.unary(request, path, codec)).await;
    answer.map(|a| a.into_inner().status).map_err(|s| s.code())
}

#[tokio::test]
async fn a_request_and_its_answer_go_over_a_connection() {
    let store = standard(2);
    let running = run(&store, Security::Plain).await;
    let (sender, mut answers) = process(running.channel().await).await;
    for message in [post(CHAT), body(&BODY[..9], false), body(&BODY[9..], true)] {
        sender.send(message).await.unwrap();
    }
    let first = next(&mut answers).await.unwrap().unwrap();
    assert_eq!(destination(&first), "10.0.0.1:8000");
    let second = next(&mut answers).await.unwrap().unwrap();
    assert_eq!(whole(&[second]), BODY.as_bytes());
    sender
        .send(answer_headers("application/json", false))
        .await
        .unwrap();
    sender.send(answer("{}", true)).await.unwrap();
    for _ in 0..2 {
        next(&mut answers).await.unwrap().unwrap();
    }
    drop(sender);
    assert!(
        next(&mut answers).await.unwrap().is_none(),
        "both sides have ended"
    );
    assert_eq!(store.state().inflight.requests(), 0);
}

/// A proxy that has seen nothing of an answer may ask another picker.
#[tokio::test]
async fn nothing_is_answered_before_a_decision_and_nothing_decided_before_the_endpoints_are_known()
{
    let store = Arc::new(Store::new(Config::standard().picker, 1));
    let running = run(&store, Security::Plain).await;
    let (sender, mut answers) = process(running.channel().await).await;
    // It may have been refused by then.
    let _ = sender.send(post(CHAT)).await;
    let refused = next(&mut answers).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    add(&store, 1..=2);
    store.set_synced();
    let (sender, mut answers) = process(running.channel().await).await;
    sender.send(post(CHAT)).await.unwrap();
    sender.send(body(&BODY[..9], false)).await.unwrap();
    let Answers::Asked(head) = &mut answers else {
        panic!("just asked");
    };
    let head = tokio::time::timeout(Duration::from_millis(100), head);
    assert!(head.await.is_err(), "the request has not ended");
    sender.send(body(&BODY[9..], true)).await.unwrap();
    destination(&next(&mut answers).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_refusal_ends_the_stream_well() {
    let running = run(&standard(2), Security::Plain).await;
    let (sender, mut answers) = process(running.channel().await).await;
    sender.send(post(CHAT)).await.unwrap();
    sender.send(body("{", true)).await.unwrap();
    let refusal = next(&mut answers).await.unwrap().unwrap();
    assert_eq!(status(&[refusal]).0, 400);
    assert!(next(&mut answers).await.unwrap().is_none());
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let store = standard(2);
    let running = run(&store, Security::Plain).await;
    let (sender, mut answers) = process(running.channel().await).await;
    sender.send(post(CHAT)).await.unwrap();
    sender.send(body(BODY, true)).await.unwrap();
    next(&mut answers).await.unwrap().unwrap();
    assert_eq!(store.state().inflight.requests(), 1);
    drop((sender, answers));
    until(|| store.state().inflight.requests() == 0).await;
}

#[tokio::test]
async fn too_large_a_message_is_refused_and_the_server_lives() {
    let store = standard(2);
    let running = run(&store, Security::Plain).await;
    let channel = running.channel().await;
    let (sender, mut answers) = process(channel.clone()).await;
    sender.send(post(CHAT)).await.unwrap();
    let _ = sender.send(body(vec![b' '; 5_000_000], true)).await;
    let refused = next(&mut answers).await.unwrap_err();
    assert!(
        matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{refused}"
    );
    let (sender, mut answers) = process(channel).await;
    sender.send(post(CHAT)).await.unwrap();
    sender.send(body(BODY, true)).await.unwrap();
    destination(&next(&mut answers).await.unwrap().unwrap());
}

#[tokio::test]
async fn health_is_told_by_service() {
    let store = Arc::new(Store::new(Config::standard().picker, 1));
    let running = run(&store, Security::Plain).await;
    let health = Endpoint::from_shared(format!("http://{}", running.at.health)).unwrap();
    let channel = health.connect().await.unwrap();
    assert_eq!(check(channel.clone(), "").await, Ok(2));
    assert_eq!(check(channel.clone(), "liveness").await, Ok(1));
    store.set_synced();
    for service in ["", "readiness", PROCESSOR] {
        assert_eq!(check(channel.clone(), service).await, Ok(1), "{service}");
        assert_eq!(
            check(running.channel().await, service).await,
            Ok(1),
            "{service}"
        );
    }
    assert_eq!(check(channel.clone(), "nobody").await, Err(Code::NotFound));
    store.set_leading(false);
    assert_eq!(check(channel.clone(), PROCESSOR).await, Ok(2));
    assert_eq!(check(channel.clone(), "liveness").await, Ok(1));
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
    let path = "/grpc.health.v1.Health/Watch".parse().unwrap();
    let request = Request::new(HealthCheckRequest::default());
    let watched = soon(grpc.server_streaming(request, path, codec))
        .await
        .unwrap();
    let mut watched = watched.into_inner();
    assert_eq!(soon(watched.message()).await.unwrap().unwrap().status, 2);
    store.set_leading(true);
    assert_eq!(soon(watched.message()).await.unwrap().unwrap().status, 1);
    assert!(HealthCheckRequest::default().encode_to_vec().is_empty());
}

#[tokio::test]
async fn at_the_end_streams_are_finished_and_new_ones_unwanted() {
    let store = standard(2);
    let mut running = run(&store, Security::Plain).await;
    let channel = running.channel().await;
    let (sender, mut answers) = process(channel.clone()).await;
    sender.send(post(CHAT)).await.unwrap();
    sender.send(body(BODY, true)).await.unwrap();
    next(&mut answers).await.unwrap().unwrap();
    running.stop.take().unwrap().send(()).unwrap();
    until(|| !store.is_ready()).await;
    assert_eq!(check(channel.clone(), "").await, Ok(2));
    next(&mut answers).await.unwrap().unwrap();
    sender
        .send(answer_headers("application/json", true))
        .await
        .unwrap();
    next(&mut answers).await.unwrap().unwrap();
    drop(sender);
    assert!(next(&mut answers).await.unwrap().is_none());
    soon(running.task).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_does_not_end_is_cut_off_after_the_drain_time() {
    let store = standard(2);
    let mut running = run(&store, Security::Plain).await;
    let (sender, mut answers) = process(running.channel().await).await;
    sender.send(post(CHAT)).await.unwrap();
    sender.send(body(BODY, true)).await.unwrap();
    next(&mut answers).await.unwrap().unwrap();
    running.stop.take().unwrap().send(()).unwrap();
    soon(running.task).await.unwrap();
}

#[tokio::test]
async fn metrics_and_readiness_are_pages() {
    let store = standard(2);
    let running = run(&store, Security::Plain).await;
    let page = async |path: &str| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(running.at.metrics)
            .await
            .unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        soon(stream.read_to_string(&mut text)).await.unwrap();
        text
    };
    assert!(page("/readyz").await.starts_with("HTTP/1.1 200"));
    store.set_leading(false);
    assert!(page("/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(page("/healthz").await.starts_with("HTTP/1.1 200"));
    let metrics = page("/metrics").await;
    assert!(
        metrics.contains("inference_pool_ready_pods{name=\"\"} 2.0"),
        "{metrics}"
    );
    assert!(
        metrics.contains("application/openmetrics-text"),
        "{metrics}"
    );
}
