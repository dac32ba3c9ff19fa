//! From planned replicas to targets: what is unknown is held, what is known is stabilised, and a stock-out keeps one
//! pending replica as a probe so that the fleet returns when devices do.

use std::collections::{BTreeMap, BTreeSet};

use wva_models::capacity::Binding;
use wva_models::variant::Role;

use super::beliefs::{Samples, asked_for, stocked_out, with_device};
use super::demand::Demand;
use super::passages::{Passage, Passages};
use super::{Autoscaler, reason};
use crate::balance::suffices;
use crate::decision::{Decision, Reason};
use crate::planner::{PlanInput, Planned, Workload};
use crate::snapshot::Snapshot;
use crate::stabilise::{self, Situation, Turnover};
use crate::state::State;

pub(super) fn decide(
    autoscaler: &Autoscaler,
    snapshot: &Snapshot,
    state: &mut State,
    demand: &Demand,
    planned: Option<(&PlanInput<'_>, &Passages<'_>)>,
) -> Vec<Decision> {
    let mut decisions = Vec::with_capacity(autoscaler.catalogue.variants.len());
    let samples = Samples::of(snapshot);
    let swapped = planned.map_or_else(BTreeSet::new, |(_, passages)| {
        swapped(autoscaler, &samples, passages.planned)
    });
    for (v, variant) in autoscaler.catalogue.variants.iter().enumerate() {
        let sample = samples.get(&variant.name);
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
            (None, Some((input, passages)), Some(sample)) => {
                let mut wanted = passages.planned.plan.replicas[v];
                let mut reasons = why(input, passages, v);
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
                    swap: swapped.contains(variant.model.as_str()),
                };
                let history = state.history.entry(variant.name.clone()).or_default();
                let (mut target, mut stabilised) =
                    stabilise::decide(&situation, history, &autoscaler.settings.stabilise);
                stabilised.append(&mut reasons);
                if target < current
                    && let Some(why) = unended(state, &variant.model)
                {
                    stabilised.insert(0, reason("answers-unended", why));
                    target = current;
                }
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
    if let Some((_, passages)) = planned {
        keep_until_replaced(autoscaler, &samples, passages, &mut decisions);
    }
    decisions
}

/// Why it is not known how long a model's answers are, where it is not.
fn unended(state: &State, model: &str) -> Option<String> {
    let mut streams = state.streams_of(model).map(|(_, stream)| &stream.answers);
    Some(streams.find(|answers| !answers.are_known())?.told())
}

/// Models of which the plan wants some replicas instead of others, although what has a device today would do.
fn swapped<'a>(
    autoscaler: &'a Autoscaler,
    samples: &Samples<'_>,
    planned: &Planned,
) -> BTreeSet<&'a str> {
    let variants = &autoscaler.catalogue.variants;
    let held: Vec<u32> = (variants.iter())
        .map(|v| (samples.get(&v.name)).map_or(0, |s| with_device(s).min(s.desired)))
        .collect();
    let models = |changes: fn(&u32, &u32) -> bool| -> BTreeSet<&'a str> {
        (variants.iter().zip(&planned.plan.replicas).zip(&held))
            .filter(|((_, wanted), held)| changes(wanted, held))
            .map(|((variant, _), _)| variant.model.as_str())
            .collect()
    };
    let (more, fewer) = (models(|wanted, held| wanted > held), models(|w, h| w < h));
    (more.intersection(&fewer).copied())
        .filter(|model| suffices(&planned.problem, model, &held))
        .collect()
}

/// Keeps replicas of a model's shrinking variants until those that replace them serve.
fn keep_until_replaced(
    autoscaler: &Autoscaler,
    samples: &Samples<'_>,
    passages: &Passages<'_>,
    decisions: &mut [Decision],
) {
    let mut by_model: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (v, variant) in autoscaler.catalogue.variants.iter().enumerate() {
        if samples.get(&variant.name).is_some() {
            by_model.entry(&variant.model).or_default().push(v);
        }
    }
    for of_model in by_model.into_values() {
        let mut turnover: Vec<Turnover> = of_model
            .iter()
            .map(|&v| Turnover {
                role: autoscaler.catalogue.variants[v].role,
                capacity: passages.capacity(v),
                current: decisions[v].current,
                ready: (samples.get(&decisions[v].variant)).map_or(0, |s| s.ready),
                // Not what is wanted: a probe for stock replaces nothing.
                planned: passages.planned.plan.replicas[v],
                target: decisions[v].target,
            })
            .collect();
        let reasons = stabilise::keep_until_replaced(&mut turnover);
        for ((v, after), reason) in of_model.into_iter().zip(turnover).zip(reasons) {
            decisions[v].target = after.target;
            if let Some(reason) = reason {
                decisions[v].reasons.insert(0, reason);
            }
        }
    }
}

