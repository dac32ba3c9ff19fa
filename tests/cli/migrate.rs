//! `wva migrate` on files: no cluster is needed.

use serde_json::Value;

use crate::Folder;

/// An old installation of version 0.5: a VariantAutoscaling beside an HPA that reads its metric.
const LATEST: &str = "\
apiVersion: llmd.ai/v1alpha1
kind: VariantAutoscaling
metadata:
  name: llama-va
  namespace: llm-d
  labels: {inference.optimization/acceleratorName: H100}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama}
  modelID: meta-llama/Llama-3.1-8B-Instruct
  variantCost: \"32.5\"
  maxReplicas: 6
  sloClassRef: {name: premium, key: meta-llama/Llama-3.1-8B-Instruct}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: llama-hpa
  namespace: llm-d
  resourceVersion: \"7\"
  managedFields: []
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama}
  maxReplicas: 10
  metrics:
    - type: External
      external:
        metric:
          name: inferno_desired_replicas
          selector: {matchLabels: {variant_name: llama-va}}
        target: {type: AverageValue, averageValue: \"1\"}
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
  behavior: {scaleDown: {stabilizationWindowSeconds: 240}}
status: {desiredReplicas: 3}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama, namespace: llm-d}
spec:
  template:
    spec:
      containers:
        - {name: vllm, image: \"vllm/vllm-openai:v0.11.0\", resources: {limits: {nvidia.com/gpu: 1}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: service-classes-config, namespace: wva-system}
data:
  premium.yaml: |
    name: Premium
    priority: 1
    data: [{model: meta-llama/Llama-3.1-8B-Instruct, slo-tpot: 24, slo-ttft: 500}]
";

/// KEDA with a formula of its own.
const KEDA: &str = "\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: qwen, namespace: llm-d}
spec:
  scaleTargetRef: {name: qwen}
  minReplicaCount: 0
  maxReplicaCount: 4
  triggers:
    - type: prometheus
      name: queue
      metadata: {query: 'sum(vllm:num_requests_waiting{model=\"qwen\"})', threshold: '5', serverAddress: http://prometheus}
  advanced: {scalingModifiers: {formula: queue * 2, target: '5'}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: qwen, namespace: llm-d}
spec:
  template:
    spec:
      containers: [{name: s, image: vllm/vllm-openai, args: [--model, Qwen/Qwen3-32B]}]
";

fn migrated(yaml: &str, more: &[&str]) -> Value {
    let folder = Folder::empty();
    folder.write("old.yaml", yaml);
    let arguments = [&["migrate", "-f", "old.yaml", "-o", "json"], more].concat();
    folder.wva(&arguments).json("wva.migrate/v1")
}

fn object<'a>(answer: &'a Value, kind: &str, name: &str) -> &'a Value {
    let objects = answer["objects"].as_array().expect("a list");
    let found = objects
        .iter()
        .find(|o| o["kind"] == kind && o["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in {answer:#}"))
}

fn manifest(answer: &Value, kind: &str, name: &str) -> Value {
    let yaml = object(answer, kind, name)["yaml"].as_str().expect("YAML");
    serde_saphyr::from_str(yaml).expect("valid YAML")
}

fn lost(answer: &Value) -> String {
    answer["not_carried_over"].to_string()
}

