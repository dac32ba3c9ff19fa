//! Down to no replica, and back when somebody asks.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Instant;

use axum::Router as Routes;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use super::asked::known;
use super::bed::Bed;
use super::pods;
use crate::site::CHEAP;

/// Where the gateway shows its metrics, on the cluster's address.
const GATEWAY: u16 = 9190;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_model_sleeps_until_somebody_asks() {
    let Some(bed) = Bed::start().await else {
        return;
    };
    let gateway = SocketAddrV4::new(bed.cluster.host(), GATEWAY);
    bed.apply(&json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "wva-model-scale-to-zero-config", "namespace": bed.system()},
        "data": {"default": "enable_scale_to_zero: true\nretention_period: \"8s\"\n"},
    }))
    .await;
    bed.deploy(CHEAP, 1).await;
    bed.replicas(CHEAP, "a replica", |n| n == 1).await;
    bed.autoscale(CHEAP, 0).await;
    let profile = [(0.0, 1.5), (600.0, 1.5)];
    let timeline = bed.timeline(&profile);
    let mut load = bed.load(&profile);
    let router = Arc::clone(&load.router);
    let listener = TcpListener::bind(gateway).await.unwrap();
    let page = Routes::new().route("/metrics", get(async move || router.page()));
    let server = tokio::spawn(axum::serve(listener, page).into_future());
    // The gateway is no pod of a pool, so the settings name it.
    let page = format!("http://{gateway}/metrics");
    let mut telemetry = pods();
    telemetry["routers"] = json!({"urls": [{"url": page, "namespace": bed.namespace}]});
    bed.controller(&telemetry).await;
    known(&bed).await;
    load.again(&[(0.0, 0.0), (0.1, 0.0)]);
    bed.replicas(CHEAP, "no replica", |n| n == 0).await;
    let asked = Instant::now();
    load.again(&[(0.0, 1.0), (15.0, 1.0)]);
    bed.replicas(CHEAP, "a replica again", |n| n >= 1).await;
    let awake = asked.elapsed();
    let outcome = load.end().await;
    timeline.print("a model that may sleep");
    println!("awake after {awake:.1?}; {outcome:?}\n{}", bed.decisions());
    assert_eq!(outcome.lost, 0, "whoever woke it was served");
    server.abort();
}
