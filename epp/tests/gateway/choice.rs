//! The same choice as behind Envoy: rewrites, queues, stages, headers, pages.

use http::{Method, StatusCode};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wva_epp::objectives::{Objectives, Targets};
use wva_epp_core::config::Config;
use wva_epp_core::endpoint::Endpoint;
use wva_epp_core::flow::FlowSettings;

use super::common::*;
use super::leaving::narrow;

#[rstest]
#[case("application/json", &["{\"model\":\"m-", "v2\",\"choices\":[]", "}"])]
#[case("text/event-stream", &["data: {\"mod", "el\" : \"m-v2\",\"choices\":[]}\n\ndata: {\"model\":\"m-v2\"", "}\n\n"])]
#[tokio::test]
async fn a_rewritten_model_goes_out_and_the_asked_one_comes_back(
    #[case] kind: &'static str,
    #[case] parts: &'static [&'static str],
) {
    let server = Server::start(move |_| async move {
        let (pen, body) = Pieces::open();
        tokio::spawn(async move {
            for part in parts {
                pen.write(*part).await;
            }
        });
        let mut response = answer(200, kind, body);
        let length: usize = parts.iter().map(|p| p.len()).sum();
        response
            .headers_mut()
            .insert("content-length", length.into());
        response
    })
    .await;
    let running = gateway(&[server.address]).await;
    running.store.set_objectives(Objectives {
        exact: [("m".to_owned(), Targets::new([("m-v2".to_owned(), 1)]))].into(),
        ..Objectives::default()
    });
    let response = running.post(CHAT, BODY).await;
    assert!(!response.headers().contains_key("content-length"));
    let got = collect(response.into_body()).await.unwrap();
    assert_eq!(got, parts.concat().replace("m-v2", "m"));
    let sent = BODY.replace("\"m\"", "\"m-v2\"");
    let seen = &server.seen()[0];
    assert_eq!(seen.body, sent);
    assert_eq!(seen.headers["content-length"], sent.len().to_string());
    running.rests().await;
    assert!(running.metric(&["request_total", "target_model_name=\"m-v2\""]) > 0.0);
}

fn queue_of_one() -> Config {
    let flow = FlowSettings {
        max_requests: 1,
        ..FlowSettings::default()
    };
    Config {
        flow: Some(flow),
        ..narrow()
    }
}

#[tokio::test]
async fn a_full_pool_makes_wait_and_refuses_what_is_too_much() {
    let (server, pens) = written().await;
    let running = gateway_with(queue_of_one(), &[server.address], |_| {}).await;
    running.store.set_objectives(Objectives {
        priorities: [("batch".to_owned(), -1)].into(),
        ..Objectives::default()
    });
    let first = running.post(CHAT, BODY).await;
    let request = running.request(Method::POST, CHAT);
    let waiting = tokio::spawn(client(false).request(request.body(Pieces::of(BODY)).unwrap()));
    until(|| running.shared.admission.waiting() == 1).await;
    let batch = [("x-llm-d-inference-objective", "batch")];
    let (status, headers, json) = refusal(running.post_with(CHAT, &batch, BODY).await).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        headers["x-llm-d-request-dropped-reason"],
        "rejected-capacity"
    );
    assert_eq!(json["error"]["type"], "rate_limit_error");
    assert_eq!(server.seen().len(), 1);
    pens.lock().unwrap().clear();
    collect(first.into_body()).await.unwrap();
    let second = soon(waiting).await.unwrap().unwrap();
    assert_eq!(second.status(), StatusCode::OK);
    pens.lock().unwrap().clear();
    collect(second.into_body()).await.unwrap();
    running.rests().await;
}

