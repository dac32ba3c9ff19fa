//! Judges on objects that are written down here.

use kube::core::DynamicObject;
use serde::Deserialize as _;
use serde_json::Value;
use wva_controllers::index::Kind;

use super::evidence::Evidence;
use super::finding::{Examination, Severity};
use super::{Diagnosis, controller, registration, scalers, telemetry, variants};
use crate::cluster::contact::{Contact, ControllerPod};
use crate::cluster::figures::Figures;
use crate::cluster::look::Look;
use crate::cluster::objects::Objects;
use crate::cluster::servers::ServerPage;

/// 2026-11-21.
const NOW: f64 = 1_795_219_200.0;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama, namespace: llm-d, uid: d, creationTimestamp: 2026-11-20T00:00:00Z}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: llama}}
    spec:
      nodeSelector: {nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}
      containers:
        - {name: vllm, image: vllm/vllm-openai, args: [--model=meta-llama/Llama-3.1-8B-Instruct], resources: {limits: {nvidia.com/gpu: 1}}}
status: {replicas: 2}
";

const HPA: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: llama-hpa, namespace: llm-d, annotations: {llm-d.ai/managed: 'true'}}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama}
  maxReplicas: 8
  metrics:
    - type: External
      external:
        metric: {name: wva_desired_replicas, selector: {matchLabels: {variant_name: llama}}}
        target: {type: AverageValue, averageValue: '1'}
";

const POOL: &str = "
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool, namespace: llm-d}
spec: {selector: {matchLabels: {app: llama}}, targetPorts: [{number: 8000}]}
";

/// A page on which all is well with `llm-d/llama`.
fn page(extra: &str) -> String {
    let labels = "variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"";
    format!(
        "wva_desired_replicas{{{labels}}} 2\nwva_data_age_seconds{{{labels}}} 4\nwva_decision_held{{{labels}}} 0\n\
         wva_last_cycle_timestamp_seconds {}\n{extra}",
        NOW - 5.0
    )
}

fn evidence(yaml: &[&str]) -> Evidence {
    let mut objects = Objects::default();
    for text in yaml {
        let value: Value = serde_saphyr::from_str(text).expect("YAML");
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let kind = Kind::of(&text("apiVersion"), &text("kind")).expect("a kind that is watched");
        objects.add(
            kind,
            [DynamicObject::deserialize(value).expect("an object")],
        );
    }
    let contact = Contact::of_pods(vec![ControllerPod {
        namespace: "wva-system".into(),
        name: "wva-0".into(),
        leads: true,
        ready: true,
        account: "wva".into(),
    }]);
    let lease = serde_saphyr::from_str(
        "metadata: {name: wva-controller}\nspec: {holderIdentity: wva-0, renewTime: '2026-11-20T23:59:58.000000Z'}",
    );
    let figures = Figures::read(&page("")).expect("ours");
    Evidence {
        look: Look::of(NOW, contact, objects, Ok(figures)),
        external_metrics: Ok(Some(api_service("wva", "True"))),
        lease: Ok(Some(lease.expect("a Lease"))),
        reviews: Ok(Vec::new()),
        account: "wva-system:wva".into(),
        pages: Vec::new(),
        prometheus: None,
    }
}

fn api_service(
    name: &str,
    available: &str,
) -> k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService {
    let text = format!(
        "metadata: {{name: v1beta1.external.metrics.k8s.io}}
spec: {{group: external.metrics.k8s.io, version: v1beta1, groupPriorityMinimum: 1, versionPriority: 1, service: {{name: {name}, namespace: wva-system}}}}
status: {{conditions: [{{type: Available, status: '{available}', reason: FailedDiscoveryCheck, message: timed out}}]}}"
    );
    serde_saphyr::from_str(&text).expect("an APIService")
}

/// Codes of errors and warnings that a judge finds.
fn found(judge: fn(&Evidence, &mut Examination), evidence: &Evidence) -> Vec<String> {
    let mut exam = Examination::default();
    judge(evidence, &mut exam);
    let codes = exam.codes().into_iter();
    let codes = codes.filter(|(severity, _)| *severity != Severity::Info);
    codes.map(|(_, code)| code.to_owned()).collect()
}

#[test]
fn where_all_is_well_nothing_is_found() {
    let evidence = evidence(&[DEPLOYMENT, HPA, POOL]);
    let diagnosis = Diagnosis::of(&evidence, "all namespaces".into(), "v1.34.2".into());
    assert_eq!(
        (diagnosis.errors, diagnosis.warnings),
        (0, 0),
        "{:#?}",
        diagnosis.findings
    );
    let tolerance = diagnosis.findings.iter().find(|f| f.code == "Tolerance");
    assert!(tolerance.is_some_and(|f| f.problem.contains("from 10 replicas on")));
}

