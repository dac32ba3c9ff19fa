//! Who serves `external.metrics.k8s.io`, and is it the one that the scalers need?

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use wva_controllers::index::Kind;

use super::evidence::{EXTERNAL_METRICS, Evidence};
use super::finding::Examination;
use super::scalers::reads_us;

/// Judges the registration.
pub fn judge(evidence: &Evidence, exam: &mut Examination) {
    exam.area("external metrics API");
    let object = format!("APIService {EXTERNAL_METRICS}");
    let readers: Vec<String> = evidence
        .look
        .objects
        .of(Kind::HorizontalPodAutoscaler)
        .iter()
        .filter(|hpa| reads_us(hpa))
        .map(|hpa| hpa.metadata.name.clone().unwrap_or_default())
        .collect();
    let service = match &evidence.external_metrics {
        Err(why) => return exam.not_done(why.clone()),
        Ok(None) if readers.is_empty() => return,
        Ok(None) => {
            return exam.error(
                "NoExternalMetrics",
                object,
                format!(
                    "nobody serves external metrics, which {} waits for",
                    some(&readers)
                ),
                "set serve.external_metrics in the controller's configuration and install its APIService (the chart does both)",
            );
        }
        Ok(Some(service)) => service,
    };
    exam.looked_at(1);
    let owner = owner(service);
    let program = owner.rsplit('/').next().unwrap_or_default();
    if program.contains("keda") && !readers.is_empty() {
        exam.error(
            "KedaOwnsGroup",
            object.as_str(),
            format!(
                "KEDA owns the group (Service {owner}), and only one may: {} gets no value from wva",
                some(&readers)
            ),
            "turn the HPA into a ScaledObject with an external trigger: wva migrate hpa/NAME --keda",
        );
    } else if !program.contains("wva") && !program.contains("keda") && !readers.is_empty() {
        exam.warning(
            "OtherOwner",
            object.as_str(),
            format!("another adapter owns the group (Service {owner}): values pass through it, with its delay and its rules"),
            "let it serve wva_desired_replicas, or remove it and let wva serve the group",
        );
    }
    availability(service, &object, &owner, exam);
}

/// Namespace and name of the Service behind it.
fn owner(service: &APIService) -> String {
    let reference = service.spec.as_ref().and_then(|s| s.service.as_ref());
    let text = |t: Option<&String>| t.cloned().unwrap_or_default();
    reference.map_or_else(
        || "none".to_owned(),
        |s| format!("{}/{}", text(s.namespace.as_ref()), text(s.name.as_ref())),
    )
}

fn availability(service: &APIService, object: &str, owner: &str, exam: &mut Examination) {
    let conditions = service.status.as_ref().and_then(|s| s.conditions.as_ref());
    let available = conditions.and_then(|c| c.iter().find(|c| c.type_ == "Available"));
    let Some(available) = available.filter(|c| c.status != "True") else {
        return;
    };
    let reason = available.reason.as_deref().unwrap_or("Unknown");
    let message = available.message.as_deref().unwrap_or_default();
    let (namespace, name) = owner.split_once('/').unwrap_or(("", owner));
    let fix = match reason {
        "ServiceNotFound" => {
            format!(
                "kubectl -n {namespace} get service {name}: it does not exist; install it again, or kubectl delete apiservice {EXTERNAL_METRICS}"
            )
        }
        "MissingEndpoints" | "EndpointsNotFound" => {
            format!(
                "kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}: no ready pod is behind it; the leader marks itself with wva.llmd.ai/leader=true"
            )
        }
        _ => format!(
            "kubectl get apiservice {EXTERNAL_METRICS} -o yaml; does caBundle match the certificate, and may the API server reach {owner}?"
        ),
    };
    exam.error(
        "ApiServiceUnavailable",
        object,
        format!("is not available ({reason}): {message}"),
        fix,
    );
}

/// A few of these names.
fn some(names: &[String]) -> String {
    match names {
        [one] => format!("HPA {one}"),
        [first, ..] => format!("HPA {first} (and {} more)", names.len() - 1),
        [] => "no HPA".to_owned(),
    }
}
