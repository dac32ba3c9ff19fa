//! Every object that was ever deployed is understood as it was meant.

use wva_controllers::index::fleet::{Path, PodState, Way};
use wva_controllers::index::{Finding, Kind};
use wva_models::service_class::Statistic;
use wva_models::variant::Role;

use crate::fixtures::{base, index, object, pod, variant};

const V001: &str = include_str!("../samples/v0.0.1.yaml");
const V04: &str = include_str!("../samples/v0.4.yaml");
const V05: &str = include_str!("../samples/v0.5.yaml");
const LABELLED: &str = include_str!("../samples/labelled.yaml");
const CONFIGMAPS: &str = include_str!("../samples/configmaps.yaml");

fn together(parts: &[&str]) -> String {
    parts.join("\n---\n")
}

#[test]
fn the_first_form_targets_the_deployment_of_its_name_and_brings_parameters() {
    let fleet = index(&together(&[V001, CONFIGMAPS])).fleet(&base());
    let v = variant(&fleet, "llm-d-sim/vllme-deployment");
    assert_eq!(
        (v.target.kind.as_str(), v.target.name.as_str()),
        ("Deployment", "vllme-deployment")
    );
    assert!(!v.found);
    assert_eq!(v.accelerator.as_deref(), Some("A100-80GB"));
    let prior = v.prior.expect("parameters");
    assert!((prior.alpha_s - 0.02058).abs() < 1e-12 && (prior.delta_s - 0.0001).abs() < 1e-12);
    assert_eq!((v.max_batch, v.devices), (Some(4), 1));
    let model = v.model.clone().expect("a model");
    assert_eq!(fleet.model_classes[&model], ["Premium for default|default"]);
    let class = &fleet.classes[0];
    let itl = class.slo().and_then(|s| s.itl).expect("a bound");
    assert_eq!(
        (itl.statistic, itl.limit.as_millis()),
        (Statistic::Mean, 24.0)
    );
    assert_eq!(class.priority, -1, "1 was the most important");
}

#[test]
fn the_second_form_states_accelerator_cost_and_class() {
    let fleet = index(&together(&[V04, CONFIGMAPS])).fleet(&base());
    let v = variant(&fleet, "llm-d/llama-8b-l40s");
    assert_eq!(v.accelerator.as_deref(), Some("L40S"));
    assert_eq!((v.cost, v.max_batch), (Some(32.0), Some(256)));
    let model = v.model.clone().expect("a model");
    assert_eq!(
        fleet.model_classes[&model],
        ["Premium for meta-llama|Llama-3.1-8B-Instruct"]
    );
    assert_eq!(v.path, Path::Scale);
}

#[test]
fn the_last_form_names_any_target_and_bounds() {
    let lws = "apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: vllm-lws, namespace: llm-d}
spec:
  replicas: 2
  leaderWorkerTemplate:
    size: 2
    workerTemplate:
      spec:
        containers: [{name: vllm, image: vllm, args: [--tensor-parallel-size=8, --pipeline-parallel-size=2], resources: {limits: {nvidia.com/gpu: '8'}}}]
status: {replicas: 2, readyReplicas: 1}";
    let index = index(&together(&[V05, lws, CONFIGMAPS]));
    let fleet = index.fleet(&base());
    let v = variant(&fleet, "llm-d/llama-70b-lws");
    assert!(v.found);
    assert_eq!((v.devices, v.desired, v.existing), (16, 2, 2));
    assert_eq!((v.min, v.max, v.cost), (0, Some(6), None));
    assert_eq!(
        (v.zero.enabled, v.zero.retention_s),
        (Some(false), Some(900.0))
    );
    assert_eq!(v.path, Path::Scale);
    let mut other = base();
    other.instance = Some("green".into());
    assert!(
        index.fleet(&other).variants.is_empty(),
        "of another installation"
    );
    other.instance = Some("blue".into());
    assert_eq!(index.fleet(&other).variants.len(), 1);
}

