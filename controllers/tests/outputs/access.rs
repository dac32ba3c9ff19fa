//! Who is let in.

use std::sync::Arc;

use reqwest::header::HeaderMap;
use rstest::rstest;
use serde_json::{Value, json};
use wva_controllers::external_metrics::trust::Trust;

use crate::fixtures::{
    BASE, Ca, Installation, Pair, access_reviews, cluster_data, decided, report,
};

const HPA: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, value.parse().unwrap());
    }
    headers
}

async fn ask(
    installation: &Installation,
    pair: Option<&Pair>,
    given: &[(&str, &str)],
) -> (u16, Value) {
    let answer = installation
        .served
        .client(pair)
        .get(
            installation
                .served
                .url(&format!("{BASE}/namespaces/ns/wva_desired_replicas")),
        )
        .headers(headers(given))
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn the_front_proxy_speaks_for_the_hpa() {
    let installation = Installation::new().await;
    installation
        .publisher
        .publish(report(1.0, [decided("ns", "a", 1, 2)]));
    let pair = installation.front_proxy.client("front-proxy-client", &[]);
    let given = [
        ("X-Remote-User", HPA),
        ("X-Remote-Group", "system:serviceaccounts"),
        ("X-Remote-Group", "system:serviceaccounts:kube-system"),
        (
            "X-Remote-Extra-authentication.kubernetes.io%2Fcredential-id",
            "JTI=1",
        ),
        ("X-Remote-Extra-odd%2", "kept"),
    ];
    let (code, list) = ask(&installation, Some(&pair), &given).await;
    assert_eq!((code, &list["items"][0]["value"]), (200, &json!("2")));
    let reviews = access_reviews(&installation.kubernetes).await;
    let spec = &reviews[0]["spec"];
    assert_eq!(spec["user"], HPA);
    assert_eq!(
        spec["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
            "system:authenticated"
        ])
    );
    assert_eq!(
        spec["extra"],
        json!({"authentication.kubernetes.io/credential-id": ["JTI=1"], "odd%2": ["kept"]})
    );
    let asked = &spec["resourceAttributes"];
    assert_eq!(
        (&asked["verb"], &asked["namespace"]),
        (&json!("list"), &json!("ns"))
    );
    assert_eq!(
        (&asked["group"], &asked["resource"]),
        (
            &json!("external.metrics.k8s.io"),
            &json!("wva_desired_replicas")
        )
    );
}

#[tokio::test]
async fn nobody_else_may_speak_for_others() {
    let installation = Installation::new().await;
    let claims = [("X-Remote-User", HPA), ("X-Remote-Group", "system:masters")];
    let stranger = Ca::new("front proxy"); // of the same name, with another key
    let refused = [
        None,
        Some(stranger.client("front-proxy-client", &[])),
        Some(installation.front_proxy.client("somebody", &[])),
        Some(installation.front_proxy.expired("front-proxy-client")),
        Some(installation.front_proxy.server()),
    ];
    for pair in &refused {
        let (code, body) = ask(&installation, pair.as_ref(), &claims).await;
        assert_eq!(
            (code, &body["reason"]),
            (401, &json!("Unauthorized")),
            "{body}"
        );
    }
    assert!(access_reviews(&installation.kubernetes).await.is_empty());
}

#[tokio::test]
async fn a_user_with_a_certificate_is_who_it_says_whatever_else_is_claimed() {
    let installation = Installation::new().await;
    let claims = [
        ("X-Remote-User", "alice"),
        ("X-Remote-Group", "system:masters"),
    ];
    let mallory = installation.clients.client("mallory", &["guests"]);
    let (code, body) = ask(&installation, Some(&mallory), &claims).await;
    assert_eq!((code, &body["reason"]), (403, &json!("Forbidden")));
    let message = body["message"].as_str().unwrap();
    assert!(
        message.contains("\"mallory\" cannot list resource \"wva_desired_replicas\""),
        "{message}"
    );
    assert!(message.contains("no rule"), "{message}");
    let reviews = access_reviews(&installation.kubernetes).await;
    assert_eq!(
        reviews[0]["spec"]["groups"],
        json!(["guests", "system:authenticated"])
    );

    let alice = installation.clients.client("alice", &[]);
    assert_eq!(ask(&installation, Some(&alice), &[]).await.0, 200);
    let master = installation.clients.client("root", &["system:masters"]);
    assert_eq!(ask(&installation, Some(&master), &[]).await.0, 200);
}

#[rstest]
#[case("Bearer good", 200)]
#[case("bearer  good", 200)]
#[case("Bearer bad", 401)]
#[case("Bearer ", 401)]
#[case("Basic good", 401)]
#[tokio::test]
async fn tokens(#[case] authorization: &str, #[case] expected: u16) {
    let installation = Installation::new().await;
    let (code, body) = ask(&installation, None, &[("Authorization", authorization)]).await;
    assert_eq!(code, expected, "{body}");
}