/// Requests/s of each model's traffic mix that its serving replicas are most likely to carry: without the margin for doubt.
pub(super) fn carried(
    snapshot: &Snapshot,
    input: &PlanInput<'_>,
    passages: &Passages<'_>,
) -> BTreeMap<String, f64> {
    let samples = Samples::of(snapshot);
    let mut by_role: BTreeMap<&str, [f64; 3]> = BTreeMap::new();
    for (v, variant) in input.catalogue.variants.iter().enumerate() {
        let ready = samples.get(&variant.name).map_or(0, |s| s.ready);
        let own = input.workloads.iter().filter(|w| w.model == variant.model);
        let factor = own.map(|w| input.learned(v, w)).reduce(f64::min);
        let sums = by_role.entry(&variant.model).or_default();
        sums[variant.role as usize] +=
            f64::from(ready) * passages.capacity(v) * factor.unwrap_or(1.0);
    }
    let pairs = |sums: &[f64; 3]| sums[Role::Prefill as usize].min(sums[Role::Decode as usize]);
    by_role
        .into_iter()
        .map(|(model, sums)| (model.to_owned(), sums[Role::Both as usize] + pairs(&sums)))
        .collect()
}

fn bounded(target: u32, min: u32, max: Option<u32>) -> u32 {
    target.max(min).min(max.unwrap_or(u32::MAX).max(min))
}

/// What the plan loads the variant with, and the bound that its capacity rests on. The capacity told is the one that was
/// planned with: the model's, times what trust and experience make of it. Why nothing, where it is nothing.
fn why(input: &PlanInput<'_>, passages: &Passages<'_>, v: usize) -> Vec<Reason> {
    let planned = passages.planned;
    let mut classes: BTreeMap<&str, Carried> = BTreeMap::new();
    for (Passage { route, stage }, share) in passages.used(v) {
        let workload = &planned.workloads[route.workload];
        let own = |c: &&Workload| c.is_of_class_of(workload);
        let (capacity, rate) = (route.capacities[stage], share * workload.rate);
        let carried = classes.entry(&workload.class).or_insert_with(|| Carried {
            offered: planned.workloads.iter().filter(own).map(|w| w.rate).sum(),
            ..Carried::default()
        });
        carried.rate += rate;
        carried.replicas += rate / capacity.rate();
        carried.trusted += rate / (input.factor(v, workload) * capacity.rate());
        carried.binding = Some(capacity.binding());
    }
    let mut out: Vec<Reason> = (classes.into_iter())
        .filter_map(|(class, carried)| carried.told(class))
        .collect();
    if out.is_empty() {
        out.push(unloaded(planned, &input.catalogue.variants[v].model));
        if planned.left_out.contains(&v) {
            let text =
                "its router sends it prompts of any length, and it is too slow for the long ones";
            out.push(reason("unsorted", text.into()));
        }
    }
    out
}

/// What a variant is to carry of one class.
#[derive(Default)]
struct Carried {
    /// Requests/s that are offered in all.
    offered: f64,
    /// Requests/s for this variant.
    rate: f64,
    /// Replicas that they take by the latency model.
    replicas: f64,
    /// Replicas that they take as far as the model is trusted.
    trusted: f64,
    binding: Option<Binding>,
}

impl Carried {
    /// In words; `None` where nothing is carried.
    fn told(&self, class: &str) -> Option<Reason> {
        if self.rate <= 0.0 {
            return None;
        }
        let text = format!(
            "{:.2} of {:.2} rps of {class}; one replica is trusted with {:.2} rps (model {:.2}), bound by {}",
            self.rate,
            self.offered,
            self.rate / self.trusted,
            self.rate / self.replicas,
            self.binding?
        );
        Some(reason("demand", text))
    }
}

/// Why the plan sends a variant of `model` nothing (stable codes `idle`, `unserved`, `served-elsewhere`).
fn unloaded(planned: &Planned, model: &str) -> Reason {
    let (mut rate, mut unmet) = (0.0, 0.0);
    for (w, workload) in planned.workloads.iter().enumerate() {
        if workload.model == model {
            rate += workload.rate;
            unmet += workload.rate * planned.plan.unmet[w];
        }
    }
    if rate <= 0.0 {
        reason("idle", format!("nothing arrives for {model}"))
    } else if unmet > 1e-6 * rate {
        let text = format!(
            "{unmet:.2} of {rate:.2} rps of {model} cannot be served in time by any replica that may be had"
        );
        reason("unserved", text)
    } else {
        let text = format!("other variants serve all of the {rate:.2} rps of {model}");
        reason("served-elsewhere", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_which_nothing_comes_says_nothing() {
        let mut carried = Carried {
            binding: Some(Binding::Ttft),
            ..Carried::default()
        };
        assert_eq!(carried.told("chat"), None);
        (carried.offered, carried.rate) = (4.0, 2.0);
        (carried.replicas, carried.trusted) = (1.0, 2.0);
        let told = carried.told("chat").map(|r| r.text).unwrap_or_default();
        assert!(
            told.contains("trusted with 1.00 rps (model 2.00)"),
            "{told}"
        );
    }
}
