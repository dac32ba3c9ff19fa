//! The HPAs and ScaledObjects in front: do they read the right value, the right way, and do they say that all is well?

use kube::core::DynamicObject;
use serde_json::Value;
use wva_controllers::index::Kind;
use wva_controllers::index::fleet::{Path, VariantView};
use wva_controllers::keda::VARIANT_NAME;

use super::evidence::Evidence;
use super::finding::Examination;

/// Metric names that are ours, by how they begin.
const OURS: [&str; 2] = ["wva_", "inferno_"];
/// Labels by which a selector names a namespace.
const NAMESPACE_LABELS: [&str; 2] = ["namespace", "exported_namespace"];

/// Judges the scalers.
pub fn judge(evidence: &Evidence, exam: &mut Examination) {
    exam.area("HPAs and ScaledObjects");
    let objects = &evidence.look.objects;
    let ours = objects.of(Kind::HorizontalPodAutoscaler).iter();
    for hpa in ours.filter(|hpa| reads_us(hpa) && !by_keda(hpa)) {
        exam.looked_at(1);
        let scaler = Scaler::new(evidence, hpa, "HorizontalPodAutoscaler");
        scaler.metrics(exam);
        scaler.conditions(exam);
        scaler.tolerance(exam);
    }
    for scaled in objects.of(Kind::ScaledObject) {
        let scaler = Scaler::new(evidence, scaled, "ScaledObject");
        if scaler.view.is_some() {
            exam.looked_at(1);
            scaler.triggers(exam);
            scaler.conditions(exam);
        }
    }
}

/// Whether an HPA reads an external metric of ours.
pub fn reads_us(hpa: &DynamicObject) -> bool {
    external_metrics(hpa).any(is_ours)
}

fn external_metrics(hpa: &DynamicObject) -> impl Iterator<Item = &Value> {
    let metrics = hpa.data.pointer("/spec/metrics").and_then(Value::as_array);
    metrics
        .into_iter()
        .flatten()
        .filter_map(|m| m.get("external"))
}

fn is_ours(external: &Value) -> bool {
    let name = external.pointer("/metric/name").and_then(Value::as_str);
    name.is_some_and(|n| OURS.iter().any(|prefix| n.starts_with(prefix)))
}

/// Made by KEDA for a ScaledObject: an implementation detail.
fn by_keda(hpa: &DynamicObject) -> bool {
    let owners = hpa.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|o| o.kind == "ScaledObject")
}

struct Scaler<'a> {
    evidence: &'a Evidence,
    object: &'a DynamicObject,
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    /// The variant whose target it scales.
    view: Option<&'a VariantView>,
}

impl<'a> Scaler<'a> {
    fn new(evidence: &'a Evidence, object: &'a DynamicObject, kind: &'static str) -> Self {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let target = object.data.pointer("/spec/scaleTargetRef");
        let text = |key| target.and_then(|t| t.get(key)).and_then(Value::as_str);
        let (target_kind, target) = (
            text("kind").unwrap_or("Deployment"),
            text("name").unwrap_or_default(),
        );
        let scales = |v: &&VariantView| {
            let same = (v.target.kind.as_str(), v.target.name.as_str());
            v.key.namespace == namespace && same == (target_kind, target)
        };
        Self {
            evidence,
            object,
            kind,
            namespace,
            name: object.metadata.name.as_deref().unwrap_or_default(),
            view: evidence.look.fleet.variants.iter().find(scales),
        }
    }

    fn title(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }

    fn metrics(&self, exam: &mut Examination) {
        for external in external_metrics(self.object).filter(|m| is_ours(m)) {
            self.selector(external, exam);
            self.value(external, exam);
        }
        let metrics = self
            .object
            .data
            .pointer("/spec/metrics")
            .and_then(Value::as_array);
        let others = metrics.into_iter().flatten();
        let others = others.filter(|m| !m.get("external").is_some_and(is_ours));
        let others = others.count();
        if others > 0 {
            exam.warning(
                "MixedMetrics",
                self.title(),
                format!("it reads {others} other metrics as well and takes the largest wish: it will not go below theirs"),
                "leave wva_desired_replicas as its only metric",
            );
        }
    }

    /// Whether the selector picks the variant of this target, and no other.
    fn selector(&self, external: &Value, exam: &mut Examination) {
        let labels = external.pointer("/metric/selector/matchLabels");
        let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
        let expressions = external.pointer("/metric/selector/matchExpressions");
        let Some(view) = self.view else {
            return exam.error(
                "NoVariantForScaler",
                self.title(),
                "it waits for a value of wva, but its target is no variant",
                format!(
                    "kubectl -n {} annotate hpa {} llm-d.ai/managed=true",
                    self.namespace, self.name
                ),
            );
        };
        let wanted = view.key.name.as_str();
        match label("variant_name") {
            Some(name) if name == wanted => {}
            Some(name) => exam.error(
                "NameMismatch",
                self.title(),
                format!("it selects variant_name={name}, but its target is the variant {wanted}"),
                selector_yaml(wanted),
            ),
            None if expressions.is_none() && self.siblings() > 1 => exam.error(
                "NoSelector",
                self.title(),
                "it selects no variant: the HPA adds up the wishes of all variants of the namespace",
                selector_yaml(wanted),
            ),
            None => {}
        }
        let elsewhere = NAMESPACE_LABELS.iter().find_map(|key| {
            let named = label(key)?;
            (named != self.namespace).then_some((*key, named))
        });
        if let Some((key, named)) = elsewhere {
            exam.error(
                "NamespaceMismatch",
                self.title(),
                format!("it selects {key}={named}, but it is in {}", self.namespace),
                format!("take {key} out of the selector: values are asked for in the HPA's own namespace"),
            );
        }
    }

