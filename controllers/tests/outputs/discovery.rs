//! Discovery as the aggregator and kubectl do it.

use rstest::rstest;
use serde_json::{Value, json};

use crate::fixtures::{Installation, decided, report};

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2_BETA_1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

#[tokio::test]
async fn the_aggregator_is_given_an_aggregated_document() {
    let installation = Installation::new().await;
    let answer = installation
        .get_as("/apis", &format!("{V2},{V2_BETA_1}"))
        .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], V2);
    let document: Value = answer.json().await.unwrap();
    assert_eq!(document["apiVersion"], "apidiscovery.k8s.io/v2");
    assert_eq!(document["kind"], "APIGroupDiscoveryList");
    let group = &document["items"][0];
    assert_eq!(group["metadata"]["name"], "external.metrics.k8s.io");
    let version = &group["versions"][0];
    assert_eq!(version["version"], "v1beta1");
    let first = &version["resources"][0];
    assert_eq!(first["resource"], "wva_desired_replicas");
    assert_eq!(first["scope"], "Namespaced");
    assert_eq!(first["responseKind"]["kind"], "ExternalMetricValueList");
}

#[rstest]
#[case(V2_BETA_1, V2_BETA_1, "APIGroupDiscoveryList")]
#[case("application/json", "application/json", "APIGroupList")]
#[case("*/*", "application/json", "APIGroupList")]
#[case("application/json, */*", "application/json", "APIGroupList")]
#[case(
    "application/vnd.kubernetes.protobuf,application/json",
    "application/json",
    "APIGroupList"
)]
#[case(
    "application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList,application/json;q=0.5",
    "application/json",
    "APIGroupList"
)]
#[case(
    "application/json;q=0.2, application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;q=0.9",
    V2,
    "APIGroupDiscoveryList"
)]
#[tokio::test]
async fn formats(#[case] accept: &str, #[case] content_type: &str, #[case] kind: &str) {
    let installation = Installation::new().await;
    let answer = installation.get_as("/apis", accept).await;
    assert_eq!(answer.headers()["content-type"], content_type);
    assert_eq!(answer.json::<Value>().await.unwrap()["kind"], kind);
}

#[rstest]
#[case("application/vnd.kubernetes.protobuf")]
#[case("application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList")]
#[case("application/json;q=0")]
#[tokio::test]
async fn what_is_not_served_is_not_acceptable(#[case] accept: &str) {
    let installation = Installation::new().await;
    let answer = installation.get_as("/apis", accept).await;
    assert_eq!(answer.status(), 406);
    assert_eq!(
        answer.json::<Value>().await.unwrap()["reason"],
        "NotAcceptable"
    );
}

#[tokio::test]
async fn groups_and_resources() {
    let installation = Installation::new().await;
    let group: Value = installation
        .get("/apis/external.metrics.k8s.io")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(group["kind"], "APIGroup");
    assert_eq!(
        group["preferredVersion"]["groupVersion"],
        "external.metrics.k8s.io/v1beta1"
    );
    let groups: Value = installation.get("/apis").await.json().await.unwrap();
    assert_eq!(groups["groups"][0]["name"], "external.metrics.k8s.io");
    let list: Value = installation
        .get("/apis/external.metrics.k8s.io/v1beta1")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(list["kind"], "APIResourceList");
    assert_eq!(
        list["resources"][0],
        json!({
            "name": "wva_desired_replicas", "singularName": "", "namespaced": true,
            "kind": "ExternalMetricValueList", "verbs": ["get"],
        })
    );
}

#[rstest]
#[case("/apis", V2)]
#[case("/openapi/v2", "application/json")]
#[case("/openapi/v3", "application/json")]
#[case("/openapi/v3/apis/external.metrics.k8s.io/v1beta1", "application/json")]
#[tokio::test]
async fn documents_that_are_known_are_not_sent_again(#[case] path: &str, #[case] accept: &str) {
    let installation = Installation::new().await;
    let first = installation.get_as(path, accept).await;
    assert_eq!(first.status(), 200);
    let tag = first.headers()["etag"].clone();
    let again = installation
        .aggregator()
        .get(installation.served.url(path))
        .header("X-Remote-User", "system:aggregator")
        .header("Accept", accept)
        .header("If-None-Match", tag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 304);
    assert!(again.bytes().await.unwrap().is_empty());
}

/// Every `$ref` of a document leads somewhere.
fn resolve(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(
                    document.pointer(pointer).is_some(),
                    "{reference} leads nowhere"
                );
            }
            fields.values().for_each(|field| resolve(document, field));
        }
        Value::Array(items) => items.iter().for_each(|item| resolve(document, item)),
        _ => {}
    }
}

#[tokio::test]
async fn openapi_is_whole() {
    let installation = Installation::new().await;
    let v2: Value = installation.get("/openapi/v2").await.json().await.unwrap();
    assert_eq!(v2["swagger"], "2.0");
    resolve(&v2, &v2);
    let index: Value = installation.get("/openapi/v3").await.json().await.unwrap();
    let url = &index["paths"]["apis/external.metrics.k8s.io/v1beta1"]["serverRelativeURL"];
    let v3: Value = installation
        .get(url.as_str().unwrap())
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(v3["openapi"], "3.0.0");
    resolve(&v3, &v3);
    assert_eq!(v3["paths"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn probes_need_no_credentials() {
    let installation = Installation::new().await;
    let anonymous = installation.served.client(None);
    for path in ["/healthz", "/livez"] {
        let answer = anonymous
            .get(installation.served.url(path))
            .send()
            .await
            .unwrap();
        assert_eq!(
            (
                answer.status().as_u16(),
                answer.text().await.unwrap().as_str()
            ),
            (200, "ok")
        );
    }
    let ready = || async {
        anonymous
            .get(installation.served.url("/readyz"))
            .send()
            .await
            .unwrap()
    };
    let early = ready().await;
    assert_eq!(early.status(), 503);
    assert!(early.text().await.unwrap().contains("no cycle"));
    installation
        .publisher
        .publish(report(1.0, [decided("ns", "a", 1, 1)]));
    assert_eq!(ready().await.status(), 200);
    installation.trust.send_replace(None);
    let distrusting = ready().await;
    assert_eq!(distrusting.status(), 503);
    assert!(
        distrusting
            .text()
            .await
            .unwrap()
            .contains("extension-apiserver-authentication")
    );
}

#[tokio::test]
async fn the_version_is_told() {
    let installation = Installation::new().await;
    let version: Value = installation.get("/version").await.json().await.unwrap();
    assert!(version["gitVersion"].as_str().unwrap().starts_with('v'));
}
