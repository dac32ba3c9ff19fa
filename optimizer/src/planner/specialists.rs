//! Small devices beside large ones: what a few *specialists* take off them.
//!
//! A cheap device that is hopeless with a class's longest prompts may be good enough for its short ones. Behind a router
//! that sees load and size it gets those for which the large devices have no time just then, and so a few of it do for
//! what would else be one more large device. Where some cheaper replica is such a specialist, the class is planned in two
//! parts: what specialists may take, and the rest.
//!
//! What they are worth was measured, not derived: fixed fleets of 1, 2, 3 and 5 H100 with 0 to 12 L4 beside them, two
//! shapes of long prompts, the greatest rate at which 99 % of requests keep their promise, in the simulator with the
//! `least-load` and `slo` routers. Over the rate that one specialist carries of the short prompts alone, k of them add
//!
//! ```text
//! k            1          2          4          8          12
//! adds    .46–.75    .96–1.2    1.6–1.8    2.5–2.8    2.6–3.2
//! ```
//! whatever the number of large ones: most of the time those are not all busy, and then a specialist has nothing to do.
//! Each adds less than the one before, and beyond some 8 another adds nothing. A request that a specialist takes relieves the large ones of as much as their mean
//! request: it is not the short prompts' tokens that count but that they come when all are busy.
//!
//! That holds only behind a router that sorts. Where the metrics show that a smaller device gets prompts of any length, the
//! class stays whole, and such devices are left out: they would only spoil what they were sent.

use std::collections::{BTreeMap, BTreeSet};

use wva_models::capacity::Capacity;
use wva_models::service_class::Slo;
use wva_models::shape::RequestShape;
use wva_models::variant::Role;

use super::routes::{POOLS, beside_batch, of_role, sized};
use super::{CapacityTable, PlanInput, Workload, buckets};

/// Cost of a request of the whole class, over the least of any variant, beyond which a variant is no choice for it.
const HOPELESS: f64 = 5.0;
/// Capacity over that of the variant that does best, below which a cheaper one is left out where nothing sorts the
/// prompts: with equal requests for every replica, the slowest sets what all of them carry.
const UNEQUAL: f64 = 0.35;
/// Share of the prompts, the short ones, by which a specialist is judged.
const SHORT: f64 = 0.6;
/// Pool in which it is.
const POOL: u32 = 4;
/// Most specialists of a class that are counted on: more of them come as dear as one more large device.
const MOST: f64 = 4.0;
/// What each of so many adds, over the rate of short prompts that one carries.
const WORTH: f64 = 0.5;
/// Most of a class's requests that specialists take, however many there are.
const MOST_SHARE: f64 = 0.35;
/// Least of them that is worth a thought: specialists round up small fleets, and are lost in large ones.
const LEAST_SHARE: f64 = 0.02;

/// What is to be placed, and what was found on the way.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// The workloads of the question, those that have specialists in two parts.
    pub workloads: Vec<Workload>,
    /// Capacities known by now of one replica of an aggregated variant, by (workload, variant).
    pub capacities: BTreeMap<(usize, usize), Capacity>,
    /// (workload, variant) that are no match: the other part is a specialist's, or nothing sorts the prompts.
    pub excluded: BTreeSet<(usize, usize)>,
    /// Variants that are excluded because nothing sorts the prompts.
    pub left_out: BTreeSet<usize>,
}

/// What one replica of a variant does with a class as a whole.
struct Whole {
    variant: usize,
    /// $/h.
    price: f64,
    capacity: Capacity,
    /// $ per request/s that is trusted.
    cost: f64,
}

/// The workloads to place, those that have specialists in two parts where they are not split yet.
pub(super) fn place(input: &PlanInput<'_>, table: &mut CapacityTable) -> Placement {
    let given: BTreeSet<usize> = buckets::groups(&input.workloads)
        .into_iter()
        .flatten()
        .collect();
    let mut out = Placement::default();
    for (w, workload) in input.workloads.iter().enumerate() {
        let class = input.catalogue.class(&workload.class);
        match class.and_then(|c| c.slo()) {
            Some(slo) if !given.contains(&w) => {
                let slo = beside_batch(input, workload, slo);
                out.place(input, table, workload, &slo);
            }
            _ => out.workloads.push(workload.clone()),
        }
    }
    out
}

impl Placement {
    fn place(
        &mut self,
        input: &PlanInput<'_>,
        table: &mut CapacityTable,
        workload: &Workload,
        slo: &Slo,
    ) {
        let whole = on_unequal_devices(input, table, workload, slo);
        let Some(best) = whole.iter().min_by(|a, b| a.cost.total_cmp(&b.cost)) else {
            self.workloads.push(workload.clone());
            return;
        };
        let spoils = |w: &&Whole| {
            let slow = w.capacity.rate() < UNEQUAL * best.capacity.rate();
            w.price < best.price && slow && input.beliefs[w.variant].unsorted
        };
        let (spoiling, equal): (Vec<&Whole>, Vec<&Whole>) = whole.iter().partition(spoils);
        if !spoiling.is_empty() {
            let w = self.add(workload.clone(), equal);
            for small in spoiling {
                self.excluded.insert((w, small.variant));
                self.left_out.insert(small.variant);
            }
            return;
        }
        let (specialists, others): (Vec<&Whole>, Vec<&Whole>) = whole
            .iter()
            .partition(|w| w.price < best.price && w.cost > HOPELESS * best.cost);
        match relief(input, table, workload, slo, best, &specialists) {
            Some(relief) => self.split(workload, &relief, best, &specialists, &others),
            None => {
                self.add(workload.clone(), &whole);
            }
        }
    }