    fn siblings(&self) -> usize {
        let here = |v: &&VariantView| v.key.namespace == self.namespace;
        self.evidence
            .look
            .fleet
            .variants
            .iter()
            .filter(here)
            .count()
    }

    /// The value is a number of replicas, so the HPA must divide by one per replica.
    fn value(&self, external: &Value, exam: &mut Examination) {
        let target = external.get("target");
        let text = |key| target.and_then(|t| t.get(key)).and_then(Value::as_str);
        if text("type") == Some("AverageValue") && text("averageValue") == Some("1") {
            return;
        }
        let ratio = external.pointer("/metric/name").and_then(Value::as_str);
        if ratio.is_some_and(|n| n.ends_with("_ratio")) && text("type") == Some("Value") {
            return;
        }
        exam.error(
            "WrongTarget",
            self.title(),
            "the metric is a number of replicas, but the target is not an average of 1 per replica",
            "target: {type: AverageValue, averageValue: \"1\"}",
        );
    }

    fn conditions(&self, exam: &mut Examination) {
        let conditions = self.object.data.pointer("/status/conditions");
        for condition in conditions.and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| condition[key].as_str().unwrap_or_default();
            let (kind, status, reason) = (text("type"), text("status"), text("reason"));
            let failed =
                matches!(kind, "ScalingActive" | "AbleToScale" | "Ready") && status == "False";
            // An HPA whose target has no replica is off by design.
            if failed && reason != "ScalingDisabled" {
                exam.error(
                    if reason.is_empty() {
                        "ScalerNotReady"
                    } else {
                        reason
                    },
                    self.title(),
                    format!("{kind}: {}", text("message")),
                    self.remedy(reason),
                );
            }
            if kind == "ScalingLimited" && status == "True" && reason == "TooManyReplicas" {
                exam.warning(
                    "AtMaximum",
                    self.title(),
                    text("message"),
                    format!(
                        "raise spec.maxReplicas if more may be had: kubectl -n {} edit hpa {}",
                        self.namespace, self.name
                    ),
                );
            }
        }
    }

    fn remedy(&self, reason: &str) -> String {
        match reason {
            "FailedGetExternalMetric" => format!(
                "kubectl get --raw '/apis/external.metrics.k8s.io/v1beta1/namespaces/{}/wva_desired_replicas' shows what there is; \
                 a variant that was never decided has no value",
                self.namespace
            ),
            "FailedGetScale" => {
                "is the target there, and of the kind that scaleTargetRef says?".to_owned()
            }
            "AmbiguousSelector" => {
                "two HPAs select the same pods: give each workload labels of its own".to_owned()
            }
            _ => format!(
                "kubectl -n {} describe {} {}",
                self.namespace,
                self.kind.to_ascii_lowercase(),
                self.name
            ),
        }
    }

    fn tolerance(&self, exam: &mut Examination) {
        let Some(Path::Hpa {
            tolerance: Some(tolerance),
            ..
        }) = self.view.map(|v| &v.path)
        else {
            return;
        };
        let from = (1.0 / tolerance).ceil();
        exam.info(
            "Tolerance",
            self.title(),
            format!(
                "changes of up to {:.0} % are ignored: from {from:.0} replicas on wva has to overshoot to move it by one",
                tolerance * 100.0
            ),
            Some(
                "behavior: {scaleUp: {tolerance: 0}, scaleDown: {tolerance: 0}}\n\
                 where the API server keeps it (feature gate HPAConfigurableTolerance)"
                    .to_owned(),
            ),
        );
    }

    fn triggers(&self, exam: &mut Examination) {
        let Some(view) = self.view else { return };
        let triggers = self
            .object
            .data
            .pointer("/spec/triggers")
            .and_then(Value::as_array);
        for trigger in triggers.into_iter().flatten() {
            let kind = trigger["type"].as_str().unwrap_or_default();
            if !kind.starts_with("external") {
                continue;
            }
            let text = |key: &str| trigger["metadata"][key].as_str();
            if text("scalerAddress").is_none_or(str::is_empty) {
                exam.error(
                    "NoScalerAddress",
                    self.title(),
                    "its external trigger has no scalerAddress",
                    "metadata: {scalerAddress: wva.wva-system:9443}",
                );
            }
            let named = text(VARIANT_NAME).unwrap_or(self.name);
            if named != view.key.name {
                exam.error(
                    "NameMismatch",
                    self.title(),
                    format!(
                        "its trigger asks for the variant {named}, but its target is the variant {}",
                        view.key.name
                    ),
                    format!("metadata: {{{VARIANT_NAME}: {}}}", view.key.name),
                );
            }
        }
    }
}

fn selector_yaml(variant: &str) -> String {
    format!(
        "external: {{metric: {{name: wva_desired_replicas, selector: {{matchLabels: {{variant_name: {variant}}}}}}}}}"
    )
}