#[test]
fn every_error_and_warning_says_what_to_do() {
    let mut broken = evidence(&[&HPA.replace("name: llama}\n", "name: gone}\n"), POOL]);
    broken.look.contact.pods.clear();
    broken.look.figures = Err("connection refused".into());
    broken.external_metrics = Ok(None);
    broken.prometheus = Some(("http://prometheus".into(), Ok(0.0)));
    let diagnosis = Diagnosis::of(&broken, String::new(), String::new());
    assert!(diagnosis.errors >= 4, "{:#?}", diagnosis.findings);
    for finding in &diagnosis.findings {
        let needed = finding.severity != Severity::Info;
        assert!(!needed || finding.fix.is_some(), "{finding:?}");
    }
    let order: Vec<Severity> = diagnosis.findings.iter().map(|f| f.severity).collect();
    assert!(order.is_sorted(), "worst first: {order:?}");
}

#[test]
fn the_controller_is_missed_only_where_it_is_missing() {
    let mut none = evidence(&[DEPLOYMENT]);
    none.look.contact.pods.clear();
    assert_eq!(
        found(controller::judge, &none),
        Vec::<String>::new(),
        "its metrics were read"
    );
    none.look.figures = Err("no address".into());
    assert_eq!(found(controller::judge, &none), ["NoController"]);

    let mut late = evidence(&[DEPLOYMENT]);
    late.look.at += 600.0;
    assert_eq!(found(controller::judge, &late), ["NoLeader", "CycleStale"]);

    let mut failing = evidence(&[DEPLOYMENT]);
    failing.look.figures =
        Ok(Figures::read(&page("wva_errors_total{stage=\"watch\"} 3\n")).expect("ours"));
    assert_eq!(found(controller::judge, &failing), ["StageErrors"]);
}

#[test]
fn keda_and_wva_cannot_both_serve_the_group() {
    let mut keda = evidence(&[DEPLOYMENT, HPA]);
    keda.external_metrics = Ok(Some(api_service("keda-operator-metrics-apiserver", "True")));
    assert_eq!(found(registration::judge, &keda), ["KedaOwnsGroup"]);
    keda.external_metrics = Ok(Some(api_service("prometheus-adapter", "False")));
    assert_eq!(
        found(registration::judge, &keda),
        ["OtherOwner", "ApiServiceUnavailable"]
    );
    keda.external_metrics = Ok(None);
    assert_eq!(found(registration::judge, &keda), ["NoExternalMetrics"]);
    let mut unread = evidence(&[DEPLOYMENT]);
    unread.external_metrics = Ok(None);
    assert_eq!(
        found(registration::judge, &unread),
        Vec::<String>::new(),
        "nobody waits for it"
    );
}

#[test]
fn scalers_must_ask_for_their_own_variant_and_divide_by_one() {
    let judged = |hpa: &str| found(scalers::judge, &evidence(&[DEPLOYMENT, hpa]));
    assert_eq!(
        judged(&HPA.replace("variant_name: llama", "variant_name: other")),
        ["NameMismatch"]
    );
    let elsewhere = HPA.replace(
        "variant_name: llama",
        "variant_name: llama, exported_namespace: prod",
    );
    assert_eq!(judged(&elsewhere), ["NamespaceMismatch"]);
    let ratio = HPA.replace(
        "{type: AverageValue, averageValue: '1'}",
        "{type: Value, value: '1'}",
    );
    assert_eq!(judged(&ratio), ["WrongTarget"]);
    let mixed = HPA.replace(
        "  metrics:\n",
        "  metrics:\n    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}\n",
    );
    assert_eq!(judged(&mixed), ["MixedMetrics"]);
    let inactive = format!(
        "{HPA}status: {{conditions: [{{type: ScalingActive, status: 'False', reason: FailedGetExternalMetric, message: no metrics}}]}}\n"
    );
    assert_eq!(judged(&inactive), ["FailedGetExternalMetric"]);
}

#[test]
fn two_scalers_are_an_error_and_other_signals_a_warning() {
    let second = HPA.replace("llama-hpa", "second");
    assert_eq!(
        found(variants::judge, &evidence(&[DEPLOYMENT, HPA, &second])),
        ["TwoScalers"]
    );
    let cpu = HPA.replace("name: wva_desired_replicas", "name: queue_length");
    assert_eq!(
        found(variants::judge, &evidence(&[DEPLOYMENT, &cpu])),
        ["ScaledByOther"]
    );
}