#[test]
fn an_hpa_with_a_variant_autoscaling_becomes_an_annotated_hpa() {
    let answer = migrated(LATEST, &[]);
    let hpa = manifest(&answer, "HorizontalPodAutoscaler", "llama-hpa");
    let said = &hpa["metadata"]["annotations"];
    assert_eq!(said["llm-d.ai/managed"], "true");
    assert_eq!(
        said["llm-d.ai/model-id"],
        "meta-llama/Llama-3.1-8B-Instruct"
    );
    assert_eq!(said["llm-d.ai/variant-cost"], "32.5");
    assert_eq!(said["llm-d.ai/variant"], "llama-va", "it keeps its name");
    assert_eq!(said["inference.optimization/acceleratorName"], "H100");
    assert_eq!(said["wva.llmd.ai/service-class"], "premium");
    assert_eq!(hpa["metadata"].get("resourceVersion"), None);
    assert_eq!(hpa.get("status"), None);
    let metrics = hpa["spec"]["metrics"].as_array().expect("metrics");
    assert_eq!(metrics.len(), 1);
    let metric = &metrics[0]["external"]["metric"];
    assert_eq!(metric["name"], "wva_desired_replicas");
    assert_eq!(
        metric["selector"]["matchLabels"]["variant_name"],
        "llama-va"
    );
    assert_eq!(hpa["spec"]["maxReplicas"], 6, "the narrower bound");
    let down = &hpa["spec"]["behavior"]["scaleDown"];
    assert_eq!(
        (&down["tolerance"], &down["stabilizationWindowSeconds"]),
        (&"0".into(), &240.into())
    );
    assert_eq!(
        object(&answer, "VariantAutoscaling", "llama-va")["action"],
        "remove"
    );
    assert!(lost(&answer).contains("cpu at 80 %"), "{}", lost(&answer));
    assert_eq!(answer["findings"], serde_json::json!([]));
    let diff = object(&answer, "HorizontalPodAutoscaler", "llama-hpa")["diff"].to_string();
    assert!(
        diff.contains("--- a/horizontalpodautoscalers/llama-hpa")
            && diff.contains("+    llm-d.ai/managed")
    );
}

#[test]
fn old_classes_and_prices_become_objects() {
    let costs = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: accelerator-unit-costs, namespace: wva-system}
data: {H100: '{\"device\": \"NVIDIA-H100-80GB-HBM3\", \"cost\": \"250\"}', odd: '{{{'}
";
    let answer = migrated(&format!("{LATEST}{costs}"), &[]);
    let class = manifest(&answer, "ServiceClass", "premium");
    assert_eq!(
        class["metadata"]["namespace"], "llm-d",
        "where its models are"
    );
    assert_eq!(class["spec"]["priority"], -1, "higher is more important");
    assert_eq!(class["spec"]["ttftMs"]["mean"], 500.0);
    assert_eq!(class["spec"]["itlMs"]["mean"], 24.0);
    let price = manifest(&answer, "Accelerator", "h100");
    assert_eq!(price["spec"]["name"], "H100");
    assert_eq!(price["spec"]["pricePerHourUsd"], 2.5, "cents before");
    assert!(lost(&answer).contains("odd"), "{}", lost(&answer));
}

#[test]
fn keda_formulas_give_way_to_one_trigger() {
    let answer = migrated(KEDA, &["--scaler-address", "wva.models:9443"]);
    let scaled = manifest(&answer, "ScaledObject", "qwen");
    assert_eq!(
        scaled["metadata"]["annotations"]["llm-d.ai/model-id"],
        "Qwen/Qwen3-32B"
    );
    let triggers = scaled["spec"]["triggers"].as_array().expect("triggers");
    assert_eq!(triggers.len(), 1);
    assert_eq!(
        triggers[0]["type"], "external-push",
        "zero must end at once"
    );
    assert_eq!(triggers[0]["metadata"]["scalerAddress"], "wva.models:9443");
    assert_eq!(triggers[0]["metadata"]["variantName"], "qwen");
    assert_eq!(scaled["spec"]["maxReplicaCount"], 4);
    assert_eq!(scaled["spec"]["advanced"].get("scalingModifiers"), None);
    let lost = lost(&answer);
    assert!(
        lost.contains("vllm:num_requests_waiting") && lost.contains("queue * 2"),
        "{lost}"
    );
}

#[test]
fn an_hpa_can_be_handed_to_keda() {
    let answer = migrated(LATEST, &["--keda", "hpa/llama-hpa"]);
    let scaled = manifest(&answer, "ScaledObject", "llama-hpa");
    let said = &scaled["metadata"]["annotations"];
    assert_eq!(said["scaledobject.keda.sh/transfer-hpa-ownership"], "true");
    assert_eq!(scaled["spec"]["minReplicaCount"], 1);
    assert_eq!(
        scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"],
        "llama-hpa"
    );
    assert_eq!(
        answer["objects"].as_array().map(Vec::len),
        Some(2),
        "only what was named"
    );
}