    /// Places the class in two parts: what specialists may take too, and the rest.
    fn split(
        &mut self,
        workload: &Workload,
        relief: &Relief,
        best: &Whole,
        specialists: &[&Whole],
        others: &[&Whole],
    ) {
        let share = relief.share;
        let long = relief.long.as_ref();
        let rest = long.and_then(|long| {
            let shorts = (SHORT - share, &relief.short);
            RequestShape::mix(&[shorts, (1.0 - SHORT, long)]).ok()
        });
        let parts = [
            (share, relief.short.clone()),
            (1.0 - share, rest.unwrap_or_else(|| workload.shape.clone())),
        ];
        // 0 is the whole, which has capacities of its own in the table.
        for (bucket, (share, shape)) in (1..).zip(parts) {
            let part = Workload {
                bucket,
                rate: workload.rate * share,
                shape,
                ..workload.clone()
            };
            let w = self.add(part, others.iter().copied());
            self.capacities.insert((w, best.variant), relief.best);
            for (specialist, capacity) in specialists.iter().zip(&relief.specialists) {
                if bucket == 1 {
                    self.capacities.insert((w, specialist.variant), *capacity);
                } else {
                    self.excluded.insert((w, specialist.variant));
                }
            }
        }
    }

    /// Adds a workload with what some variants do of it.
    fn add<'a>(
        &mut self,
        workload: Workload,
        variants: impl IntoIterator<Item = &'a Whole>,
    ) -> usize {
        let w = self.workloads.len();
        self.workloads.push(workload);
        let known = variants.into_iter().map(|v| ((w, v.variant), v.capacity));
        self.capacities.extend(known);
        w
    }
}

/// What each variant does with a class as a whole, where several kinds of aggregated replicas may serve it.
fn on_unequal_devices(
    input: &PlanInput<'_>,
    table: &mut CapacityTable,
    workload: &Workload,
    slo: &Slo,
) -> Vec<Whole> {
    let own = || input.catalogue.variants_of(&workload.model);
    if own().count() < 2 || own().any(|v| v.role != Role::Both) {
        return Vec::new();
    }
    (of_role(input, workload, Role::Both).into_iter())
        .map(|variant| {
            let capacity = sized(input, table, variant, workload, slo);
            let price = &input.catalogue.variants[variant];
            let price = input.catalogue.price_per_replica(price).get();
            let trusted = capacity.rate() * input.factor(variant, workload);
            Whole {
                variant,
                price,
                capacity,
                cost: price / trusted.max(1e-12),
            }
        })
        .collect()
}

/// What specialists can do for a class.
struct Relief {
    /// Share of the requests that they may take.
    share: f64,
    short: RequestShape,
    /// The prompts that are not short, if there are others.
    long: Option<RequestShape>,
    /// Capacity of the best variant, one replica of it fewer than would do alone.
    best: Capacity,
    /// Capacity of each specialist.
    specialists: Vec<Capacity>,
}

/// What specialists can do for a class of which one replica of the best variant fewer would carry the most; `None` where
/// that is nothing that counts.
fn relief(
    input: &PlanInput<'_>,
    table: &mut CapacityTable,
    workload: &Workload,
    slo: &Slo,
    best: &Whole,
    specialists: &[&Whole],
) -> Option<Relief> {
    let rate = workload.rate / input.factor(best.variant, workload);
    let alone = (rate / best.capacity.rate().max(1e-12)).ceil();
    if specialists.is_empty() || !(2.0..f64::from(u32::MAX)).contains(&alone) {
        return None;
    }
    let fewer = alone - 1.0;
    let pool = POOLS.into_iter().rev().find(|&p| f64::from(p) <= fewer)?;
    let least = table.capacity(input, best.variant, workload, slo, pool);
    // The problem is linear, and a larger pool carries more a replica: `alone` replicas must do. What that credits one
    // fewer with in excess is taken off the worth of specialists.
    let credited = least.rate().max(1.0001 * rate / alone);
    let missing = rate - fewer * least.rate();
    let scale = (rate - fewer * credited) / missing;
    if !(scale > 0.0 && scale <= 1.0 + 1e-9) {
        return None;
    }
    let mut buckets = workload
        .shape
        .buckets(&[workload.shape.input_quantile(SHORT)])
        .into_iter();
    let short = Workload {
        bucket: 1,
        shape: buckets.next()?.shape,
        ..workload.clone()
    };
    let own: Vec<Capacity> = (specialists.iter())
        .map(|s| table.capacity(input, s.variant, &short, slo, POOL))
        .map(|capacity| scaled(capacity, WORTH * scale))
        .collect();
    let most = (specialists.iter().zip(&own))
        .map(|(s, capacity)| capacity.rate() * input.factor(s.variant, workload))
        .fold(0.0, f64::max);
    let share = (MOST * most / workload.rate).min(MOST_SHARE);
    (share >= LEAST_SHARE).then_some(Relief {
        share,
        short: short.shape,
        long: buckets.next().map(|b| b.shape),
        best: scaled(best.capacity, credited / best.capacity.rate()),
        specialists: own,
    })
}

fn scaled(capacity: Capacity, factor: f64) -> Capacity {
    match capacity {
        Capacity::Sustains { rate, binding } => Capacity::Sustains {
            rate: rate * factor,
            binding,
        },
        refused => refused,
    }
}
