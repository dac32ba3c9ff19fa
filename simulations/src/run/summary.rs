//! The figures of a finished run.

use wva_optimizer::decision::Decision;

use super::setup::Setup;
use super::timeline::Timeline;
use crate::fleet::{Fleet, VariantState};
use crate::result::{ClassResult, RunResult, VariantResult};

/// Share of board power that a device is assumed to draw while its engine is idle, and while it iterates: token
/// generation is bound by memory and stays well below the board limit. Assumptions for comparing policies, not
/// measurements.
const IDLE_POWER: f64 = 0.15;
const BUSY_POWER: f64 = 0.65;

const HOUR: f64 = 3600.0;

pub(super) fn result(
    setup: &Setup<'_>,
    policy: &str,
    fleet: &Fleet<'_>,
    timeline: Timeline,
    decisions: Vec<Decision>,
) -> RunResult {
    let classes = classes(setup, fleet);
    let variants = variants(setup, fleet);
    let count = |of: fn(&ClassResult) -> u64| classes.iter().map(of).sum::<u64>();
    let (requests, missed) = (count(|c| c.requests), count(|c| c.missed));
    let held: f64 = fleet.variants.iter().map(|v| v.held.seconds()).sum();
    RunResult {
        policy: policy.to_owned(),
        seed: setup.seed,
        duration_s: setup.duration_s,
        cost_usd: variants.iter().map(|v| v.cost_usd).sum(),
        gpu_hours: variants.iter().map(|v| v.gpu_hours).sum(),
        energy_kwh: energy_kwh(&fleet.variants),
        attainment: attainment(requests, missed),
        requests,
        missed,
        failed: count(|c| c.failed),
        shed: count(|c| c.shed),
        unfinished: fleet.sequences.len() as u64,
        mean_replicas: held / setup.duration_s,
        max_replicas: fleet.holding.1,
        scaling_events: fleet.variants.iter().map(|v| v.scalings).sum(),
        classes,
        variants,
        timeline_step_s: timeline.step_s,
        timeline: timeline.points,
        decisions,
    }
}

fn classes(setup: &Setup<'_>, fleet: &Fleet<'_>) -> Vec<ClassResult> {
    let streams = setup.source.streams().iter().zip(&fleet.streams);
    streams
        .zip(fleet.gaps())
        .map(|((stream, state), gaps)| {
            let c = &state.counts;
            let missed = c.requests - c.attained; // What is unfinished counts as missed.
            ClassResult {
                class: stream.class.clone(),
                model: stream.model.clone(),
                attainment: attainment(c.requests, missed),
                requests: c.requests,
                missed,
                failed: c.failed,
                shed: c.shed,
                prefix_hit: state.exported.prefix_hit(),
                ttft_ms: state.ttft.summary(),
                itl_ms: state.itl.summary(),
                gap_ms: gaps.summary(),
                e2e_ms: state.e2e.summary(),
            }
        })
        .collect()
}

fn variants(setup: &Setup<'_>, fleet: &Fleet<'_>) -> Vec<VariantResult> {
    let named = setup.catalogue.variants.iter().zip(&fleet.variants);
    named
        .enumerate()
        .map(|(i, (variant, state))| {
            let seconds = state.held.seconds();
            let serving = state.serving.seconds();
            let (finished, preemptions) = fleet.served(i);
            VariantResult {
                variant: variant.name.clone(),
                model: variant.model.clone(),
                accelerator: variant.accelerator.clone(),
                price_per_hour_usd: state.price,
                cost_usd: seconds * state.price / HOUR,
                gpu_hours: seconds * f64::from(state.devices) / HOUR,
                mean_replicas: seconds / setup.duration_s,
                max_replicas: state.held.most(),
                finished,
                preemptions,
                busy: if serving > 0.0 {
                    (state.busy_s / serving).min(1.0)
                } else {
                    0.0
                },
            }
        })
        .collect()
}

/// Energy of the devices held; `None` where one was held whose power is unknown.
fn energy_kwh(variants: &[VariantState]) -> Option<f64> {
    let used = variants.iter().filter(|v| v.held.seconds() > 0.0);
    used.map(|v| {
        let seconds = IDLE_POWER * v.held.seconds() + (BUSY_POWER - IDLE_POWER) * v.busy_s;
        Some(v.power_w? * f64::from(v.devices) * seconds / HOUR / 1e3)
    })
    .sum()
}

/// Share of requests that attained; 1 where there were none.
pub(crate) fn attainment(requests: u64, missed: u64) -> f64 {
    if requests == 0 {
        1.0
    } else {
        (requests - missed) as f64 / requests as f64
    }
}
