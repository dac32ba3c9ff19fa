//! Conditions of a `VariantAutoscaling`, with the reasons that users of the old controller know.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Part;
use super::memory::VariantMemory;
use super::verdict::{Verdict, told};
use crate::api::status::condition;
use crate::index::Finding;
use crate::index::fleet::Path;
use crate::telemetry::{Missing, Reason};

/// All conditions; the time of the last transition is that of `before` where the status is the same.
pub(super) fn of(
    part: &Part<'_>,
    missing: Option<&Missing>,
    guesses: &[Finding],
    memory: &VariantMemory,
    before: &[Condition],
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let findings: Vec<&Finding> = part.view.findings.iter().chain(guesses).collect();
    let stated = [
        (condition::TARGET_RESOLVED, target(part)),
        (
            condition::METRICS_AVAILABLE,
            metrics(missing, part.contradicted),
        ),
        (condition::OPTIMIZATION_READY, optimization(part, missing)),
        (condition::IN_CONTROL, control(part, memory, now)),
        (
            condition::CONFIGURATION_UNDERSTOOD,
            configuration(&findings),
        ),
    ];
    stated
        .into_iter()
        .map(|(kind, said)| {
            let status = if said.holds { "True" } else { "False" };
            let same = before
                .iter()
                .find(|c| c.type_ == kind && c.status == status);
            Condition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: said.reason,
                message: said.message.chars().take(MOST_CHARS).collect(),
                observed_generation: generation,
                last_transition_time: same
                    .map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
            }
        })
        .collect()
}

/// Longest message, characters.
const MOST_CHARS: usize = 1000;

struct Said {
    holds: bool,
    reason: String,
    message: String,
}

fn said(holds: bool, reason: &str, message: impl Into<String>) -> Said {
    Said {
        holds,
        reason: reason.to_owned(),
        message: message.into(),
    }
}

fn target(part: &Part<'_>) -> Said {
    let target = &part.view.target;
    let name = format!("{} {}", target.kind, target.name);
    if part.view.found {
        said(true, "TargetFound", name)
    } else {
        said(
            false,
            "TargetNotFound",
            format!("{name} does not exist in {}", part.view.key.namespace),
        )
    }
}

fn metrics(missing: Option<&Missing>, contradicted: bool) -> Said {
    let Some(missing) = missing else {
        if contradicted {
            let message = "arrivals are counted by the engines: the endpoint picker claims far more than they got";
            return said(true, "RouterContradicted", message);
        }
        return said(true, "MetricsFound", "arrivals are known");
    };
    let reason = match missing.reason {
        Reason::Stale => "MetricsStale",
        Reason::PrometheusError => "PrometheusError",
        Reason::Absurd | Reason::Contradicted => "MetricsImplausible",
        _ => "MetricsMissing",
    };
    said(false, reason, told(missing))
}

fn optimization(part: &Part<'_>, missing: Option<&Missing>) -> Said {
    match &part.verdict {
        Verdict::Decided { .. } if part.view.paused => said(
            false,
            "SkippedProcessing",
            "paused: replicas stay where they are",
        ),
        Verdict::Decided { decision, .. } => {
            // Figures change every cycle; the code is what lasts.
            let code = decision
                .reasons
                .first()
                .map_or("at-target", |r| r.code.as_str());
            said(
                true,
                "OptimizationSucceeded",
                format!("a verified plan exists; leading reason: {code}"),
            )
        }
        Verdict::Held { reason } => {
            let code = match reason.code.as_str() {
                "held" if missing.is_some() => "MetricsUnavailable",
                "held" => "OptimizationFailed",
                _ => "InvalidConfiguration",
            };
            said(false, code, without_figures(&reason.text))
        }
    }
}

/// Texts of the optimizer hold ages that change each cycle; a condition that changed each cycle would be written each
/// cycle.
fn without_figures(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(' ') {
        if !out.is_empty() {
            out.push(' ');
        }
        let number = word.parse::<f64>().is_ok();
        out.push_str(if number { "…" } else { word });
    }
    out
}

fn control(part: &Part<'_>, memory: &VariantMemory, now: &Time) -> Said {
    let at = now.0.as_millisecond() as f64 / 1e3;
    if memory.contested(at) {
        return said(
            false,
            "TwoWriters",
            "something else keeps changing the replicas; only advice is given",
        );
    }
    if let Some((code, text)) = &memory.failure {
        return said(false, code, text.clone());
    }
    if part.view.paused {
        return said(false, "Paused", "replicas stay where they are");
    }
    match &part.view.path {
        Path::Hpa { name, .. } => said(
            true,
            "ScaledByHpa",
            format!("HorizontalPodAutoscaler {name} follows wva_desired_replicas"),
        ),
        Path::Keda { name } => said(
            true,
            "ScaledByKeda",
            format!("ScaledObject {name} follows wva_desired_replicas"),
        ),
        Path::Scale => said(true, "PatchesScale", "nothing else scales the target"),
        Path::Advice { code, text } => said(false, code, text.clone()),
    }
}

fn configuration(findings: &[&Finding]) -> Said {
    let Some(first) = findings.first() else {
        return said(true, "AsWritten", "nothing was guessed or ignored");
    };
    let texts: Vec<&str> = findings.iter().map(|f| f.text.as_str()).collect();
    said(false, first.code, texts.join("; "))
}