#[test]
fn annotations_on_scalers_need_no_custom_resource() {
    let fleet = index(LABELLED).fleet(&base());
    assert_eq!(fleet.variants.len(), 2);
    let hpa = variant(&fleet, "llm-d/llama-8b-h100");
    assert_eq!(hpa.way, Way::Hpa);
    assert_eq!(hpa.subject.name, "llama-8b-hpa");
    assert!(matches!(&hpa.path, Path::Hpa { tolerance: Some(t), .. } if *t == 0.1));
    assert_eq!(
        (hpa.min, hpa.max, hpa.desired, hpa.cost),
        (1, Some(10), 3, None)
    );
    assert_eq!(hpa.accelerator.as_deref(), Some("H100"));
    assert_eq!(
        (hpa.args.max_num_seqs, hpa.args.max_num_batched_tokens),
        (Some(128), Some(4096))
    );
    assert_eq!((hpa.role, hpa.engine.as_str()), (Role::Both, "vllm"));
    let keda = variant(&fleet, "llm-d/llama-8b-l4");
    assert_eq!(keda.way, Way::ScaledObject);
    assert_eq!((keda.min, keda.max, keda.cost), (0, Some(8), Some(4.5)));
    assert_eq!(keda.accelerator.as_deref(), Some("L4"));
    assert_eq!(hpa.model, keda.model, "two variants of one model");
    assert_eq!(fleet.stock.get("H100"), Some(&8));
}

#[test]
fn an_unreadable_part_of_an_old_config_map_costs_only_itself() {
    let fleet = index(CONFIGMAPS).fleet(&base());
    let about = |f: &&Finding| f.subject.contains("service-classes-config");
    let findings: Vec<_> = fleet.findings.iter().filter(about).collect();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let h100 = fleet
        .accelerators
        .iter()
        .find(|a| a.name == "H100")
        .expect("built in");
    assert_eq!(h100.price_per_hour_usd.map(|p| p.get()), Some(1.0), "cents");
}

#[test]
fn pods_are_told_apart_by_state() {
    let deployment = pod("llama-8b-h100", "ready", "spec: {nodeName: gpu-1, containers: [{name: c, resources: {limits: {nvidia.com/gpu: '1'}}}]}
status: {phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-01-01T00:02:00Z'}]}");
    let starting = pod(
        "llama-8b-h100",
        "starting",
        "spec: {nodeName: gpu-1}\nstatus: {phase: Running, podIP: 10.0.0.2, conditions: [{type: Ready, status: 'False'}]}",
    );
    let pending = pod(
        "llama-8b-h100",
        "pending",
        "spec: {}\nstatus: {phase: Pending}",
    );
    let ended = pod(
        "llama-8b-h100",
        "ended",
        "spec: {nodeName: gpu-1}\nstatus: {phase: Failed}",
    );
    let other = pod(
        "something-else",
        "other",
        "spec: {nodeName: gpu-1, containers: [{name: c, resources: {requests: {nvidia.com/gpu: '2'}}}]}\nstatus: {phase: Running}",
    );
    let fleet = index(&together(&[
        LABELLED,
        &deployment,
        &starting,
        &pending,
        &ended,
        &other,
    ]))
    .fleet(&base());
    let v = variant(&fleet, "llm-d/llama-8b-h100");
    let state = |name: &str| v.pods.iter().find(|p| p.name == name).map(|p| p.state);
    let asked = 1_767_225_600.0;
    assert_eq!(
        state("ready"),
        Some(PodState::Ready {
            asked,
            since: asked + 120.0
        })
    );
    assert_eq!(state("starting"), Some(PodState::Starting { asked }));
    assert_eq!(state("pending"), Some(PodState::Pending { asked }));
    assert_eq!(v.pods.len(), 3);
    assert_eq!(v.pods[0].endpoint.ports, [8200]);
    assert_eq!(fleet.stock.get("H100"), Some(&6), "two are held by others");
}

#[test]
fn nodes_that_are_made_on_demand_limit_nothing() {
    let elastic = LABELLED.replace(
        "labels: {nvidia",
        "labels: {karpenter.sh/nodepool: gpus, nvidia",
    );
    assert!(index(&elastic).fleet(&base()).stock.is_empty());
    let tainted = LABELLED.replace(
        "status:\n  allocatable",
        "spec: {taints: [{key: team, effect: NoSchedule}]}\nstatus:\n  allocatable",
    );
    assert_eq!(index(&tainted).fleet(&base()).stock.get("H100"), Some(&0));
    let ours = pod(
        "llama-8b-h100",
        "ours",
        "spec: {nodeName: gpu-1, containers: [{name: c, resources: {limits: {nvidia.com/gpu: '2'}}}]}\nstatus: {phase: Running}",
    );
    let kept = index(&together(&[&tainted, &ours])).fleet(&base()).stock;
    assert_eq!(kept.get("H100"), Some(&2), "what runs there counts");
}

#[test]
fn two_scalers_of_one_target_make_it_advice() {
    let second = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: by-cpu, namespace: llm-d}
spec: {scaleTargetRef: {kind: Deployment, name: llama-8b-h100}, maxReplicas: 4, metrics: [{type: Resource}]}";
    let fleet = index(&together(&[LABELLED, second])).fleet(&base());
    let v = variant(&fleet, "llm-d/llama-8b-h100");
    assert!(
        matches!(&v.path, Path::Advice { code: "TwoScalers", text } if text.contains("by-cpu"))
    );
    assert!(!v.in_control());
}

#[test]
fn what_others_scale_is_advised_on() {
    let by_cpu = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: by-cpu, namespace: llm-d}
spec: {scaleTargetRef: {kind: Deployment, name: llama-8b-l40s}, maxReplicas: 4, metrics: [{type: Resource}]}";
    let fleet = index(&together(&[V04, by_cpu])).fleet(&base());
    let v = variant(&fleet, "llm-d/llama-8b-l40s");
    assert!(
        matches!(
            &v.path,
            Path::Advice {
                code: "ScaledByOther",
                ..
            }
        ),
        "{:?}",
        v.path
    );

    let (kind, mut deployment) = object(serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "llama-8b-l40s", "namespace": "llm-d", "managedFields": [
            {"manager": "argocd-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]},
        "spec": {"replicas": 2}}));
    let mut index = index(V04);
    index.apply(kind, &deployment);
    let fleet = index.fleet(&base());
    assert!(matches!(
        &variant(&fleet, "llm-d/llama-8b-l40s").path,
        Path::Advice {
            code: "ScaledByOther",
            ..
        }
    ));
    deployment.metadata.managed_fields = None;
    index.apply(Kind::Deployment, &deployment);
    assert_eq!(
        variant(&index.fleet(&base()), "llm-d/llama-8b-l40s").path,
        Path::Scale
    );
}

