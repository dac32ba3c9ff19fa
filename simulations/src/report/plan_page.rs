//! The context of the plan page: the mix, what each class uses of it, what binds, and how much room is left.

use serde::Serialize;
use wva_models::capacity::Capacity;

use super::PlanReport;
use super::chart::Look;
use super::figures::{NONE, digits, dollars, duration, percent};
use super::objective::{class, promise};
use crate::report::Alternative;

#[derive(Debug, Clone, Serialize)]
struct Replicas {
    colour: usize,
    variant: String,
    model: String,
    accelerator: String,
    role: String,
    replicas: u32,
    price: String,
    cost: String,
    /// Share of the fleet's cost, per cent.
    bar: f64,
    used: String,
    /// Share of the replicas that the plan's traffic fills, per cent.
    used_bar: f64,
    spare: String,
    start_up: String,
}

#[derive(Debug, Clone, Serialize)]
struct Share {
    route: String,
    share: String,
    bar: f64,
    colour: usize,
    capacity: String,
    binding: String,
}

#[derive(Debug, Clone, Serialize)]
struct Demand {
    class: String,
    model: String,
    /// Which prompts of the class; empty: all.
    prompts: String,
    rate: String,
    promise: String,
    unmet: String,
    shares: Vec<Share>,
}

#[derive(Debug, Clone, Serialize)]
struct Limit {
    name: String,
    used: String,
    at_most: String,
    bar: f64,
    full: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Other {
    label: String,
    cost: String,
    more: String,
    mix: String,
}

/// Everything that the plan template names.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PlanContext {
    title: String,
    feasible: bool,
    sentence: String,
    detail: String,
    replicas: Vec<Replicas>,
    demands: Vec<Demand>,
    limits: Vec<Limit>,
    alternatives: Vec<Other>,
    notes: Vec<String>,
    command: String,
    version: String,
}

/// The context of a plan.
pub(super) fn plan(report: &PlanReport<'_>) -> PlanContext {
    let plan = &report.planned.plan;
    let feasible = plan.serves_all();
    let total: u64 = plan.replicas.iter().map(|r| u64::from(*r)).sum();
    let words = match total {
        1 => "1 replica".to_owned(),
        n => format!("{n} replicas"),
    };
    let cost = format!("{}/h", dollars(plan.cost));
    let sentence = if feasible {
        format!("{words} serve everything within its objectives for {cost}.")
    } else {
        format!(
            "No mix serves everything: the best one, {words} for {cost}, leaves demand unserved."
        )
    };
    let gap = plan.gap();
    let detail = if gap < 5e-4 {
        "Proven to be the cheapest mix.".to_owned()
    } else {
        let (bound, gap) = (dollars(plan.bound), percent(gap));
        format!("No mix costs less than {bound}/h: at most {gap} could still be saved.")
    };
    PlanContext {
        title: report.title.clone(),
        feasible,
        sentence,
        detail,
        replicas: replicas(report),
        demands: demands(report),
        limits: limits(report),
        alternatives: report
            .alternatives
            .iter()
            .map(|a| alternative(a, plan.cost))
            .collect(),
        notes: report.notes.clone(),
        command: report.command.clone(),
        version: report.version.clone(),
    }
}

/// Replicas' worth of work that the plan puts on each variant.
fn loads(report: &PlanReport<'_>) -> Vec<f64> {
    let (problem, plan) = (&report.planned.problem, &report.planned.plan);
    let mut out = vec![0.0; problem.variants.len()];
    for (route, share) in problem.routes.iter().zip(&plan.shares) {
        let rate = problem.demands.get(route.demand).map_or(0.0, |d| d.rate);
        for stage in &route.stages {
            if let Some(load) = out.get_mut(stage.variant) {
                *load += rate * share * stage.load;
            }
        }
    }
    out
}

fn replicas(report: &PlanReport<'_>) -> Vec<Replicas> {
    let (catalogue, plan) = (report.input.catalogue, &report.planned.plan);
    let variants = catalogue
        .variants
        .iter()
        .zip(&plan.replicas)
        .zip(loads(report));
    let row = |(i, ((v, &n), load)): (usize, ((&wva_models::variant::Variant, &u32), f64))| {
        let price = catalogue.price_per_replica(v).get();
        let cost = price * f64::from(n);
        let used = load / f64::from(n);
        Replicas {
            colour: i % Look::COLOURS,
            variant: v.name.clone(),
            model: v.model.clone(),
            accelerator: match v.tensor_parallel {
                1 => v.accelerator.clone(),
                k => format!("{k} × {}", v.accelerator),
            },
            role: format!("{:?}", v.role).to_lowercase(),
            replicas: n,
            price: format!("{}/h", dollars(price)),
            cost: format!("{}/h", dollars(cost)),
            bar: per_cent(cost / plan.cost),
            used: percent(used),
            used_bar: per_cent(used),
            spare: percent((1.0 - used).max(0.0)),
            start_up: duration(v.start_up.get()),
        }
    };
    let rows = variants.enumerate().map(row);
    rows.filter(|r| r.replicas > 0).collect()
}

