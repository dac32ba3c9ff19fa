//! Each variant: does its target exist, is it understood, does anybody else scale it, do its pods come up?

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use wva_controllers::api::keys;
use wva_controllers::api::status::condition;
use wva_controllers::index::Finding as Told;
use wva_controllers::index::fleet::{Path, PodState, VariantView, Way};

use super::evidence::Evidence;
use super::finding::{Examination, Severity};
use crate::figures::age;

/// Time after which a variant that nobody wrote a status for is not being looked at, seconds.
const UNSEEN_S: f64 = 120.0;
/// Time after which a pod that does not serve is a finding, seconds: large models load for minutes.
const SLOW_S: f64 = 900.0;
/// Conditions that repeat what is judged here from the objects.
const JUDGED: [&str; 2] = [
    condition::TARGET_RESOLVED,
    condition::CONFIGURATION_UNDERSTOOD,
];
/// Reasons for being out of control that are judged here from the objects.
const OWNED: [&str; 5] = [
    "Paused",
    "AdviceOnly",
    "TwoScalers",
    "ScaledByOther",
    "Unknown",
];

/// Judges the variants and the configuration around them.
pub fn judge(evidence: &Evidence, exam: &mut Examination) {
    exam.area("variants");
    let fleet = &evidence.look.fleet;
    exam.looked_at(fleet.variants.len());
    if fleet.variants.is_empty() {
        exam.warning(
            "NoVariant",
            "cluster",
            "nothing is opted in, and no InferencePool selects a workload",
            format!(
                "kubectl annotate hpa NAME {}=true {}=MODEL\nor see `wva migrate`",
                keys::MANAGED,
                keys::MODEL_ID
            ),
        );
    }
    let watched = &evidence.look.contact.settings.watch.namespaces;
    for view in &fleet.variants {
        if !watched.is_empty() && !watched.contains(&view.key.namespace) {
            exam.error(
                "NotWatched",
                subject(view),
                format!(
                    "the controller does not watch its namespace, but {}",
                    watched.join(", ")
                ),
                "add it to scope.namespaces of the chart (watch.namespaces of the file)",
            );
        }
        target(view, exam);
        ownership(view, exam);
        if view.found {
            understood(view, exam);
        }
        conditions(evidence, view, exam);
        pods(evidence, view, exam);
    }
    exam.area("configuration");
    exam.looked_at(fleet.findings.len() + fleet.classes.len());
    for told in &fleet.findings {
        exam.told(
            Severity::Warning,
            told.code,
            told.subject.as_str(),
            &told.text,
            "",
        );
    }
}

/// The object that speaks for a variant, for people.
pub fn subject(view: &VariantView) -> String {
    format!(
        "{} {}/{}",
        view.subject.kind, view.key.namespace, view.subject.name
    )
}

/// The command that annotates it.
fn annotate(view: &VariantView, what: &str) -> String {
    format!(
        "kubectl -n {} annotate {} {} {what}",
        view.key.namespace,
        view.subject.kind.to_ascii_lowercase(),
        view.subject.name
    )
}

fn target(view: &VariantView, exam: &mut Examination) {
    if !view.found {
        exam.error(
            "TargetNotFound",
            subject(view),
            format!(
                "{} {} does not exist in {}",
                view.target.kind, view.target.name, view.key.namespace
            ),
            format!(
                "kubectl -n {} get {}; correct spec.scaleTargetRef of the {}",
                view.key.namespace,
                view.target.kind.to_ascii_lowercase(),
                view.subject.kind
            ),
        );
    } else if view.model.is_none() {
        exam.error(
            "UnknownModel",
            subject(view),
            "nothing says which model it serves",
            annotate(view, &format!("{}=MODEL", keys::MODEL_ID)),
        );
    }
}

fn ownership(view: &VariantView, exam: &mut Examination) {
    if view.paused {
        let undo = format!("wva resume {}", view.name());
        exam.info(
            "Paused",
            subject(view),
            "replicas stay where they are",
            Some(undo),
        );
    }
    let Path::Advice { code, text } = &view.path else {
        return;
    };
    match *code {
        "TwoScalers" => exam.told(Severity::Error, code, subject(view), text, ""),
        "AdviceOnly" => exam.told(Severity::Info, code, subject(view), text, ""),
        _ => {
            let fix = format!("wva migrate -n {}", view.key.namespace);
            exam.told(Severity::Warning, code, subject(view), text, &fix);
        }
    }
}

fn understood(view: &VariantView, exam: &mut Examination) {
    for Told {
        subject,
        code,
        text,
    } in &view.findings
    {
        let severity = match *code {
            "UnknownAccelerator" if view.accelerator.is_none() => Severity::Error,
            _ => Severity::Warning,
        };
        let fix = annotate(view, &format!("{}=NAME", keys::ACCELERATOR));
        let fix = if *code == "UnknownAccelerator" {
            &fix
        } else {
            ""
        };
        exam.told(severity, code, subject.as_str(), text, fix);
    }
}

fn conditions(evidence: &Evidence, view: &VariantView, exam: &mut Examination) {
    let Way::Autoscaling { status, .. } = &view.way else {
        return;
    };
    if status.conditions.is_empty() {
        let entry = evidence.look.entries.iter().find(|e| e.key() == view.key);
        let old = entry.and_then(|e| e.age_s).is_some_and(|s| s > UNSEEN_S);
        if old {
            exam.error(
                "NeverReconciled",
                subject(view),
                "no controller has written a status for it",
                "is a controller running that watches this namespace and instance? see the findings about the controller",
            );
        }
        return;
    }
    let unmet = status.conditions.iter().filter(|c| c.status == "False");
    for unmet in unmet.filter(|c| !JUDGED.contains(&c.type_.as_str())) {
        condition_unmet(view, unmet, exam);
    }
}

fn condition_unmet(view: &VariantView, unmet: &Condition, exam: &mut Examination) {
    let told = unmet.type_ == condition::IN_CONTROL && OWNED.contains(&unmet.reason.as_str());
    let paused = unmet.reason == "SkippedProcessing";
    if told || paused {
        return;
    }
    // Messages about metrics read `reason (detail): what to do`.
    let (problem, fix) = match unmet.message.split_once(": ") {
        Some((what, fix)) if unmet.type_ == condition::METRICS_AVAILABLE => (what, fix),
        _ => (unmet.message.as_str(), ""),
    };
    let fix = if fix.is_empty() {
        format!("wva explain {}", view.name())
    } else {
        fix.to_owned()
    };
    exam.error(
        &unmet.reason,
        subject(view),
        format!("{}: {problem}", unmet.type_),
        fix,
    );
}

fn pods(evidence: &Evidence, view: &VariantView, exam: &mut Examination) {
    for pod in &view.pods {
        let (asked, what) = match pod.state {
            PodState::Ready { .. } | PodState::Draining => continue,
            PodState::Starting { asked } => (asked, "does not become ready"),
            PodState::Pending { asked } => (asked, "finds no node"),
        };
        let waited = evidence.look.at - asked;
        if pod.failing.is_none() && waited < SLOW_S {
            continue;
        }
        let slow = || format!("{what} for {}", age(waited));
        let why = pod.failing.clone().unwrap_or_else(slow);
        let fix = format!(
            "kubectl -n {} describe pod {}; kubectl -n {0} logs {1} --previous",
            view.key.namespace, pod.name
        );
        let pod = format!("Pod {}/{}", view.key.namespace, pod.name);
        exam.warning("PodNotServing", pod, why, fix);
    }
}
