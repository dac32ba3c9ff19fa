//! Metric values as the HPA asks for them.

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixtures::{BASE, Installation, decided, report};

async fn published() -> Installation {
    let installation = Installation::new().await;
    let mut large = decided("team", "large", 20, 21);
    large.hpa_tolerance = Some(0.1);
    let mut cheap = decided("team", "cheap", 3, 0);
    cheap.accelerator = "L40S".into();
    installation.publisher.publish(report(
        1_700_000_000.9,
        [large, cheap, decided("other", "large", 0, 4)],
    ));
    installation
}

async fn ask(installation: &Installation, path: &str) -> (StatusCode, Value) {
    let answer = installation.get(&format!("{BASE}{path}")).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    (answer.status(), answer.json().await.unwrap())
}

/// (variant, value) of each item.
fn items(list: &Value) -> Vec<(&str, &str)> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| {
            (
                item["metricLabels"]["variant_name"].as_str().unwrap(),
                item["value"].as_str().unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn the_query_of_the_hpa() {
    let installation = published().await;
    let query = "/namespaces/team/wva_desired_replicas?labelSelector=variant_name%3Dlarge";
    let (code, list) = ask(&installation, query).await;
    assert_eq!(code, 200);
    assert_eq!(
        list,
        json!({
            "kind": "ExternalMetricValueList",
            "apiVersion": "external.metrics.k8s.io/v1beta1",
            "metadata": {},
            "items": [{
                "metricName": "wva_desired_replicas",
                "metricLabels": {
                    "variant_name": "large",
                    "namespace": "team",
                    "exported_namespace": "team",
                    "accelerator_type": "H100",
                    "model_name": "meta-llama/Llama-3.1-8B",
                    "target_name": "large-servers",
                    "target_kind": "Deployment",
                },
                "timestamp": "2023-11-14T22:13:20Z",
                "value": "23",
            }],
        })
    );
}

#[rstest]
#[case("wva_desired_replicas", "", &[("cheap", "0"), ("large", "23")])]
#[case("wva_desired_replicas", "?labelSelector=", &[("cheap", "0"), ("large", "23")])]
#[case("wva_desired_replicas", "?labelSelector=accelerator_type%20in%20(L40S,A100)", &[("cheap", "0")])]
#[case("wva_desired_replicas", "?labelSelector=accelerator_type+notin+(L40S)", &[("large", "23")])]
#[case("wva_desired_replicas", "?labelSelector=!controller_instance,exported_namespace=team,target_name==large-servers", &[("large", "23")])]
#[case("wva_desired_replicas", "?labelSelector=controller_instance", &[])]
#[case("wva_desired_replicas", "?labelSelector=variant_name=nobody", &[])]
#[case("wva_desired_replicas", "?labelSelector=variant_name!=cheap&pretty=true&limit=500&watch=false", &[("large", "23")])]
#[case("wva_current_replicas", "", &[("cheap", "3"), ("large", "20")])]
#[case("wva_desired_ratio", "", &[("cheap", "0"), ("large", "1050m")])]
#[case("inferno_desired_replicas", "", &[("cheap", "0"), ("large", "23")])]
#[tokio::test]
async fn selections(#[case] metric: &str, #[case] query: &str, #[case] expected: &[(&str, &str)]) {
    let installation = published().await;
    let (code, list) = ask(&installation, &format!("/namespaces/team/{metric}{query}")).await;
    assert_eq!(code, 200, "{list}");
    assert_eq!(items(&list), expected);
}

#[tokio::test]
async fn from_zero_the_ratio_is_the_desired_replicas() {
    let installation = published().await;
    let (_, list) = ask(&installation, "/namespaces/other/wva_desired_ratio").await;
    assert_eq!(items(&list), [("large", "4")]);
}

#[rstest]
#[case(
    "/namespaces/team/wva_desired_replicas?labelSelector=a,,b",
    400,
    "BadRequest"
)]
#[case(
    "/namespaces/team/wva_desired_replicas?labelSelector=a%20in%20(b",
    400,
    "BadRequest"
)]
#[case(
    "/namespaces/team/wva_desired_replicas?fieldSelector=metadata.name=x",
    400,
    "BadRequest"
)]
#[case(
    "/namespaces/team/wva_desired_replicas?watch=true",
    405,
    "MethodNotAllowed"
)]
#[case(
    "/namespaces/team/wva_desired_replicas?watch=1",
    405,
    "MethodNotAllowed"
)]
#[case("/namespaces/team/queue_length", 404, "NotFound")]
#[case("/namespaces/team", 404, "NotFound")]
#[case("/namespaces/team/wva_desired_replicas/large", 404, "NotFound")]
#[case("/wva_desired_replicas", 404, "NotFound")]
#[tokio::test]
async fn refusals_are_statuses(#[case] path: &str, #[case] code: u16, #[case] reason: &str) {
    let installation = published().await;
    let (status, body) = ask(&installation, path).await;
    assert_eq!(status, code);
    assert_eq!(
        (&body["kind"], &body["apiVersion"], &body["status"]),
        (&json!("Status"), &json!("v1"), &json!("Failure"))
    );
    assert_eq!(
        (&body["code"], &body["reason"]),
        (&json!(code), &json!(reason))
    );
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|message| message.len() > 10)
    );
}

#[tokio::test]
async fn posting_is_not_allowed() {
    let installation = published().await;
    let answer = installation
        .aggregator()
        .post(
            installation
                .served
                .url(&format!("{BASE}/namespaces/team/wva_desired_replicas")),
        )
        .header("X-Remote-User", "admin")
        .header("X-Remote-Group", "system:masters")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(
        answer.json::<Value>().await.unwrap()["reason"],
        "MethodNotAllowed"
    );
}

#[tokio::test]
async fn what_was_never_decided_is_not_zero() {
    let installation = Installation::new().await;
    let (code, list) = ask(&installation, "/namespaces/team/wva_desired_replicas").await;
    assert_eq!((code, items(&list)), (StatusCode::OK, vec![]));
}