fn demands(report: &PlanReport<'_>) -> Vec<Demand> {
    let (input, planned) = (report.input, report.planned);
    let demand = |(w, work): (usize, &wva_optimizer::planner::Workload)| {
        let unmet = planned.plan.unmet.get(w).copied().unwrap_or(0.0);
        let shares = planned.used_routes(w).map(|(route, share)| Share {
            route: route.variants.join(" → "),
            share: percent(share),
            bar: per_cent(share),
            colour: colour(report, route.variants.first()),
            capacity: joined(&route.capacities, |c| {
                format!("{} req/s", digits(c.rate(), 3))
            }),
            binding: joined(&route.capacities, |c| c.binding().to_string()),
        });
        Demand {
            class: work.class.clone(),
            model: work.model.clone(),
            prompts: planned.longest_prompt(w).map_or(String::new(), |tokens| {
                format!("prompts up to {} tokens", digits(tokens, 3))
            }),
            rate: format!("{} req/s", digits(work.rate, 3)),
            promise: class(input.catalogue, &work.class).map_or(NONE.to_owned(), promise),
            unmet: if unmet > 1e-6 {
                percent(unmet)
            } else {
                String::new()
            },
            shares: shares.collect(),
        }
    };
    planned.workloads.iter().enumerate().map(demand).collect()
}

fn colour(report: &PlanReport<'_>, variant: Option<&String>) -> usize {
    let variants = &report.input.catalogue.variants;
    let ordinal = variants.iter().position(|v| Some(&v.name) == variant);
    ordinal.unwrap_or(0) % Look::COLOURS
}

fn joined(capacities: &[Capacity], words: impl Fn(&Capacity) -> String) -> String {
    let words: Vec<String> = capacities.iter().map(words).collect();
    words.join(" → ")
}

fn limits(report: &PlanReport<'_>) -> Vec<Limit> {
    let (problem, plan) = (&report.planned.problem, &report.planned.plan);
    let limit = |l: &wva_optimizer::problem::Limit| {
        let replicas = |v: usize| plan.replicas.get(v).copied().map_or(0.0, f64::from);
        let flow = |r: usize| {
            let share = plan.shares.get(r).copied().unwrap_or(0.0);
            let demand = problem
                .routes
                .get(r)
                .and_then(|r| problem.demands.get(r.demand));
            share * demand.map_or(0.0, |d| d.rate)
        };
        let used = l
            .replicas
            .iter()
            .map(|(v, k)| k * replicas(*v))
            .sum::<f64>()
            + l.flows.iter().map(|(r, k)| k * flow(*r)).sum::<f64>();
        // What is left would not hold one more of anything.
        let least = l.replicas.iter().map(|r| r.1).filter(|k| *k > 0.0);
        let least = least.fold(f64::INFINITY, f64::min);
        Limit {
            name: l.name.clone(),
            used: digits(used, 4),
            at_most: digits(l.at_most, 4),
            bar: per_cent(used / l.at_most),
            full: used + least > l.at_most + 1e-9,
        }
    };
    problem.limits.iter().map(limit).collect()
}

fn alternative(a: &Alternative, cost: f64) -> Other {
    let mix = a.replicas.iter().filter(|(_, n)| *n > 0);
    let mix: Vec<String> = mix.map(|(v, n)| format!("{n} × {v}")).collect();
    let more = a.cost_per_hour_usd.map(|c| c / cost - 1.0);
    Other {
        label: a.label.clone(),
        cost: a
            .cost_per_hour_usd
            .map_or("cannot serve everything".to_owned(), |c| {
                format!("{}/h", dollars(c))
            }),
        more: match more.filter(|m| m.is_finite()) {
            Some(m) if m >= 0.0005 => format!("+{}", percent(m)),
            Some(m) if m <= -0.0005 => percent(m),
            _ => String::new(),
        },
        mix: mix.join(", "),
    }
}

fn per_cent(share: f64) -> f64 {
    if share.is_finite() {
        (share.clamp(0.0, 1.0) * 1000.0).round() / 10.0
    } else {
        0.0
    }
}
