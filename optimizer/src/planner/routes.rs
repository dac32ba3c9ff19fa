//! Routes and their loads: which variants can serve a workload, alone or as a prefill/decode pair, and how much of a
//! replica each request per second takes.

use wva_models::capacity::{Binding, Capacity, Conditions};
use wva_models::latency::Arrivals;
use wva_models::service_class::{Bound, Promise, Slo};
use wva_models::units::Seconds;
use wva_models::variant::Role;

use super::specialists::Placement;
use super::{CapacityTable, PlanInput, RouteInfo, Workload, buckets};
use crate::problem::{Demand, Problem, Route, Stage};

/// Shares of the TTFT budget that the prefill stage may get; the rest is for the transfer and the first decode iteration.
const TTFT_SPLITS: [f64; 3] = [0.5, 0.7, 0.85];
/// Share of the interactive ITL limit up to which batch work may stretch an iteration.
const BATCH_ITL_SHARE: f64 = 0.8;

/// The problem of `input`, and every route considered.
pub(super) fn problem(
    input: &PlanInput<'_>,
    table: &mut CapacityTable,
    placement: &mut Placement,
) -> (Problem, Vec<RouteInfo>) {
    let mut problem = Problem {
        variants: (0..input.catalogue.variants.len())
            .map(|v| input.option(v))
            .collect(),
        limits: input.limits(),
        change_price: input.settings.change_price_usd.unwrap_or(0.0),
        ..Problem::default()
    };
    let mut infos = Vec::new();
    buckets::find(input, table, &mut placement.capacities);
    for (w, workload) in input.workloads.iter().enumerate() {
        let class = input.catalogue.class(&workload.class);
        let batch = class.is_some_and(|c| c.is_batch());
        problem.demands.push(Demand {
            model: workload.model.clone(),
            class: workload.class.clone(),
            bucket: workload.bucket,
            priority: class.map_or(0, |c| c.priority),
            rate: workload.rate,
            batch,
        });
        let promise = class.map_or(Promise::Interactive(Slo::default()), |c| c.promise);
        let considered = match promise {
            Promise::Interactive(slo) => interactive(input, table, placement, w, &slo),
            Promise::Batch { .. } => batch_routes(input, workload),
        };
        for (variants, capacities) in considered {
            add(input, &mut problem, &mut infos, w, &variants, capacities);
        }
    }
    (problem, infos)
}

type Considered = Vec<(Vec<usize>, Vec<Capacity>)>;

fn add(
    input: &PlanInput<'_>,
    problem: &mut Problem,
    infos: &mut Vec<RouteInfo>,
    workload: usize,
    variants: &[usize],
    capacities: Vec<Capacity>,
) {
    let factor = |v: usize| input.factor(v, &input.workloads[workload]);
    let feasible = capacities.iter().all(|c| c.rate() > 0.0);
    let ordinal = feasible.then(|| {
        problem.routes.push(Route {
            demand: workload,
            stages: variants
                .iter()
                .zip(&capacities)
                .map(|(&variant, c)| Stage {
                    variant,
                    load: 1.0 / (c.rate() * factor(variant)),
                })
                .collect(),
        });
        problem.routes.len() - 1
    });
    infos.push(RouteInfo {
        workload,
        variants: variants
            .iter()
            .map(|&v| input.catalogue.variants[v].name.clone())
            .collect(),
        capacities,
        ordinal,
    });
}

fn interactive(
    input: &PlanInput<'_>,
    table: &mut CapacityTable,
    placement: &Placement,
    w: usize,
    slo: &Slo,
) -> Considered {
    let workload = &input.workloads[w];
    let slo = beside_batch(input, workload, slo);
    let mut out: Considered = of_role(input, workload, Role::Both)
        .into_iter()
        .filter(|&v| !placement.excluded.contains(&(w, v)))
        .map(|v| {
            let known = placement.capacities.get(&(w, v)).copied();
            let capacity = known.unwrap_or_else(|| sized(input, table, v, workload, &slo));
            (vec![v], vec![capacity])
        })
        .collect();
    for &p in &of_role(input, workload, Role::Prefill) {
        for &d in &of_role(input, workload, Role::Decode) {
            for split in TTFT_SPLITS {
                let (prefill, decode) = split_slo(input, p, workload, &slo, split);
                let capacities = vec![
                    sized(input, table, p, workload, &prefill),
                    sized(input, table, d, workload, &decode),
                ];
                out.push((vec![p, d], capacities));
            }
        }
    }
    out
}

