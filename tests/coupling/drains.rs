//! Replicas that leave under load.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::task::JoinSet;
use wva_controllers::api::keys::{DELETION_COST, LEAVES_FIRST};
use wva_testbed::eventually;

use crate::bed::{Bed, Place};
use crate::site::CHEAP;

/// Scale-downs in a row, each from four replicas to two.
const TIMES: usize = 10;
/// Requests per second: two replicas can serve them.
const RATE: f64 = 4.0;

/// Pods that were deleted, by UID, each with whether it was marked to go first by then.
type Gone = Arc<Mutex<BTreeMap<String, bool>>>;

/// Watches who goes, until the set is dropped.
fn watch(bed: &Bed) -> (Gone, JoinSet<()>) {
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let gone = Gone::default();
    let (kept, mut tasks) = (Arc::clone(&gone), JoinSet::new());
    tasks.spawn(async move {
        let watched = watcher::watcher(pods, watcher::Config::default()).default_backoff();
        let mut changes = pin!(watched.applied_objects());
        while let Some(change) = changes.next().await {
            let Ok(pod) = change else { continue };
            let cost = pod.metadata.annotations.iter().flatten();
            let cost = cost.filter(|(key, _)| *key == DELETION_COST);
            let marked = cost.map(|(_, v)| v).any(|v| *v == LEAVES_FIRST.to_string());
            let uid = pod.metadata.uid.unwrap_or_default();
            if pod.metadata.deletion_timestamp.is_some() {
                kept.lock().unwrap().entry(uid).or_insert(marked);
            }
        }
    });
    (gone, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_scale_downs_lose_no_request() {
    let Some(bed) = Bed::start(Place::Drains, 4, (4, 4)).await else {
        return;
    };
    let users = bed.users(RATE);
    let (gone, watching) = watch(&bed);
    for time in 1..=TIMES {
        bed.bound((2, 2)).await;
        bed.replicas(CHEAP, "two replicas", |n| n == 2).await;
        if time < TIMES {
            bed.bound((4, 4)).await;
            bed.replicas(CHEAP, "four replicas", |n| n == 4).await;
        }
    }
    let outcome = users.stop().await;
    let decisions = bed.decisions();
    println!(
        "{} requests, {} lost\n{decisions}",
        outcome.requests,
        outcome.lost.len()
    );
    assert_eq!(outcome.lost, [""; 0], "{decisions}");
    assert!(outcome.requests > 10 * TIMES, "{}", outcome.requests);
    // Kubernetes took those that pickers had been told of, and no others.
    let all = eventually("all who went to be seen", async || {
        let gone = gone.lock().unwrap().clone();
        (gone.len() >= 2 * TIMES)
            .then(|| gone.clone())
            .ok_or(format!("{gone:?}"))
    });
    let gone = all.await.unwrap();
    drop(watching);
    assert!(gone.values().all(|marked| *marked), "{gone:?}\n{decisions}");
}