#[tokio::test]
async fn requests_wait_for_the_first_server() {
    let server = Server::says(200, "application/json", "{}").await;
    let running = gateway_with(queue_of_one(), &[], |_| {}).await;
    let request = running.request(Method::POST, CHAT);
    let waiting = tokio::spawn(client(false).request(request.body(Pieces::of(BODY)).unwrap()));
    until(|| running.shared.admission.waiting() == 1).await;
    let (status, headers, _) = refusal(running.post(CHAT, BODY).await).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let after: u32 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3600).contains(&after), "{after}");
    running.store.update(|directory| {
        directory.apply(Endpoint::new(server.address, "ns", "pod"));
    });
    assert_eq!(
        soon(waiting).await.unwrap().unwrap().status(),
        StatusCode::OK
    );
    let empty = gateway(&[]).await;
    let (status, headers, _) = refusal(empty.post(CHAT, BODY).await).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        headers["x-llm-d-request-dropped-reason"],
        "rejected-no-endpoints"
    );
}

const STAGES: &str = "\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: always-disagg-pd-decider
- type: disagg-profile-handler
  parameters: {deciders: {prefill: always-disagg-pd-decider}}
- type: prefill-filter
- type: decode-filter
schedulingProfiles:
- {name: prefill, plugins: [{pluginRef: prefill-filter}]}
- {name: decode, plugins: [{pluginRef: decode-filter}]}
";

#[tokio::test]
async fn a_decoding_server_is_told_where_the_prompt_is_computed() {
    let server = Server::says(200, "application/json", "{}").await;
    let config = Config::parse(STAGES, "stages").unwrap();
    let running = gateway_with(config, &[], |_| {}).await;
    let prefill = nobody().await;
    running.store.update(|directory| {
        for (address, role) in [(prefill, "prefill"), (server.address, "decode")] {
            let mut endpoint = Endpoint::new(address, "ns", role);
            let label = ("llm-d.ai/role".to_owned(), role.to_owned());
            endpoint.labels.extend([label]);
            directory.apply(endpoint);
        }
    });
    let response = running.post(CHAT, BODY).await;
    assert_eq!(response.status(), StatusCode::OK);
    let told = &server.seen()[0].headers["x-prefiller-host-port"];
    assert_eq!(told, &prefill.to_string());
}

#[tokio::test]
async fn headers_pass_and_requests_have_names() {
    let server = Server::start(async |_| {
        let mut response = answer(200, "text/plain", Pieces::of("x"));
        let headers = response.headers_mut();
        headers.insert("x-engine", "1".parse().unwrap());
        headers.insert("keep-alive", "timeout=5".parse().unwrap());
        response
    })
    .await;
    let running = gateway(&[server.address]).await;
    let sent = [
        ("authorization", "Bearer t"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("x-request-id", "mine"),
        ("te", "trailers"),
    ];
    let response = running.post_with(CHAT, &sent, BODY).await;
    let headers = response.headers();
    assert_eq!(
        (&headers["x-engine"], &headers["x-request-id"]),
        (&"1".parse().unwrap(), &"mine".parse().unwrap())
    );
    assert!(!headers.contains_key("keep-alive"));
    let seen = &server.seen()[0].headers;
    for (name, value) in &sent[..3] {
        assert_eq!(seen[*name], *value);
    }
    assert!(!seen.contains_key("te"));
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    let response = running.post(CHAT, BODY).await;
    let given = &response.headers()["x-request-id"];
    assert_eq!(
        (given.len(), given),
        (36, &server.seen()[1].headers["x-request-id"])
    );
}

#[tokio::test]
async fn pages_tell_of_the_gateway() {
    let running = gateway(&[nobody().await]).await;
    let page = async |at: std::net::SocketAddr, path: &str| {
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        soon(stream.read_to_string(&mut text)).await.unwrap();
        text
    };
    let ready = [
        (running.at.http, "/health"),
        (running.at.http, "/readyz"),
        (running.at.metrics, "/readyz"),
    ];
    for (at, path) in ready {
        assert!(page(at, path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    running.store.set_leading(false);
    for (at, path) in ready {
        assert!(page(at, path).await.starts_with("HTTP/1.1 503"), "{path}");
    }
    assert!(
        page(running.at.http, "/healthz")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let metrics = page(running.at.metrics, "/metrics").await;
    assert!(
        metrics.contains("inference_pool_ready_pods{name=\"\"} 1.0"),
        "{metrics}"
    );
}
