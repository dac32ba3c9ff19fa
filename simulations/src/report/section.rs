//! One policy in detail: key figures, plots over time, variants, classes, decisions.

mod decisions;
mod plots;

use serde::Serialize;

use self::decisions::Decisions;
use super::Report;
use super::chart::{Chart, Look, hover_json};
use super::figures::{NONE, count, digits, dollars, latency, percent};
use super::series::Series;
use super::verdict::{attains, holds};
use crate::result::{ClassResult, LatencySummary, RunResult, VariantResult};

/// A figure with its name.
#[derive(Debug, Clone, Serialize)]
struct Figure {
    name: &'static str,
    text: String,
}

#[derive(Debug, Clone, Serialize)]
struct Variant {
    colour: usize,
    name: String,
    model: String,
    accelerator: String,
    price: String,
    mean: String,
    max: u32,
    cost: String,
    busy: String,
    finished: String,
    preemptions: String,
}

#[derive(Debug, Clone, Serialize)]
struct Percentiles {
    what: &'static str,
    cells: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Class {
    class: String,
    model: String,
    holds: bool,
    attainment: String,
    counts: String,
    latencies: Vec<Percentiles>,
}

/// The section of one policy.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Section {
    index: usize,
    colour: usize,
    policy: String,
    attains: bool,
    summary: String,
    figures: Vec<Figure>,
    charts: Vec<Chart>,
    step: String,
    variants: Vec<Variant>,
    classes: Vec<Class>,
    decisions: Decisions,
    hover: String,
}

/// The section of run `index`.
pub(super) fn section(report: &Report<'_>, index: usize, series: &Series) -> Section {
    let run = &report.runs[index];
    let mut charts = plots::plots(report, run, series);
    let hover = hover_json(&series.ends, &mut charts.iter_mut().collect::<Vec<_>>());
    Section {
        index,
        colour: index % Look::COLOURS,
        policy: run.policy.clone(),
        attains: attains(report.catalogue, run),
        summary: format!(
            "{} · {} of requests attained · {} replicas on average",
            dollars(run.cost_usd),
            percent(run.attainment),
            digits(run.mean_replicas, 3)
        ),
        figures: figures(run),
        charts,
        step: series
            .ends
            .first()
            .map_or(String::new(), |s| super::figures::duration(*s)),
        variants: run.variants.iter().enumerate().map(variant).collect(),
        classes: run.classes.iter().map(|c| class(report, c)).collect(),
        decisions: decisions::decisions(run),
        hover,
    }
}

fn figures(run: &RunResult) -> Vec<Figure> {
    let figure = |name, text| Figure { name, text };
    let hours = run.duration_s / 3600.0;
    vec![
        figure("cost", dollars(run.cost_usd)),
        figure("per hour", dollars(run.cost_usd / hours)),
        figure("attained", percent(run.attainment)),
        figure("requests", count(run.requests)),
        figure("missed", count(run.missed)),
        figure("failed", count(run.failed)),
        figure("shed", count(run.shed)),
        figure("unfinished", count(run.unfinished)),
        figure("mean replicas", digits(run.mean_replicas, 3)),
        figure("most replicas", count(u64::from(run.max_replicas))),
        figure("scaling events", count(run.scaling_events)),
        figure("GPU-hours", digits(run.gpu_hours, 4)),
        figure(
            "energy",
            run.energy_kwh
                .map_or(NONE.to_owned(), |e| format!("{} kWh", digits(e, 3))),
        ),
    ]
}

fn variant((i, v): (usize, &VariantResult)) -> Variant {
    Variant {
        colour: i % Look::COLOURS,
        name: v.variant.clone(),
        model: v.model.clone(),
        accelerator: v.accelerator.clone(),
        price: format!("{}/h", dollars(v.price_per_hour_usd)),
        mean: digits(v.mean_replicas, 3),
        max: v.max_replicas,
        cost: dollars(v.cost_usd),
        busy: format!("{} %", digits(100.0 * v.busy, 3)),
        finished: count(v.finished),
        preemptions: count(v.preemptions),
    }
}

fn class(report: &Report<'_>, c: &ClassResult) -> Class {
    let row = |what, summary: Option<LatencySummary>| {
        let values = summary.map(|s| [s.mean, s.p50, s.p90, s.p95, s.p99]);
        let texts =
            values.map_or_else(|| vec![NONE.to_owned(); 5], |all| all.map(latency).to_vec());
        Percentiles { what, cells: texts }
    };
    Class {
        class: c.class.clone(),
        model: c.model.clone(),
        holds: holds(report.catalogue, c),
        attainment: percent(c.attainment),
        counts: format!(
            "{} requests, {} missed, {} failed, {} shed",
            count(c.requests),
            count(c.missed),
            count(c.failed),
            count(c.shed)
        ),
        latencies: vec![
            row("TTFT", c.ttft_ms),
            row("ITL", c.itl_ms),
            row("token gap", c.gap_ms),
            row("E2E", c.e2e_ms),
        ],
    }
}
