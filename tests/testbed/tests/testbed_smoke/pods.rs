//! Pods go to nodes with devices, start, become ready, crash, and end in their own time.

use kube::api::DeleteParams;
use serde_json::json;
use wva_testbed::kubelet::NodeSpec;
use wva_testbed::{Options, eventually, or_skip};

use crate::cluster::{Cluster, shared};
use crate::fleet::{Fleet, condition};

const GPU: &str = "nvidia.com/gpu";

#[tokio::test]
async fn a_deployment_of_three_becomes_three_ready_pods() {
    let Some(cluster) = shared().await else {
        return;
    };
    let fleet = Fleet::new(cluster, "three").await;
    fleet.create(3, 1, 0.5).await;
    fleet.has_ready(3).await.unwrap();
    let pods = fleet.pods().await;
    let mut addresses = std::collections::HashSet::new();
    for pod in &pods {
        assert_eq!(
            pod.spec.as_ref().unwrap().node_name.as_deref(),
            Some("a100-a")
        );
        assert_eq!(condition(pod, "PodScheduled").unwrap().0, "True");
        let ip = pod.status.as_ref().unwrap().pod_ip.clone().unwrap();
        let health = reqwest::get(format!("http://{ip}:8000/health"))
            .await
            .unwrap();
        assert_eq!(health.text().await.unwrap(), "ok");
        addresses.insert(ip);
    }
    assert_eq!(addresses.len(), 3);
    fleet.patch(json!({"spec": {"replicas": 0}})).await;
    fleet.has_ready(0).await.unwrap();
    eventually("the end of all pods", async || {
        let left = fleet.pods().await.len();
        (left == 0).then_some(()).ok_or(left)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_crashed_server_is_started_again() {
    let Some(cluster) = shared().await else {
        return;
    };
    let fleet = Fleet::new(cluster, "crash").await;
    fleet.create(1, 1, 0.0).await;
    fleet.has_ready(1).await.unwrap();
    let name = fleet.pods().await[0].metadata.name.clone().unwrap();
    assert!(cluster.kubelet.crash(&fleet.namespace, &name).await);
    assert!(!cluster.kubelet.crash(&fleet.namespace, "nobody").await);
    eventually("a restart", async || {
        let pod = fleet.pod_api().get(&name).await.unwrap();
        let ready = condition(&pod, "Ready").is_some_and(|(status, _)| status == "True");
        let containers = pod.status.unwrap().container_statuses.unwrap();
        let restarts = containers[0].restart_count;
        (ready && restarts == 1).then_some(()).ok_or(restarts)
    })
    .await
    .unwrap();
    fleet
        .deployments()
        .delete("crash", &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn requests_in_flight_outlive_the_deletion_of_their_pod() {
    let Some(cluster) = shared().await else {
        return;
    };
    let fleet = Fleet::new(cluster, "drain").await;
    fleet.create(1, 0, 0.0).await;
    fleet.has_ready(1).await.unwrap();
    let pod = fleet.pods().await.remove(0);
    let ip = pod.status.unwrap().pod_ip.unwrap();
    let name = pod.metadata.name.unwrap();
    // The server has the request before the pod is told to go, and ends its answer afterwards.
    let slow = reqwest::get(format!("http://{ip}:8000/slow")).await;
    fleet
        .deployments()
        .delete("drain", &DeleteParams::default())
        .await
        .unwrap();
    let answer = slow.unwrap().text().await;
    assert_eq!(
        answer.expect("the connection was not cut"),
        "late, but here"
    );
    eventually("the end of the pod", async || {
        let pod = fleet.pod_api().get_opt(&name).await.unwrap();
        pod.is_none().then_some(()).ok_or("still there")
    })
    .await
    .unwrap();
    reqwest::get(format!("http://{ip}:8000/health"))
        .await
        .unwrap_err();
}

/// Devices come and go, and so do nodes and the API server: on a cluster of its own.
#[tokio::test]
async fn what_does_not_fit_waits_and_what_is_lost_comes_back() {
    let Some(cluster) = or_skip(Cluster::start(Options::default()).await) else {
        return;
    };
    let fleet = Fleet::new(&cluster, "stock").await;
    let kubelet = &cluster.kubelet;
    kubelet.set_devices("a100-a", GPU, 2).await.unwrap();
    fleet.create(3, 1, 0.0).await;
    let waiting = async || {
        let pods = fleet.pods().await;
        let scheduled: Vec<_> = pods
            .iter()
            .filter_map(|p| condition(p, "PodScheduled"))
            .collect();
        let mut without = scheduled.iter().filter(|(status, _)| status == "False");
        match (without.next(), without.next(), scheduled.len()) {
            (Some((_, message)), None, 3) => Ok(message.clone()),
            _ => Err(format!("{scheduled:?}")),
        }
    };
    let message = eventually("one pod without a node", waiting).await.unwrap();
    let expected = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.";
    assert!(message.starts_with(expected), "{message}");
    // The end of the stock-out.
    kubelet.set_devices("a100-a", GPU, 8).await.unwrap();
    fleet.has_ready(3).await.unwrap();
    // The API server is away for a while: the servers do not notice.
    cluster.plane.apiserver().restart().await.unwrap();
    fleet.has_ready(3).await.unwrap();
    let restarts = async || {
        let pods = fleet.pods().await;
        let statuses = pods
            .into_iter()
            .filter_map(|p| p.status?.container_statuses);
        statuses.flatten().map(|c| c.restart_count).sum::<i32>()
    };
    assert_eq!(restarts().await, 0);
    // A spot machine is reclaimed, and another is found.
    let spot = NodeSpec::with_gpus("a100-b", "NVIDIA-A100-SXM4-80GB", 8);
    kubelet.remove_node("a100-a").await.unwrap();
    kubelet.add_node(&spot).await.unwrap();
    eventually("all pods on the other node", async || {
        let pods = fleet.pods().await;
        let on: Vec<_> = pods
            .into_iter()
            .map(|p| p.spec.unwrap().node_name)
            .collect();
        let all = on.len() == 3 && on.iter().all(|n| n.as_deref() == Some("a100-b"));
        all.then_some(()).ok_or_else(|| format!("{on:?}"))
    })
    .await
    .unwrap();
    fleet.has_ready(3).await.unwrap();
}
