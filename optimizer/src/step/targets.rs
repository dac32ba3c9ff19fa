//! From planned replicas to targets: what is unknown is held, what is known is stabilised, and a stock-out keeps one
//! pending replica as a probe so that the fleet returns when devices do.

use super::beliefs::{asked_for, sample_of, stocked_out, with_device};
use super::demand::Demand;
use super::{Autoscaler, reason};
use crate::decision::{Decision, Reason};
use crate::planner::Planned;
use crate::snapshot::Snapshot;
use crate::stabilise::{self, Situation};
use crate::state::State;

pub(super) fn decide(
    autoscaler: &Autoscaler,
    snapshot: &Snapshot,
    state: &mut State,
    demand: &Demand,
    planned: Option<&Planned>,
) -> Vec<Decision> {
    let mut decisions = Vec::with_capacity(autoscaler.catalogue.variants.len());
    for (v, variant) in autoscaler.catalogue.variants.iter().enumerate() {
        let sample = sample_of(snapshot, &variant.name);
        let current = sample.map_or(0, |s| s.desired.max(asked_for(s).min(s.desired)));
        let hold = demand
            .held(&variant.model)
            .map(|why| reason("held", format!("not enough is known: {why}")));
        let hold = hold.or_else(|| {
            sample
                .is_none()
                .then(|| reason("held", "the variant's replicas are not reported".into()))
        });
        let hold = hold.or_else(|| {
            planned
                .is_none()
                .then(|| reason("held", "the limits contradict each other".into()))
        });
        let (planned_replicas, target, reasons) = match (hold, planned, sample) {
            (None, Some(planned), Some(sample)) => {
                let mut wanted = planned.plan.replicas[v];
                let mut reasons = why(demand, planned, v);
                if stocked_out(autoscaler, sample) {
                    wanted = wanted
                        .max(with_device(sample).min(current) + 1)
                        .min(current.max(wanted));
                    reasons.insert(
                        0,
                        reason(
                            "stock-out",
                            format!(
                                "{} replicas wait for a device; one is kept waiting as a probe",
                                sample.pending.len()
                            ),
                        ),
                    );
                }
                let situation = Situation {
                    now: snapshot.at,
                    current,
                    ready: sample.ready,
                    planned: wanted,
                };
                let history = state.history.entry(variant.name.clone()).or_default();
                let (target, mut stabilised) =
                    stabilise::decide(&situation, history, &autoscaler.settings.stabilise);
                stabilised.append(&mut reasons);
                (wanted, target, stabilised)
            }
            (hold, _, _) => (current, current, hold.into_iter().collect()),
        };
        decisions.push(Decision {
            variant: variant.name.clone(),
            model: variant.model.clone(),
            accelerator: variant.accelerator.clone(),
            at: snapshot.at,
            current,
            planned: planned_replicas,
            target: bounded(target, variant.min_replicas, variant.max_replicas),
            reasons,
        });
    }
    decisions
}

fn bounded(target: u32, min: u32, max: Option<u32>) -> u32 {
    target.max(min).min(max.unwrap_or(u32::MAX).max(min))
}

/// What the plan loads the variant with, and the bound that its capacity rests on.
fn why(demand: &Demand, planned: &Planned, v: usize) -> Vec<Reason> {
    let name = &planned.problem.variants[v].name;
    let mut out = Vec::new();
    for (w, workload) in demand.workloads.iter().enumerate() {
        for (route, share) in planned.used_routes(w) {
            let Some(stage) = route.variants.iter().position(|n| n == name) else {
                continue;
            };
            let capacity = route.capacities[stage];
            out.push(reason(
                "demand",
                format!(
                    "{:.2} of {:.2} rps of {}; one replica sustains {:.2} rps, bound by {}",
                    share * workload.rate,
                    workload.rate,
                    workload.class,
                    capacity.rate(),
                    capacity.binding()
                ),
            ));
        }
    }
    out
}
