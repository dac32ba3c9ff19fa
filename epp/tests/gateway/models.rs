//! One list of models for all servers.

use http::{Method, StatusCode};
use serde_json::Value;

use super::common::*;

const BASE: &str =
    r#"{"object":"list","data":[{"id":"base","object":"model","max_model_len":4096}]}"#;
const ADAPTERS: &str = r#"{"object":"list","data":[{"id":"sql","parent":"base"},{"id":"base","max_model_len":8192},{"x":1}]}"#;

async fn listed(running: &Running, key: &str) -> (StatusCode, Value) {
    let request = running.request(Method::GET, "/v1/models?a=b");
    let request = request
        .header("authorization", key)
        .body(Pieces::of(""))
        .unwrap();
    let response = soon(client(false).request(request)).await.unwrap();
    let status = response.status();
    let body = collect(response.into_body()).await.unwrap();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn what_any_server_lists_is_listed_once() {
    let kind = "application/json";
    let (base, adapters) = (
        Server::says(200, kind, BASE).await,
        Server::says(200, kind, ADAPTERS).await,
    );
    let (wrong, asleep) = (
        Server::says(200, kind, "[1]").await,
        Server::says(503, kind, "{}").await,
    );
    let servers = [&base, &adapters, &wrong, &asleep].map(|s| s.address);
    let running = gateway(&[&servers[..], &[nobody().await]].concat()).await;
    let (status, list) = listed(&running, "Bearer k").await;
    assert_eq!(
        (status, list["object"].as_str()),
        (StatusCode::OK, Some("list"))
    );
    let ids: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str())
        .collect();
    assert_eq!(ids, [Some("base"), Some("sql")]);
    assert_eq!(list["data"][1]["parent"], "base");
    let seen = base.seen();
    assert_eq!((seen.len(), seen[0].path.as_str()), (1, "/v1/models?a=b"));
    assert_eq!(seen[0].headers["authorization"], "Bearer k");
    // One model's page is a server's own.
    let request = running
        .request(Method::GET, "/v1/models/base")
        .body(Pieces::of(""))
        .unwrap();
    assert_eq!(
        soon(client(false).request(request)).await.unwrap().status(),
        StatusCode::OK
    );
    running.rests().await;
}

#[tokio::test]
async fn without_a_list_the_servers_own_status_is_told() {
    let locked = Server::says(401, "application/json", "{}").await;
    let running = gateway(&[nobody().await, locked.address]).await;
    let (status, page) = listed(&running, "none").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(page["error"]["message"].is_string());
    let (status, _) = listed(&gateway(&[nobody().await]).await, "none").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, page) = listed(&gateway(&[]).await, "none").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page["error"]["code"], "rejected-no-endpoints");
}