/// Capacity of one replica of the least pool that carries the workload: a least-loaded router over more replicas wastes
/// less, so capacity grows with the pool, and a pool of n is enough when n replicas at *its* capacity are. Held to what
/// makes the linear problem ask for just that many.
pub(super) fn sized(
    input: &PlanInput<'_>,
    table: &mut CapacityTable,
    v: usize,
    workload: &Workload,
    slo: &Slo,
) -> Capacity {
    let rate = workload.rate / input.factor(v, workload);
    let largest = table.capacity(input, v, workload, slo, POOLS[POOLS.len() - 1]);
    let fewest = rate / largest.rate().max(1e-12);
    let mut smaller = 0;
    for pool in POOLS {
        if f64::from(pool) >= fewest {
            let capacity = table.capacity(input, v, workload, slo, pool);
            let needed = (rate / capacity.rate().max(1e-12)).ceil();
            if needed <= f64::from(pool) {
                return held_to(capacity, rate, (needed as u32).max(smaller + 1));
            }
        }
        smaller = pool;
    }
    largest
}

/// Pools whose capacity is looked at; beyond the largest, one more replica makes little difference to who waits.
pub(super) const POOLS: [u32; 10] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16];

/// A capacity of which n − 1 replicas are just too few for `rate`.
fn held_to(capacity: Capacity, rate: f64, n: u32) -> Capacity {
    match capacity {
        Capacity::Sustains {
            rate: sustained,
            binding,
        } if n > 1 => Capacity::Sustains {
            rate: sustained.min(0.999 * rate / f64::from(n - 1)),
            binding,
        },
        other => other,
    }
}

/// The SLO with the TTFT that batch work in the same replicas takes away: one more iteration at B* to wait for.
pub(super) fn beside_batch(input: &PlanInput<'_>, workload: &Workload, slo: &Slo) -> Slo {
    let shares = input
        .workloads
        .iter()
        .any(|w| w.model == workload.model && is_batch(input, w) && w.rate > 0.0);
    match (shares, slo.itl, slo.ttft) {
        (true, Some(itl), Some(ttft)) => {
            let longer = itl.limit.get() * BATCH_ITL_SHARE;
            let limit = Seconds::new((ttft.limit.get() - longer).max(ttft.limit.get() * 0.5))
                .unwrap_or(ttft.limit);
            Slo {
                ttft: Some(Bound { limit, ..ttft }),
                ..*slo
            }
        }
        _ => *slo,
    }
}

fn is_batch(input: &PlanInput<'_>, workload: &Workload) -> bool {
    input
        .catalogue
        .class(&workload.class)
        .is_some_and(|c| c.is_batch())
}

/// TTFT budget of the two stages of a pair. The transfer of a long prompt's KV cache (its p99 length; or per token where
/// the class allows time per token) comes off first. Quantiles add up at most: the sum of two p99s bounds the p99 of a sum.
fn split_slo(
    input: &PlanInput<'_>,
    prefill: usize,
    workload: &Workload,
    slo: &Slo,
    split: f64,
) -> (Slo, Slo) {
    let variant = &input.catalogue.variants[prefill];
    let per_token = input.catalogue.model(&variant.model).map_or(0.0, |m| {
        m.kv_bytes_per_token(variant.engine.kv_precision) / input.settings.kv_link_bytes_per_s
    });
    let seconds = |s: f64| Seconds::new(s.max(0.0)).unwrap_or(Seconds::ZERO);
    let Some(ttft) = slo.ttft else {
        return (Slo::default(), *slo);
    };
    let allowance = ttft.per_input_token.get();
    let uncovered = (per_token - allowance).max(0.0) * workload.shape.input_quantile(0.99);
    let budget = ttft.limit.get() - uncovered;
    let prefill = Bound {
        limit: seconds(budget * split),
        per_input_token: seconds(allowance - per_token),
        ..ttft
    };
    let decode = Bound {
        limit: seconds(budget * (1.0 - split)),
        per_input_token: Seconds::ZERO,
        ..ttft
    };
    (
        Slo {
            ttft: Some(prefill),
            itl: None,
            e2e: None,
        },
        Slo {
            ttft: Some(decode),
            ..*slo
        },
    )
}

