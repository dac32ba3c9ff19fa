//! What people are told, each thing once in a while.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use wva_optimizer::decision::Reason;
use wva_optimizer::step::Cycle;

use super::Part;
use super::effects::Effect;
use super::memory::VariantMemory;
use super::verdict::Verdict;
use crate::index::Finding;
use crate::index::fleet::{Path, Subject};

/// Time before the same thing is told again while it lasts, seconds.
const AGAIN_S: f64 = 1800.0;
/// Time between two events about changes, seconds: a ramp is told in steps, not replica by replica.
const CHANGE_S: f64 = 30.0;

/// Something to tell.
struct Tale {
    reason: &'static str,
    warning: bool,
    /// Seconds before it is told again.
    every: f64,
    note: String,
}

pub(super) fn effects(
    part: &Part<'_>,
    cycle: &Cycle,
    memory: &mut VariantMemory,
    now: f64,
) -> Vec<Effect> {
    let mut tales = match &part.verdict {
        Verdict::Held { reason } => vec![held(part, reason)],
        Verdict::Decided { .. } => decided(part, cycle, memory),
    };
    tales.extend(troubles(part, memory, now));
    memory.told.retain(|_, at| now - *at < AGAIN_S);
    let due = |tale: &Tale| {
        memory
            .told
            .get(tale.reason)
            .is_none_or(|at| now - at >= tale.every)
    };
    tales.retain(due);
    let mut tell = |tale: Tale| {
        memory.told.insert(tale.reason.to_owned(), now);
        Effect::Event {
            variant: part.view.key.clone(),
            subject: part.view.subject.clone(),
            reason: tale.reason,
            note: tale.note,
            warning: tale.warning,
        }
    };
    tales.into_iter().map(&mut tell).collect()
}

/// What is wrong with objects that belong to no variant, told where their owners look.
pub(super) fn of_objects(
    findings: &[Finding],
    told: &mut BTreeMap<String, f64>,
    now: f64,
) -> Vec<Effect> {
    told.retain(|_, at| now - *at < AGAIN_S);
    let mut out = Vec::new();
    for finding in findings {
        let Some((kind, variant)) = finding.object() else {
            continue;
        };
        let about = format!("{} {}", finding.subject, finding.code);
        if told.contains_key(&about) {
            continue;
        }
        told.insert(about, now);
        let (api_version, kind, _) = kind.names();
        out.push(Effect::Event {
            subject: Subject {
                api_version: api_version.into(),
                kind: kind.into(),
                name: variant.name.clone(),
                uid: String::new(),
            },
            variant,
            reason: "InvalidConfiguration",
            note: finding.text.clone(),
            warning: true,
        });
    }
    out
}

/// Warnings of one reason that a cycle tells at most.
const MOST_ALIKE: usize = 20;

/// The effects without warnings that repeat themselves: a source that is down is trouble for thousands of variants, and as many
/// events would be trouble for the API server. The last one that is told counts the others.
pub(super) fn condensed(effects: impl IntoIterator<Item = Effect>) -> Vec<Effect> {
    let mut out: Vec<Effect> = Vec::new();
    // By reason: how many there are, and which of those that are kept is the last.
    let mut alike: BTreeMap<&'static str, (usize, usize)> = BTreeMap::new();
    for effect in effects {
        if let Effect::Event {
            reason,
            warning: true,
            ..
        } = &effect
        {
            let (count, last) = alike.entry(reason).or_default();
            *count += 1;
            if *count > MOST_ALIKE {
                continue;
            }
            *last = out.len();
        }
        out.push(effect);
    }
    for (count, last) in alike.into_values().filter(|(n, _)| *n > MOST_ALIKE) {
        if let Some(Effect::Event { note, .. }) = out.get_mut(last) {
            let others = count - MOST_ALIKE;
            *note = format!("{note} (and the same of {others} others)");
        }
    }
    out
}

fn warning(reason: &'static str, note: impl Into<String>) -> Tale {
    Tale {
        reason,
        warning: true,
        every: AGAIN_S,
        note: note.into(),
    }
}

fn held(part: &Part<'_>, reason: &Reason) -> Tale {
    let code = match reason.code.as_str() {
        "held" => "MetricsUnavailable",
        "target-not-found" => "TargetNotFound",
        _ => "InvalidConfiguration",
    };
    warning(
        code,
        format!("replicas stay at {}: {}", part.view.desired, reason.text),
    )
}

fn decided(part: &Part<'_>, cycle: &Cycle, memory: &VariantMemory) -> Vec<Tale> {
    let Verdict::Decided {
        decision,
        wanted,
        carried_out,
    } = &part.verdict
    else {
        return Vec::new();
    };
    let why = decision.reasons.first().map_or("", |r| r.text.as_str());
    let before = memory.decided.unwrap_or(part.view.desired);
    let verb = if *carried_out { "asked" } else { "advised" };
    let change = |reason| Tale {
        reason,
        warning: false,
        every: CHANGE_S,
        note: format!("{verb} for {wanted} replicas instead of {before}: {why}"),
    };
    let mut tales = match wanted.cmp(&before) {
        Ordering::Greater => vec![change("ScaledUp")],
        Ordering::Less => vec![change("ScaledDown")],
        Ordering::Equal => Vec::new(),
    };
    if let Some(reason) = decision.reasons.iter().find(|r| r.code == "stock-out") {
        tales.push(warning("ResourceConstrained", reason.text.clone()));
    }
    let model = part.view.model.as_ref().map(ToString::to_string);
    let unmet = cycle.unmet.iter().find(|(m, ..)| Some(m) == model.as_ref());
    tales.extend(unmet.map(|(_, class, share)| {
        let note = format!(
            "{:.0} % of the traffic of class {class} cannot be served in time by any mix that is allowed",
            share * 100.0
        );
        warning("Infeasible", note)
    }));
    tales
}

fn troubles(part: &Part<'_>, memory: &VariantMemory, now: f64) -> Vec<Tale> {
    let mut tales = Vec::new();
    if memory.contested(now) {
        let note = "something else keeps changing the replicas; only advice is given";
        tales.push(warning("TwoWriters", note));
    } else if let Path::Advice {
        code: "TwoScalers",
        text,
    } = &part.view.path
    {
        tales.push(warning("TwoScalers", text.clone()));
    }
    if let Some((code, text)) = memory.failure.as_ref().or(memory.untold.as_ref()) {
        tales.push(warning("WriteFailed", format!("{code}: {text}")));
    }
    let failing = part
        .view
        .pods
        .iter()
        .find_map(|p| Some((&p.name, p.failing.as_ref()?)));
    tales.extend(failing.map(|(pod, why)| warning("ReplicaFailing", format!("pod {pod}: {why}"))));
    tales
}
