//! Batch work on a fleet of its own, as without a scheduler that fills what interactive traffic leaves free: the two parts
//! are run one after the other, each by its own policy, and their results added up. What sharing saves is the difference
//! to the run in one.
//!
//! Limits of stock hold for each fleet, not for both together, and minimums of variants for the interactive one.

use super::{Comparison, ComparisonError};
use crate::policy::wva::Sink;
use crate::request::{RequestSource as _, Stream};
use crate::result::{RunResult, TimelinePoint, VariantPoint, VariantResult};
use crate::run::attainment;
use crate::scenario::{PolicyChoice, Scenario};

/// A scenario in two.
pub(super) struct Parts {
    interactive: Scenario,
    batch: Scenario,
    /// Of each stream of the whole, whether it is batch work.
    order: Vec<bool>,
}

impl Parts {
    /// The interactive and the batch classes of a scenario that has both.
    pub(super) fn of(scenario: &Scenario) -> Option<Self> {
        let is_batch = |s: &Stream| {
            let class = scenario.catalogue.class(&s.class);
            class.is_some_and(|c| c.is_batch())
        };
        let order: Vec<bool> = scenario.workload.streams().iter().map(is_batch).collect();
        if !(order.contains(&true) && order.contains(&false)) {
            return None;
        }
        let part = |batch: bool| Scenario {
            workload: scenario.workload.part(|s| is_batch(s) == batch),
            ..scenario.clone()
        };
        let (interactive, mut batch) = (part(false), part(true));
        batch.fleet.initial = None;
        for variant in &mut batch.catalogue.variants {
            variant.min_replicas = 0;
        }
        Some(Self {
            interactive,
            batch,
            order,
        })
    }

    /// Runs one after the other, and adds up.
    pub(super) fn run(
        &self,
        choice: &PolicyChoice,
        sink: Option<Sink>,
    ) -> Result<RunResult, ComparisonError> {
        let alone = |part, sink| Comparison::new(part)?.run(choice, sink);
        let first = alone(&self.interactive, sink)?;
        Ok(added(first, alone(&self.batch, None)?, &self.order))
    }
}

/// Both results as one. `from_second` says of each class of the whole which result has it.
fn added(first: RunResult, second: RunResult, from_second: &[bool]) -> RunResult {
    let (requests, missed) = (
        first.requests + second.requests,
        first.missed + second.missed,
    );
    let mut decisions = first.decisions;
    decisions.extend(second.decisions);
    decisions.sort_by(|a, b| a.at.total_cmp(&b.at));
    let points = first.timeline.into_iter().zip(second.timeline);
    let timeline: Vec<TimelinePoint> = points.map(|(a, b)| point(a, b, from_second)).collect();
    let held = |p: &TimelinePoint| p.variants.iter().map(holding).sum();
    RunResult {
        cost_usd: first.cost_usd + second.cost_usd,
        gpu_hours: first.gpu_hours + second.gpu_hours,
        energy_kwh: first.energy_kwh.zip(second.energy_kwh).map(|(a, b)| a + b),
        attainment: attainment(requests, missed),
        requests,
        missed,
        failed: first.failed + second.failed,
        shed: first.shed + second.shed,
        unfinished: first.unfinished + second.unfinished,
        mean_replicas: first.mean_replicas + second.mean_replicas,
        // Between the points of the timeline either may have held more.
        max_replicas: (timeline.iter().map(held))
            .chain([first.max_replicas, second.max_replicas])
            .fold(0, u32::max),
        scaling_events: first.scaling_events + second.scaling_events,
        classes: interleaved(first.classes, second.classes, from_second),
        variants: (first.variants.into_iter().zip(second.variants))
            .map(|(a, b)| variant(a, &b))
            .collect(),
        timeline,
        decisions,
        ..first
    }
}

/// Replicas that hold devices.
const fn holding(v: &VariantPoint) -> u32 {
    v.starting + v.ready + v.draining
}

/// What both have, in the order of the whole.
fn interleaved<T>(first: Vec<T>, second: Vec<T>, from_second: &[bool]) -> Vec<T> {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let next = |&later: &bool| {
        if later { second.next() } else { first.next() }
    };
    from_second.iter().filter_map(next).collect()
}

fn point(a: TimelinePoint, b: TimelinePoint, from_second: &[bool]) -> TimelinePoint {
    let variants = a.variants.iter().zip(&b.variants);
    TimelinePoint {
        at_s: a.at_s,
        cost_per_hour_usd: a.cost_per_hour_usd + b.cost_per_hour_usd,
        variants: variants
            .map(|(a, b)| VariantPoint {
                desired: a.desired + b.desired,
                ready: a.ready + b.ready,
                starting: a.starting + b.starting,
                pending: a.pending + b.pending,
                draining: a.draining + b.draining,
            })
            .collect(),
        classes: interleaved(a.classes, b.classes, from_second),
    }
}

/// A variant's replicas in both fleets; most of them at a time is the sum, which is not less than what there was.
fn variant(a: VariantResult, b: &VariantResult) -> VariantResult {
    let replicas = a.mean_replicas + b.mean_replicas;
    let busy = a.busy * a.mean_replicas + b.busy * b.mean_replicas;
    VariantResult {
        cost_usd: a.cost_usd + b.cost_usd,
        gpu_hours: a.gpu_hours + b.gpu_hours,
        mean_replicas: replicas,
        max_replicas: a.max_replicas + b.max_replicas,
        finished: a.finished + b.finished,
        preemptions: a.preemptions + b.preemptions,
        busy: if replicas > 0.0 { busy / replicas } else { 0.0 },
        ..a
    }
}