#[test]
fn a_generated_hpa_is_not_a_second_scaler() {
    let generated = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: keda-hpa-llama-8b-keda
  namespace: llm-d
  labels: {llm-d.ai/managed: 'true'}
  ownerReferences: [{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, name: llama-8b-keda, uid: x, controller: true}]
spec: {scaleTargetRef: {kind: Deployment, name: llama-8b-l4}, maxReplicas: 8}";
    let fleet = index(&together(&[LABELLED, generated])).fleet(&base());
    assert!(matches!(
        variant(&fleet, "llm-d/llama-8b-l4").path,
        Path::Keda { .. }
    ));
}

#[test]
fn workloads_behind_a_pool_are_discovered_and_advised_on() {
    let pool = "apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool, namespace: llm-d}
spec: {selector: {matchLabels: {app: llama-8b}}, targetPorts: [{number: 8200}]}";
    let workload = LABELLED.split("\n---\n").nth(2).expect("the Deployment");
    let fleet = index(&together(&[pool, workload])).fleet(&base());
    let v = variant(&fleet, "llm-d/llama-8b-h100");
    assert_eq!(
        v.way,
        Way::Discovered {
            pool: "pool".into()
        }
    );
    assert!(matches!(
        v.path,
        Path::Advice {
            code: "AdviceOnly",
            ..
        }
    ));
    assert_eq!(
        v.model.as_ref().map(|m| m.id.as_str()),
        Some("meta-llama/Llama-3.1-8B-Instruct")
    );
    let opted_in = workload.replace("uid: d-h100", "labels: {llm-d.ai/managed: 'true'}");
    let fleet = index(&together(&[pool, &opted_in])).fleet(&base());
    assert_eq!(variant(&fleet, "llm-d/llama-8b-h100").path, Path::Scale);
}

#[test]
fn namespaces_and_objects_can_be_left_alone() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: llm-d, labels: {wva.llmd.ai/exclude: 'true'}}";
    assert!(
        index(&together(&[LABELLED, namespace]))
            .fleet(&base())
            .variants
            .is_empty()
    );
    let hpa = LABELLED.replace(
        "llm-d.ai/variant-cost: \"10.0\"",
        "wva.llmd.ai/exclude: \"true\"",
    );
    assert_eq!(index(&hpa).fleet(&base()).variants.len(), 1);
}

#[test]
fn an_unknown_accelerator_is_told_with_the_nearest_name() {
    let odd = LABELLED.replace("acceleratorName: L4\n", "acceleratorName: L40Z\n");
    let fleet = index(&odd).fleet(&base());
    let v = variant(&fleet, "llm-d/llama-8b-l4");
    assert!(
        v.findings
            .iter()
            .any(|f| f.code == "UnknownAccelerator" && f.text.contains("did you mean `L40S`"))
    );
}
