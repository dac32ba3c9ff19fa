//! The status of a `VariantAutoscaling`, written when it says something new.
//!
//! Latencies and margins drift all the time. They are written along with changes that matter, and on their own only when
//! they moved much and some time has passed, so that a steady fleet makes no writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::effects::Effect;
use super::memory::VariantMemory;
use super::verdict::Verdict;
use super::{Part, conditions};
use crate::api::status::{
    Actuation, CurrentAllocation, DesiredAllocation, VariantAutoscalingStatus,
};
use crate::index::Finding;
use crate::index::fleet::Way;
use crate::telemetry::Missing;

/// Time between two writes of nothing but drift, seconds.
const DRIFT_S: f64 = 300.0;
/// Relative move of a drifting figure that is worth a write.
const MOVED: f64 = 0.2;

/// Figures below this (milliseconds, per cent) count as this when moves are judged.
const LEAST: f64 = 10.0;

pub(super) fn effect(
    part: &Part<'_>,
    missing: Option<Missing>,
    guesses: &[Finding],
    memory: &mut VariantMemory,
    now: f64,
) -> Option<Effect> {
    let Way::Autoscaling {
        generation,
        version,
        status: before,
    } = &part.view.way
    else {
        return None;
    };
    let time = Time(Timestamp::from_second(now as i64).ok()?);
    let mut status = VariantAutoscalingStatus {
        conditions: conditions::of(
            part,
            missing.as_ref(),
            guesses,
            memory,
            &before.conditions,
            *generation,
            &time,
        ),
        observed_generation: *generation,
        ..figures(part, before)
    };
    let changed = steady(&status) != steady(before);
    let drifted = now - memory.status_at >= DRIFT_S && drifted(&status, before);
    if !(changed || drifted) {
        return None;
    }
    memory.status_at = now;
    if let Some(desired) = &mut status.desired_optimized_alloc {
        desired.last_run_time = Some(time);
    }
    Some(Effect::Status {
        variant: part.view.key.clone(),
        version: version.clone(),
        status: Box::new(status),
    })
}

fn figures(part: &Part<'_>, before: &VariantAutoscalingStatus) -> VariantAutoscalingStatus {
    let view = part.view;
    let whole = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let ms = |s: Option<f64>| s.map(|s| format!("{:.2}", s * 1e3));
    let (wanted, reason, mode) = match &part.verdict {
        Verdict::Decided {
            decision,
            wanted,
            carried_out,
        } => {
            let reason = decision
                .reasons
                .first()
                .map_or("at-target", |r| r.code.as_str());
            let mode = if view.paused {
                "paused"
            } else if *carried_out {
                "control"
            } else {
                "advise"
            };
            (Some(*wanted), reason.to_owned(), mode)
        }
        Verdict::Held { reason } => (None, reason.code.clone(), "held"),
    };
    // While replicas are held, the last wish stands.
    let stood = before
        .desired_optimized_alloc
        .as_ref()
        .and_then(|d| d.num_replicas);
    let desired = wanted.map(whole).or(stood);
    let cost = |n: i32| part.price.map(|p| format!("{:.2}", p * f64::from(n)));
    VariantAutoscalingStatus {
        target: Some(format!("{}/{}", view.target.kind, view.target.name)),
        mode: Some(mode.to_owned()),
        reason: Some(reason),
        slo_margin: part.margin.map(|m| format!("{:.0}%", m * 100.0)),
        cost_per_hour: desired.and_then(cost),
        current_alloc: Some(CurrentAllocation {
            accelerator: view.accelerator.clone(),
            num_replicas: whole(view.desired),
            max_batch: view.args.max_num_seqs.or(view.max_batch).map(whole),
            variant_cost: cost(whole(view.desired)),
            itl_average: ms(part.observed.itl),
            ttft_average: ms(part.observed.ttft),
            load: None,
        }),
        desired_optimized_alloc: Some(DesiredAllocation {
            last_run_time: before
                .desired_optimized_alloc
                .as_ref()
                .and_then(|d| d.last_run_time.clone()),
            accelerator: view.accelerator.clone(),
            num_replicas: desired,
        }),
        actuation: Some(Actuation {
            applied: wanted == Some(view.desired),
        }),
        ..VariantAutoscalingStatus::default()
    }
}

/// The status without what drifts.
fn steady(status: &VariantAutoscalingStatus) -> VariantAutoscalingStatus {
    let mut steady = status.clone();
    steady.slo_margin = None;
    if let Some(current) = &mut steady.current_alloc {
        current.itl_average = None;
        current.ttft_average = None;
        current.load = None;
    }
    if let Some(desired) = &mut steady.desired_optimized_alloc {
        desired.last_run_time = None;
    }
    steady
}

fn drifted(now: &VariantAutoscalingStatus, before: &VariantAutoscalingStatus) -> bool {
    let figures = |s: &VariantAutoscalingStatus| {
        let current = s.current_alloc.as_ref();
        [
            s.slo_margin.clone(),
            current.and_then(|c| c.itl_average.clone()),
            current.and_then(|c| c.ttft_average.clone()),
        ]
    };
    let moved = |a: &Option<String>, b: &Option<String>| {
        let number = |t: &Option<String>| t.as_ref()?.trim_end_matches('%').parse::<f64>().ok();
        match (number(a), number(b)) {
            // A margin of a few per cent is small whichever way it moves.
            (Some(a), Some(b)) => (a - b).abs() > MOVED * a.abs().max(b.abs()).max(LEAST),
            (Some(_), None) => true,
            _ => false,
        }
    };
    figures(now)
        .iter()
        .zip(&figures(before))
        .any(|(a, b)| moved(a, b))
}