#[test]
fn measured_parameters_stay_where_they_are() {
    let measured = LATEST.replace(
        "  maxReplicas: 6\n",
        "  variantProfile: {perfParms: {decodeParms: {alpha: '20', beta: '0.4'}}}\n",
    );
    let answer = migrated(&measured, &[]);
    let va = object(&answer, "VariantAutoscaling", "llama-va");
    assert_eq!(va["action"], "keep");
    assert!(va["notes"].to_string().contains("measured parameters"));
    assert_eq!(
        answer["findings"],
        serde_json::json!([]),
        "both are one variant"
    );
}

/// What is proposed is in wva's form: proposing once more changes nothing.
#[test]
fn the_proposal_is_a_fixed_point() {
    for yaml in [LATEST, KEDA] {
        let folder = Folder::empty();
        folder.write("old.yaml", yaml);
        let first = folder.wva(&["migrate", "-f", "old.yaml", "--manifests"]);
        folder.write("new.yaml", first.answered());
        let again = folder.wva(&["migrate", "-f", "new.yaml", "-o", "json"]);
        let answer = again.json("wva.migrate/v1");
        let objects = answer["objects"].as_array().expect("objects");
        assert!(!objects.is_empty());
        for object in objects {
            assert_eq!(object["action"], "keep", "{object:#}");
        }
        assert_eq!(
            answer["not_carried_over"],
            serde_json::json!([]),
            "{answer:#}"
        );
    }
}

#[test]
fn files_are_written_one_per_object() {
    let folder = Folder::empty();
    folder.write("old.yaml", LATEST);
    folder
        .wva(&["migrate", "-f", "old.yaml", "--out", "new", "--manifests"])
        .answered();
    for name in [
        "llm-d-horizontalpodautoscaler-llama-hpa.yaml",
        "llm-d-serviceclass-premium.yaml",
    ] {
        assert!(folder.path("new").join(name).exists(), "{name}");
    }
}

#[test]
fn people_see_what_changes() {
    let folder = Folder::empty();
    folder.write("old.yaml", KEDA);
    insta::assert_snapshot!(folder.wva(&["migrate", "-f", "old.yaml"]).answered());
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let folder = Folder::empty();
    folder.write("bad.yaml", "a: 1\n---\nb: [1\nc: 2\n");
    folder
        .wva(&["migrate", "-f", "bad.yaml"])
        .refused(&["bad.yaml:", "not YAML"]);
    folder
        .wva(&["migrate", "-f", "none.yaml"])
        .refused(&["there is no file `none.yaml`"]);
    folder.write("old.yaml", LATEST);
    folder
        .wva(&["migrate", "-f", "old.yaml", "hpa/other"])
        .refused(&["there is no HorizontalPodAutoscaler other"]);
    folder
        .wva(&["migrate", "-f", "old.yaml", "pod/x"])
        .refused(&["hpa/NAME"]);
}

#[test]
fn hostile_files_do_no_harm() {
    let folder = Folder::empty();
    for (i, text) in [
        "",
        "null",
        "[]",
        "3",
        "kind: HorizontalPodAutoscaler\napiVersion: autoscaling/v2\n",
        "kind: HorizontalPodAutoscaler\napiVersion: autoscaling/v2\nmetadata: 3\nspec: []\n",
        "kind: ScaledObject\napiVersion: keda.sh/v1alpha1\nmetadata: {annotations: x}\nspec: {triggers: {a: b}, advanced: 7}\n",
        "kind: VariantAutoscaling\napiVersion: llmd.ai/v1alpha1\nspec: {slo: 3, modelProfile: x, sloClassRef: []}\n",
        "kind: List\nitems: [null, 3, {kind: List, items: []}]\n",
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: service-classes-config}\ndata: 7\n",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{i}.yaml");
        folder.write(&name, text);
        for more in [&["--manifests"][..], &["--keda"]] {
            let arguments = [&["migrate", "-f", &name], more].concat();
            let ran = folder.wva(&arguments);
            assert!(!ran.err.contains("panicked"), "{text}: {}", ran.err);
            assert!(matches!(ran.code, Some(0 | 2)), "{text}: {ran:?}");
        }
    }
}
