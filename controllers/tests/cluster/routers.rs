//! Who routes requests, found among the objects that are watched anyway.

use wva_controllers::snapshot::targets;

use crate::fixtures::{base, index, pod};

const POOLS: &str = "apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool, namespace: llm-d}
spec: {selector: {matchLabels: {app: x}}, targetPorts: [{number: 8000}], endpointPickerRef: {name: pool-epp, port: {number: 9002}}}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferencePool
metadata: {name: old, namespace: llm-d}
spec: {selector: {app: old}, targetPortNumber: 8000, extensionRef: {name: old-epp}}";

const RUNNING: &str =
    "spec: {containers: [{name: epp, ports: [{name: metrics, containerPort: 9095}]}]}
status: {phase: Running, podIP: 10.0.0.7}";

fn labelled(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: llm-d, uid: uid-{name}, labels: {{{labels}}}}}\nstatus: {{podIP: 10.0.0.8}}"
    )
}

fn found(objects: &[String]) -> Vec<(String, Option<String>)> {
    let fleet = index(&objects.join("\n---\n")).fleet(&base());
    let routers = targets(&fleet).routers;
    let found = routers.iter().map(|r| (r.name.clone(), r.metrics_url()));
    found.collect()
}

#[test]
fn pools_name_their_pickers() {
    let objects = [
        POOLS.to_owned(),
        pod("pool-epp", "by-deployment", RUNNING),
        pod("other", "unnamed", RUNNING),
        labelled("by-label", "inferencepool: old-epp"),
        labelled("of-no-pool", "inferencepool: gone-epp"),
        labelled("by-its-own-word", "wva.llmd.ai/router: 'true'"),
    ];
    let url = |address: &str| Some(format!("http://{address}/metrics"));
    assert_eq!(
        found(&objects),
        [
            ("by-deployment".to_owned(), url("10.0.0.7:9095")),
            ("by-its-own-word".to_owned(), url("10.0.0.8:9090")),
            ("by-label".to_owned(), url("10.0.0.8:9090")),
        ]
    );
}

#[test]
fn without_a_pool_nobody_is_taken_for_a_picker() {
    let objects = [
        pod("pool-epp", "a", RUNNING),
        labelled("b", "inferencepool: old-epp"),
    ];
    assert!(found(&objects).is_empty());
}
