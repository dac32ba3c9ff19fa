//! The API server answers, knows who asks, and comes back.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::ListParams;
use wva_testbed::{ControlPlane, Options, eventually, or_skip};

use crate::cluster::shared;

#[tokio::test]
async fn kubectl_works() {
    let Some(cluster) = shared().await.map(|c| &c.plane) else {
        return;
    };
    let namespace = cluster.namespace("kubectl").await.unwrap();
    let map = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, namespace: {namespace}}}, data: {{k: v}}}}"
    );
    let admin = cluster.admin();
    let applied = admin.kubectl_reading(&map, &["apply", "-f", "-"]).await;
    assert_eq!(applied.unwrap(), "configmap/a created\n");
    let get = [
        "get",
        "configmap",
        "a",
        "-n",
        &namespace,
        "-o",
        "jsonpath={.data.k}",
    ];
    assert_eq!(admin.kubectl(&get).await.unwrap(), "v");
    let error = admin.kubectl(&["get", "nonsense"]).await.unwrap_err();
    assert!(error.to_string().contains("nonsense"), "{error}");
}

#[tokio::test]
async fn helm_works() {
    let Some(cluster) = shared().await.map(|c| &c.plane) else {
        return;
    };
    if or_skip(wva_testbed::component::folder("helm")).is_none() {
        return;
    }
    let listed = cluster.admin().helm(&["list", "-A", "-o", "json"]).await;
    assert_eq!(listed.unwrap().trim(), "[]");
}

#[tokio::test]
async fn keda_definitions_are_accepted() {
    let Some(cluster) = shared().await.map(|c| &c.plane) else {
        return;
    };
    let Some(keda) = or_skip(wva_testbed::component::folder("keda")) else {
        return;
    };
    let admin = cluster.admin();
    let folder = keda.display().to_string();
    let apply = ["apply", "--server-side", "-f", &folder];
    let applied = admin.kubectl(&apply).await.unwrap();
    assert!(
        applied.contains("scaledobjects.keda.sh serverside-applied"),
        "{applied}"
    );
    admin.established().await.unwrap();
}

#[tokio::test]
async fn users_have_the_rights_they_are_given() {
    let Some(cluster) = shared().await.map(|c| &c.plane) else {
        return;
    };
    let namespace = cluster.namespace("rights").await.unwrap();
    let account = cluster.service_account(&namespace, "wva").await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(account.client().await.unwrap(), &namespace);
    let refusal = maps.list(&ListParams::default()).await.unwrap_err();
    let who = format!("system:serviceaccount:{namespace}:wva");
    assert!(refusal.to_string().contains(&who), "{refusal}");
    let subject = format!("--serviceaccount={namespace}:wva");
    let grant = [
        "create",
        "rolebinding",
        "r",
        "--clusterrole=view",
        &subject,
        "-n",
        &namespace,
    ];
    cluster.admin().kubectl(&grant).await.unwrap();
    eventually("the right to list", async || {
        maps.list(&ListParams::default()).await
    })
    .await
    .unwrap();
    let user = cluster.user("dana", Some("readers")).unwrap();
    let namespaces: Api<Namespace> = Api::all(user.client().await.unwrap());
    let refusal = namespaces.list(&ListParams::default()).await.unwrap_err();
    assert!(refusal.to_string().contains("\"dana\""), "{refusal}");
}

#[tokio::test]
async fn the_front_proxy_introduces_itself() {
    let Some(cluster) = shared().await.map(|c| &c.plane) else {
        return;
    };
    let header = cluster.request_header().await.unwrap();
    assert_eq!(header.allowed_names, ["front-proxy-client"]);
    assert_eq!(header.username_headers, ["X-Remote-User"]);
    assert!(header.authority.contains("BEGIN CERTIFICATE"));
    assert_ne!(header.authority, cluster.authority());
}

#[tokio::test]
async fn parts_stop_and_come_back() {
    let options = Options {
        controller_manager: false,
        ..Options::default()
    };
    let Some(cluster) = or_skip(ControlPlane::start(options).await) else {
        return;
    };
    let client = cluster.admin().client().await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    cluster.apiserver().stop();
    assert!(!cluster.apiserver().runs());
    namespaces.get("default").await.unwrap_err();
    cluster.apiserver().start().await.unwrap();
    namespaces.get("default").await.unwrap();
    cluster.etcd().stop();
    cluster.etcd().start().await.unwrap();
    eventually("the store", async || namespaces.get("default").await)
        .await
        .unwrap();
    assert!(!cluster.controller_manager().runs());
    let folder = cluster.sandbox().folder().join("etcd");
    assert!(folder.exists());
    drop(cluster);
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_part_that_cannot_start_says_why() {
    let options = Options {
        apiserver_arguments: vec!["--no-such-flag".to_owned()],
        ..Options::default()
    };
    if or_skip(wva_testbed::component::folder("kubernetes")).is_none() {
        return;
    }
    let error = ControlPlane::start(options).await.unwrap_err().to_string();
    assert!(error.contains("kube-apiserver ended"), "{error}");
    assert!(error.contains("unknown flag: --no-such-flag"), "{error}");
}