/// Batch work fits wherever the shape fits: its rate per replica is what the batch B* completes. Pairs carry it like any
/// other work, with no TTFT to split.
fn batch_routes(input: &PlanInput<'_>, workload: &Workload) -> Considered {
    let capacity = |v: usize| batch_capacity(input, v, workload);
    let mut out: Considered = of_role(input, workload, Role::Both)
        .into_iter()
        .map(|v| (vec![v], vec![capacity(v)]))
        .collect();
    for p in of_role(input, workload, Role::Prefill) {
        for d in of_role(input, workload, Role::Decode) {
            out.push((vec![p, d], vec![capacity(p), capacity(d)]));
        }
    }
    out
}

fn batch_capacity(input: &PlanInput<'_>, v: usize, workload: &Workload) -> Capacity {
    let batch = f64::from(batch_limit(input, v, workload));
    let rate = input.model_of(v).throughput_at(&workload.shape, batch);
    if batch < 1.0 || rate <= 0.0 {
        let (binding, at_rest, limit) = (Binding::Itl, 0.0, 0.0);
        return Capacity::Infeasible {
            binding,
            at_rest,
            limit,
        };
    }
    Capacity::Sustains {
        rate: rate * BATCH_FILL,
        binding: Binding::Itl,
    }
}

/// Ordinals of the workload's variants of one role.
pub(super) fn of_role(input: &PlanInput<'_>, workload: &Workload, role: Role) -> Vec<usize> {
    let all = input.catalogue.variants.iter().enumerate();
    all.filter(|(_, v)| v.model == workload.model && v.role == role)
        .map(|(i, _)| i)
        .collect()
}

/// Share of its throughput at B* that batch work is planned at: completions leave holes until the next request starts.
const BATCH_FILL: f64 = 0.85;

/// B* of variant `v`: the largest batch whose iterations, a batch prefill chunk included, keep the strictest interactive
/// ITL of the model; the engine's own limit where no interactive class is served.
pub(super) fn batch_limit(input: &PlanInput<'_>, v: usize, workload: &Workload) -> u32 {
    let variant = &input.catalogue.variants[v];
    let strictest = input
        .workloads
        .iter()
        .filter(|w| w.model == variant.model && w.rate > 0.0)
        .filter_map(|w| input.catalogue.class(&w.class)?.slo()?.itl)
        .map(|b| b.limit.get() * BATCH_ITL_SHARE)
        .fold(f64::INFINITY, f64::min);
    let model = input.model_of(v);
    // A slow device gets smaller chunks rather than no batch work; decode replicas and prefill-only ones have no mixture.
    let chunk = if variant.role == Role::Both {
        input.settings.batch_chunk_tokens
    } else {
        0.0
    };
    let strictest = if variant.role == Role::Prefill {
        f64::INFINITY
    } else {
        strictest
    };
    (0..4)
        .map(|halvings| {
            model.largest_batch(&workload.shape, chunk / f64::from(1 << halvings), strictest)
        })
        .find(|&batch| batch > 0)
        .unwrap_or(0)
}

/// Conditions of a workload under `slo`.
pub(super) fn conditions<'a>(workload: &'a Workload, slo: &'a Slo, pool: u32) -> Conditions<'a> {
    let arrivals = if workload.dispersion > 1.0 {
        Arrivals::Dispersion(workload.dispersion)
    } else {
        Arrivals::Poisson
    };
    Conditions {
        shape: &workload.shape,
        arrivals,
        pool,
        slo,
    }
}
