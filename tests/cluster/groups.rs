//! LeaderWorkerSets: their definition, and a stand-in for their controller, whose module cannot be had.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Labels of a group's pods.
const NAME: &str = "leaderworkerset.sigs.k8s.io/name";
const INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";

/// The definition, cut down to what reading and scaling need.
pub fn leader_worker_sets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "leaderworkersets.leaderworkerset.x-k8s.io"},
        "spec": {
            "group": "leaderworkerset.x-k8s.io",
            "scope": "Namespaced",
            "names": {"kind": "LeaderWorkerSet", "plural": "leaderworkersets", "singular": "leaderworkerset"},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas",
                    "labelSelectorPath": ".status.hpaPodSelector",
                }},
            }],
        },
    })
}

/// Keeps one leader pod a replica of each set in a namespace, from the template of its workers, until it is dropped.
pub struct Groups(JoinHandle<()>);

impl Drop for Groups {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Groups {
    pub fn keep(client: Client, namespace: &str) -> Self {
        let kind = GroupVersionKind::gvk("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet");
        let resource = ApiResource::from_gvk(&kind);
        let sets: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        Self(tokio::spawn(async move {
            loop {
                for set in sets
                    .list(&ListParams::default())
                    .await
                    .into_iter()
                    .flatten()
                {
                    // Whatever went wrong is tried again in a moment.
                    let _ = reconcile(&sets, &pods, &set).await;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }))
    }
}

async fn reconcile(
    sets: &Api<DynamicObject>,
    pods: &Api<Pod>,
    set: &DynamicObject,
) -> Result<(), kube::Error> {
    let name = set.metadata.name.clone().unwrap_or_default();
    let wanted = set.data["spec"]["replicas"].as_u64().unwrap_or(0);
    let selector = format!("{NAME}={name},{INDEX}=0");
    let held = pods.list(&ListParams::default().labels(&selector)).await?;
    let of = |index: u64| format!("{name}-{index}");
    let names: Vec<String> = held
        .items
        .iter()
        .filter_map(|p| p.metadata.name.clone())
        .collect();
    for index in (0..wanted).filter(|&i| !names.contains(&of(i))) {
        pods.create(&PostParams::default(), &pod(set, &name, &of(index)))
            .await?;
    }
    for surplus in names.iter().filter(|n| !(0..wanted).any(|i| of(i) == **n)) {
        pods.delete(surplus, &DeleteParams::default()).await?;
    }
    let ready = held.items.iter().filter(|p| is_ready(p)).count();
    let status = json!({"status": {
        "replicas": names.len(), "readyReplicas": ready, "hpaPodSelector": selector,
    }});
    let patch = Patch::Merge(status);
    sets.patch_status(&name, &PatchParams::default(), &patch)
        .await
        .map(drop)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|s| s.conditions.as_ref());
    let mut conditions = conditions.flatten();
    conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}

fn pod(set: &DynamicObject, set_name: &str, name: &str) -> Pod {
    let template = &set.data["spec"]["leaderWorkerTemplate"]["workerTemplate"];
    let mut pod: Pod = serde_json::from_value(template.clone()).unwrap_or_default();
    pod.metadata.name = Some(name.to_owned());
    let own = BTreeMap::from([(NAME, set_name), (INDEX, "0")]);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.extend(own.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
    pod
}