#[tokio::test]
async fn a_proxied_anonymous_request_is_forbidden() {
    let installation = Installation::new().await;
    let pair = installation.front_proxy.client("front-proxy-client", &[]);
    let claims = [
        ("X-Remote-User", "system:anonymous"),
        ("X-Remote-Group", "system:unauthenticated"),
    ];
    assert_eq!(ask(&installation, Some(&pair), &claims).await.0, 403);
    let reviews = access_reviews(&installation.kubernetes).await;
    assert_eq!(
        reviews[0]["spec"]["groups"],
        json!(["system:unauthenticated"])
    );
    // Without a user there is nobody to speak for.
    assert_eq!(ask(&installation, Some(&pair), &[]).await.0, 401);
}

#[tokio::test]
async fn without_a_list_of_names_any_certificate_of_the_front_proxy_counts() {
    let installation = Installation::allowing("[]").await;
    let pair = installation.front_proxy.client("whoever", &[]);
    assert_eq!(
        ask(&installation, Some(&pair), &[("X-Remote-User", "alice")])
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn trust_changes_on_open_connections() {
    let installation = Installation::new().await;
    let client = installation.aggregator();
    let ask = || async {
        let url = installation
            .served
            .url(&format!("{BASE}/namespaces/ns/wva_desired_replicas"));
        client
            .get(url)
            .header("X-Remote-User", "alice")
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(ask().await, 200);
    let next = Ca::new("next front proxy");
    let both = format!("{}{}", next.pem, installation.front_proxy.pem);
    let mut data = cluster_data(&next, &installation.clients, "[]");
    installation
        .trust
        .send_replace(Some(Arc::new(Trust::read(&data).unwrap())));
    assert_eq!(ask().await, 401);
    data.insert("requestheader-client-ca-file".into(), both);
    installation
        .trust
        .send_replace(Some(Arc::new(Trust::read(&data).unwrap())));
    assert_eq!(ask().await, 200);
    installation.trust.send_replace(None);
    assert_eq!(
        ask().await,
        401,
        "nobody is trusted before it is known whom to trust"
    );
}

#[tokio::test]
async fn answers_are_remembered_for_a_moment() {
    let installation = Installation::new().await;
    let pair = installation.front_proxy.client("front-proxy-client", &[]);
    for _ in 0..5 {
        ask(&installation, Some(&pair), &[("X-Remote-User", "alice")]).await;
        ask(&installation, None, &[("Authorization", "Bearer good")]).await;
        ask(&installation, None, &[("Authorization", "Bearer bad")]).await;
    }
    // alice by the front proxy and alice by her token are two identities: their groups differ.
    assert_eq!(access_reviews(&installation.kubernetes).await.len(), 2);
    assert_eq!(
        installation
            .kubernetes
            .received_requests()
            .await
            .unwrap()
            .len(),
        4
    );
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_lets_nobody_in() {
    let installation = Installation::new().await;
    installation.kubernetes.reset().await;
    let alice = installation.clients.client("alice", &[]);
    assert_eq!(ask(&installation, Some(&alice), &[]).await.0, 500);
    assert_eq!(
        ask(&installation, None, &[("Authorization", "Bearer good")])
            .await
            .0,
        500
    );
    let master = installation.clients.client("root", &["system:masters"]);
    assert_eq!(ask(&installation, Some(&master), &[]).await.0, 200);
}

#[tokio::test]
async fn other_paths_are_asked_about_by_their_name() {
    let installation = Installation::new().await;
    let mallory = installation.clients.client("mallory", &[]);
    let client = installation.served.client(Some(&mallory));
    let answer = client
        .get(installation.served.url("/openapi/v2"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        body["message"],
        "forbidden: User \"mallory\" cannot get path \"/openapi/v2\": no rule"
    );
    let reviews = access_reviews(&installation.kubernetes).await;
    assert_eq!(
        reviews[0]["spec"]["nonResourceAttributes"],
        json!({"verb": "get", "path": "/openapi/v2"})
    );
}

#[rstest]
#[case("requestheader-allowed-names", "front-proxy-client")]
#[case("requestheader-allowed-names", "[1]")]
#[case("requestheader-username-headers", r#"["not a header"]"#)]
#[case("requestheader-client-ca-file", "no certificate")]
#[case(
    "client-ca-file",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
)]
fn a_config_map_that_makes_no_sense_is_refused(#[case] key: &str, #[case] value: &str) {
    let mut data = cluster_data(&Ca::new("a"), &Ca::new("b"), "[]");
    data.insert(key.into(), value.into());
    let error = Trust::read(&data).unwrap_err().to_string();
    assert!(error.contains(key), "{error}");
}

#[test]
fn a_cluster_without_front_proxy_or_client_authority_trusts_neither() {
    let trust = Trust::read(&Default::default()).unwrap();
    assert!(trust.front_proxy.is_none() && trust.clients.is_none());
}
