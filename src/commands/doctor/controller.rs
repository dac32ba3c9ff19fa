//! Is a controller there, does it lead, does it come round?

use std::collections::BTreeSet;

use super::evidence::Evidence;
use super::finding::Examination;
use crate::figures::{age, count};

/// Age of the last cycle from which on something is wrong, seconds; cycles come every 15 s unless told otherwise.
const LATE_S: f64 = 120.0;

/// Judges the controller.
pub fn judge(evidence: &Evidence, exam: &mut Examination) {
    exam.area("controller");
    let contact = &evidence.look.contact;
    exam.looked_at(contact.pods.len());
    if let Some(trouble) = &contact.trouble {
        exam.not_done(format!("its pods: {trouble}"));
    } else if contact.pods.is_empty() && evidence.look.figures.is_err() {
        return exam.error(
            "NoController",
            "cluster",
            "no controller is there: no pod is labelled app.kubernetes.io/name=wva",
            "helm upgrade --install wva charts/wva --namespace wva-system --create-namespace\n\
             or, where it runs elsewhere, name it: --controller URL or --controller-namespace NAME",
        );
    }
    if let Some(why) = &contact.unread_settings {
        exam.warning(
            "SettingsUnread",
            "controller",
            format!("its settings cannot be read, and the defaults are taken: {why}"),
            "see the chart's ConfigMap: `wva controller --config FILE --check` says what is wrong with it",
        );
    }
    pods(evidence, exam);
    lease(evidence, exam);
    cycles(evidence, exam);
}

fn pods(evidence: &Evidence, exam: &mut Examination) {
    let pods = &evidence.look.contact.pods;
    for pod in pods.iter().filter(|p| !p.ready) {
        let name = format!("Pod {}/{}", pod.namespace, pod.name);
        let fix = format!(
            "kubectl -n {} describe pod {}; kubectl -n {0} logs {1}",
            pod.namespace, pod.name
        );
        exam.warning(
            "ControllerNotReady",
            name,
            "the controller is not ready",
            fix,
        );
    }
    let leaders: Vec<&str> = pods
        .iter()
        .filter(|p| p.leads)
        .map(|p| p.name.as_str())
        .collect();
    if leaders.len() > 1 {
        exam.warning(
            "TwoLeaders",
            format!("Pods {}", leaders.join(", ")),
            "more than one pod is marked as the leader, and HPAs may be told two things",
            "look again in ten seconds; if it stays, kubectl delete pod the one that the Lease does not name",
        );
    }
    let homes: BTreeSet<&str> = pods.iter().map(|p| p.namespace.as_str()).collect();
    if homes.len() > 1 {
        let homes: Vec<&str> = homes.into_iter().collect();
        exam.warning(
            "TwoInstallations",
            format!("namespaces {}", homes.join(", ")),
            "there are several installations, which decide about the same objects unless each has its own",
            "give each its watch.instance and label objects wva.llmd.ai/controller-instance, or its own watch.namespaces",
        );
    }
}

fn lease(evidence: &Evidence, exam: &mut Examination) {
    let Some(home) = evidence.look.contact.pods.first().map(|p| &p.namespace) else {
        return;
    };
    if !evidence.look.contact.settings.leader.elect {
        return;
    }
    let name = &evidence.look.contact.settings.leader.lease;
    let object = format!("Lease {home}/{name}");
    let lease = match &evidence.lease {
        Err(why) => return exam.not_done(format!("its Lease: {why}")),
        Ok(None) => {
            return exam.warning(
                "NoLease",
                object,
                "nobody ever led: nothing is written",
                format!("kubectl -n {home} logs -l app.kubernetes.io/name=wva | grep -i lease; is `leader.lease` another name?"),
            );
        }
        Ok(Some(lease)) => lease,
    };
    exam.looked_at(1);
    let spec = lease.spec.clone().unwrap_or_default();
    let renewed = spec.renew_time.map(|t| t.0.as_millisecond() as f64 / 1e3);
    let quiet = renewed.map_or(f64::INFINITY, |at| evidence.look.at - at);
    let held = spec.holder_identity.is_some_and(|h| !h.is_empty());
    if !held || quiet > LATE_S {
        let since = if quiet.is_finite() {
            format!("not renewed for {}", age(quiet))
        } else {
            "never renewed".to_owned()
        };
        exam.error(
            "NoLeader",
            object,
            format!("nobody leads ({since}): nothing is written"),
            format!("kubectl -n {home} get pods,lease; kubectl -n {home} logs -l app.kubernetes.io/name=wva"),
        );
    }
}

fn cycles(evidence: &Evidence, exam: &mut Examination) {
    let figures = match &evidence.look.figures {
        Ok(figures) => figures,
        Err(why) => {
            exam.not_done(format!("its metrics: {why}"));
            return exam.warning(
                "MetricsUnreachable",
                "controller",
                format!("its metrics cannot be read from here: {why}"),
                "grant yourself get on pods/proxy and services/proxy, or: kubectl port-forward, and --controller http://127.0.0.1:8080",
            );
        }
    };
    exam.looked_at(1);
    match figures.gauge("last_cycle_timestamp_seconds") {
        None => exam.warning(
            "NoCycle",
            "controller",
            "it has not come to its first cycle",
            "curl its /readyz: it names the kinds of objects that are not listed yet",
        ),
        Some(at) if evidence.look.at - at > LATE_S => exam.error(
            "CycleStale",
            "controller",
            format!("its last cycle was {} ago", age(evidence.look.at - at)),
            "see its log; a cycle that takes longer than its interval shows in wva_optimization_duration_seconds",
        ),
        Some(_) => {}
    }
    for (stage, errors) in figures.errors.iter().filter(|(_, n)| **n > 0.0) {
        exam.warning(
            "StageErrors",
            format!("stage {stage}"),
            format!(
                "{} since the controller started",
                count(*errors as usize, "error", "errors")
            ),
            "kubectl logs -l app.kubernetes.io/name=wva | grep WARN",
        );
    }
}