#[test]
fn what_the_controller_says_in_conditions_is_told_with_its_fix() {
    let va = "
apiVersion: llmd.ai/v1alpha1
kind: VariantAutoscaling
metadata: {name: llama, namespace: llm-d, creationTimestamp: 2026-11-20T00:00:00Z}
spec: {modelID: meta-llama/Llama-3.1-8B-Instruct}
";
    assert_eq!(
        found(variants::judge, &evidence(&[DEPLOYMENT, va])),
        ["NeverReconciled"]
    );
    let told = format!(
        "{va}status:
  conditions:
    - {{type: MetricsAvailable, status: 'False', reason: MetricsStale, message: 'stale (40 s): Scrape more often.', lastTransitionTime: 2026-11-20T00:00:00Z}}
    - {{type: InControl, status: 'False', reason: Paused, message: '', lastTransitionTime: 2026-11-20T00:00:00Z}}
"
    );
    let mut exam = Examination::default();
    variants::judge(&evidence(&[DEPLOYMENT, &told]), &mut exam);
    let (findings, _) = exam.finish();
    let stale = findings
        .iter()
        .find(|f| f.code == "MetricsStale")
        .expect("told");
    assert_eq!(stale.fix.as_deref(), Some("Scrape more often."));
    assert!(
        findings.iter().all(|f| f.code != "Paused"),
        "no object says so"
    );
}

#[test]
fn pods_that_crash_are_named_with_the_reason() {
    let pod = "
apiVersion: v1
kind: Pod
metadata:
  name: llama-1
  namespace: llm-d
  uid: p
  creationTimestamp: 2026-11-20T23:59:00Z
  labels: {pod-template-hash: h}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: llama-h, uid: r, controller: true}]
spec: {nodeName: node-1}
status:
  phase: Running
  containerStatuses: [{name: vllm, state: {waiting: {reason: CrashLoopBackOff, message: back-off 5m0s}}}]
";
    let mut exam = Examination::default();
    let evidence = evidence(&[DEPLOYMENT, HPA, pod]);
    variants::judge(&evidence, &mut exam);
    let (findings, _) = exam.finish();
    let crash = findings.iter().find(|f| f.code == "PodNotServing");
    let crash = crash.unwrap_or_else(|| panic!("{findings:#?} {:#?}", evidence.look.fleet));
    assert_eq!(crash.problem, "CrashLoopBackOff");
}

#[test]
fn names_must_match_from_router_to_server() {
    let serves = |model: &str| {
        let page = format!("vllm:num_requests_running{{model_name=\"{model}\"}} 1\n");
        let (reading, _) = wva_controllers::telemetry::engine::EngineReading::of_pages(
            [(page.as_bytes(), Default::default())],
            None,
        );
        let mut evidence = evidence(&[DEPLOYMENT, HPA, POOL]);
        evidence.pages.push(ServerPage {
            variant: wva_controllers::index::Key::new("llm-d", "llama"),
            pod: "llama-1".into(),
            reading: Ok(Box::new(reading.expect("vLLM's"))),
        });
        found(telemetry::judge, &evidence)
    };
    assert_eq!(
        serves("meta-llama/Llama-3.1-8B-Instruct"),
        Vec::<String>::new()
    );
    assert_eq!(
        serves("llama-3.1-8b"),
        Vec::<String>::new(),
        "another name of the same model"
    );
    assert_eq!(serves("something-else"), ["ModelNameMismatch"]);
    let other = POOL.replace("app: llama", "app: other");
    assert_eq!(
        found(telemetry::judge, &evidence(&[DEPLOYMENT, HPA, &other])),
        ["NotRouted"]
    );
}

#[test]
fn old_data_and_held_replicas_are_errors() {
    let labels = "variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"";
    let judged = |figures: &str| {
        let evidence = evidence(&[DEPLOYMENT, HPA, POOL]);
        let figures = Figures::read(figures).expect("ours");
        let objects = evidence.look.objects.clone();
        let look = Look::of(NOW, evidence.look.contact.clone(), objects, Ok(figures));
        found(telemetry::judge, &Evidence { look, ..evidence })
    };
    assert_eq!(
        judged(&format!(
            "wva_desired_replicas{{{labels}}} 2\nwva_data_age_seconds{{{labels}}} 400\nwva_decision_held{{{labels}}} 1\n"
        )),
        ["Held", "Stale"]
    );
    assert_eq!(judged("wva_variants 0\n"), ["NoDecision"]);
}
