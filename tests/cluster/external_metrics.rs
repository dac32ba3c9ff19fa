//! External metrics through the real aggregator.

use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use wva_controllers::serving::authority::SETTLE;
use wva_testbed::{Access, eventually};

use crate::installation::{
    API, BASE, Installation, decided, trust_servers, with_gate, without_gate,
};

async fn raw(access: &Access, path: &str) -> Result<Value, String> {
    let text = access
        .kubectl(&["get", "--raw", path])
        .await
        .map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

/// (variant, value) of each item.
fn items(list: &Value) -> Vec<(&str, &str)> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| {
            let name = item["metricLabels"]["variant_name"].as_str().unwrap();
            (name, item["value"].as_str().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn the_aggregator_takes_us_in() {
    let Some(wva) = without_gate().await else {
        return;
    };
    let admin = wva.cluster.admin();
    let list = raw(admin, BASE).await.unwrap();
    assert_eq!(list["resources"][0]["name"], "wva_desired_replicas");
    let known = admin
        .kubectl(&["api-resources", "--api-group=external.metrics.k8s.io"])
        .await
        .unwrap();
    assert!(
        known.contains("wva_desired_replicas") && known.contains("ExternalMetricValueList"),
        "{known}"
    );
    // The aggregator's own merged documents: what it made of ours.
    let client = admin.client().await.unwrap();
    eventually("the group in what the aggregator discovers", async || {
        let discovered = axum::http::Request::get("/apis")
            .header(
                "Accept",
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            )
            .body(Vec::new())
            .map_err(|e| e.to_string())?;
        let discovery: Value = client
            .request(discovered)
            .await
            .map_err(|e| e.to_string())?;
        let mut groups = discovery["items"].as_array().into_iter().flatten();
        let group = groups.find(|g| g["metadata"]["name"] == "external.metrics.k8s.io");
        let version = group.map_or(Value::Null, |g| g["versions"][0].clone());
        let resource = &version["resources"][0]["resource"];
        if version["freshness"] == "Current" && resource == "wva_desired_replicas" {
            Ok(())
        } else {
            Err(version.to_string())
        }
    })
    .await
    .unwrap();
    for (path, pointer) in [
        (
            "/openapi/v3",
            "/paths/apis~1external.metrics.k8s.io~1v1beta1",
        ),
        (
            "/openapi/v2",
            "/definitions/io.k8s.metrics.pkg.apis.external_metrics.v1beta1.ExternalMetricValueList",
        ),
    ] {
        eventually(path, async || {
            let merged = raw(admin, path).await?;
            merged
                .pointer(pointer)
                .map(drop)
                .ok_or_else(|| format!("{pointer} is not in it"))
        })
        .await
        .unwrap();
    }
    let v3 = raw(admin, "/openapi/v3/apis/external.metrics.k8s.io/v1beta1")
        .await
        .unwrap();
    assert_eq!(v3["openapi"], "3.0.0");
}

#[tokio::test]
async fn selectors_arrive_as_they_were_sent() {
    let Some(wva) = without_gate().await else {
        return;
    };
    let namespace = wva.cluster.namespace("selectors").await.unwrap();
    let mut cheap = decided(&namespace, "cheap", 1, 2);
    cheap.accelerator = "L40S".into();
    wva.decide(cheap);
    wva.decide(decided(&namespace, "large", 1, 3));
    let admin = wva.cluster.admin();
    let both: &[_] = &[("cheap", "2"), ("large", "3")];
    for (selector, expected) in [
        ("", both),
        ("variant_name%3Dlarge", &both[1..]),
        ("variant_name%3D%3Dlarge", &both[1..]),
        ("variant_name!%3Dlarge", &both[..1]),
        ("variant_name%20in%20(large%2Ccheap)", both),
        (
            "variant_name+notin+(cheap),accelerator_type=H100",
            &both[1..],
        ),
        ("accelerator_type,!controller_instance", both),
        ("!accelerator_type", &[]),
        ("exported_namespace%3Dnowhere", &[]),
    ] {
        let path =
            format!("{BASE}/namespaces/{namespace}/wva_desired_replicas?labelSelector={selector}");
        let list = raw(admin, &path).await.unwrap();
        assert_eq!(items(&list), expected, "{selector}");
    }
    let path =
        format!("{BASE}/namespaces/{namespace}/wva_desired_replicas?labelSelector=a%20in%20(b");
    let refusal = raw(admin, &path).await.unwrap_err();
    assert!(refusal.contains("invalid labelSelector"), "{refusal}");
    let refusal = raw(
        admin,
        &format!("{BASE}/namespaces/{namespace}/no_such_metric"),
    )
    .await
    .unwrap_err();
    assert!(
        refusal.contains("NotFound") && refusal.contains("no_such_metric"),
        "{refusal}"
    );
    let nowhere = raw(
        admin,
        &format!("{BASE}/namespaces/default/wva_desired_replicas"),
    )
    .await
    .unwrap();
    assert_eq!(items(&nowhere), []);
}

#[tokio::test]
async fn only_the_front_proxy_may_speak_for_others() {
    let Some(wva) = without_gate().await else {
        return;
    };
    let path = format!("{BASE}/namespaces/default/wva_desired_replicas");
    let impostor = wva
        .outsider(None)
        .get(wva.direct(&path))
        .header("X-Remote-User", "system:kube-aggregator")
        .header("X-Remote-Group", "system:masters")
        .send()
        .await
        .unwrap();
    assert_eq!(impostor.status(), 401);
    let refusal: Value = impostor.json().await.unwrap();
    assert_eq!(
        (&refusal["kind"], &refusal["reason"]),
        (&json!("Status"), &json!("Unauthorized"))
    );
    let probe = wva
        .outsider(None)
        .get(wva.direct("/healthz"))
        .send()
        .await
        .unwrap();
    assert_eq!(probe.status(), 200);
}

#[tokio::test]
async fn users_are_asked_about() {
    let Some(wva) = without_gate().await else {
        return;
    };
    let namespace = wva.cluster.namespace("users").await.unwrap();
    let path = format!("{BASE}/namespaces/{namespace}/wva_desired_replicas");
    let reader = wva
        .cluster
        .service_account(&namespace, "reader")
        .await
        .unwrap();
    let token = wva
        .cluster
        .admin()
        .kubectl(&["create", "token", "reader", "-n", &namespace])
        .await
        .unwrap();
    let direct = || async {
        let request = wva
            .outsider(None)
            .get(wva.direct(&path))
            .bearer_auth(token.trim());
        request.send().await.unwrap()
    };
    // An API server that is asked who somebody is may be too busy to say: that is a refusal of another kind.
    let who = format!("system:serviceaccount:{namespace}:reader");
    eventually("a refusal by name", async || {
        let answer = direct().await;
        let (status, said) = (answer.status(), answer.text().await.unwrap_or_default());
        match status == 403 && said.contains(&who) {
            true => Ok(()),
            false => Err(format!("{status} {said}")),
        }
    })
    .await
    .unwrap();
    let refused = raw(&reader, &path).await.unwrap_err();
    assert!(refused.contains("forbidden"), "{refused}");
    eventually("a refusal of a stranger", async || {
        let stranger = wva.outsider(None).get(wva.direct(&path));
        let answer = stranger.bearer_auth("nobody").send().await.unwrap();
        match answer.status().as_u16() {
            401 => Ok(()),
            other => Err(other),
        }
    })
    .await
    .unwrap();
    for grant in [
        vec![
            "create",
            "role",
            "r",
            "-n",
            &namespace,
            "--verb=list",
            "--resource=wva_desired_replicas.external.metrics.k8s.io",
        ],
        vec![
            "create",
            "rolebinding",
            "r",
            "-n",
            &namespace,
            "--role=r",
            &format!("--serviceaccount={namespace}:reader"),
        ],
    ] {
        wva.cluster.admin().kubectl(&grant).await.unwrap();
    }
    // Answers are remembered for ten seconds, the refusals too.
    eventually("access through the aggregator", async || {
        raw(&reader, &path).await
    })
    .await
    .unwrap();
    eventually("access with a token", async || {
        let status = direct().await.status();
        if status == 200 { Ok(()) } else { Err(status) }
    })
    .await
    .unwrap();
}

/// Has the aggregator open a new connection, by telling it whom to trust, and ask for something.
async fn ask_anew(wva: &Installation, bundle: &str) {
    trust_servers(&wva.cluster, bundle).await;
    let path = format!("{BASE}/namespaces/default/wva_desired_replicas");
    for _ in 0..5 {
        raw(wva.cluster.admin(), &path).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_changes_while_the_aggregator_asks() {
    let Some(wva) = without_gate().await else {
        return;
    };
    let authority = wva.cluster.authority();
    for round in 1..=3 {
        let pair = wva.cluster.certificate_for(&API).unwrap();
        wva.certificate
            .replace(&pair.certificate, &pair.key)
            .unwrap();
        ask_anew(wva, &authority.repeat(round)).await;
    }
    wva.cluster.aggregated(&API).await.unwrap();
}

#[tokio::test]
async fn our_own_authority_is_replaced_while_the_aggregator_asks() {
    let Some(wva) = with_gate().await else { return };
    let own = wva.own.as_ref().unwrap();
    let now = SystemTime::now();
    let first = own.lock().unwrap().bundle();
    // First the new authority joins the bundle, ...
    let changes = own.lock().unwrap().tick(now - 2 * SETTLE).unwrap();
    assert!(changes.authority && !changes.certificate);
    let both = own.lock().unwrap().bundle();
    ask_anew(wva, &first).await;
    ask_anew(wva, &both).await;
    // ... and only later it issues: whoever trusts by the bundle reads it in a moment, and nobody can see when.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let changes = own.lock().unwrap().tick(now).unwrap();
    assert!(changes.certificate && !changes.authority);
    ask_anew(wva, &both).await;
    let renewed = both.strip_suffix(&first).unwrap();
    ask_anew(wva, renewed).await;
    wva.cluster.aggregated(&API).await.unwrap();
    trust_servers(&wva.cluster, &both).await;
}
