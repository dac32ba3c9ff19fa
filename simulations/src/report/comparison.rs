//! The tables and plots that set policies side by side.

use serde::Serialize;
use wva_models::service_class::Bound;

use super::Report;
use super::chart::{Chart, Look, Plot, Side, hover_json};
use super::figures::{NONE, count, digits, dollars, latency, percent};
use super::objective::{limit, measured, slo, statistic};
use super::scale::{Scale, Unit};
use super::series::{Series, Values};
use super::verdict::{attains, holds, ranking, target};
use crate::result::{ClassResult, LatencySummary, RunResult};

/// One policy in the ranking.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    index: usize,
    colour: usize,
    policy: String,
    attains: bool,
    best: bool,
    cost: String,
    relative: String,
    /// Cost as a share of the dearest policy's, per cent.
    bar: f64,
    attainment: String,
    mean_replicas: String,
    max_replicas: u32,
    gpu_hours: String,
    energy: String,
    events: String,
    missed: String,
    failed: String,
    shed: String,
}

/// The ranking, best first.
pub(super) fn rows(report: &Report<'_>) -> Vec<Row> {
    let order = ranking(report.catalogue, report.runs);
    let costs = report.runs.iter().map(|r| r.cost_usd);
    let dearest = costs.filter(|c| c.is_finite()).fold(0.0, f64::max);
    let reference = order.first().map(|i| report.runs[*i].cost_usd);
    let row = |(place, &i): (usize, &usize)| {
        let run = &report.runs[i];
        let kept = attains(report.catalogue, run);
        Row {
            index: i,
            colour: i % Look::COLOURS,
            policy: run.policy.clone(),
            attains: kept,
            best: place == 0 && kept,
            cost: dollars(run.cost_usd),
            relative: relative(run.cost_usd, reference.filter(|_| place > 0)),
            bar: bar(run.cost_usd, dearest),
            attainment: percent(run.attainment),
            mean_replicas: digits(run.mean_replicas, 3),
            max_replicas: run.max_replicas,
            gpu_hours: digits(run.gpu_hours, 3),
            energy: run
                .energy_kwh
                .map_or(NONE.to_owned(), |e| format!("{} kWh", digits(e, 3))),
            events: count(run.scaling_events),
            missed: count(run.missed),
            failed: count(run.failed),
            shed: count(run.shed),
        }
    };
    order.iter().enumerate().map(row).collect()
}

fn relative(cost: f64, reference: Option<f64>) -> String {
    let Some(reference) = reference.filter(|r| *r > 0.0) else {
        return String::new();
    };
    let change = cost / reference - 1.0;
    match change {
        c if !c.is_finite() => String::new(),
        c if c.abs() < 0.0005 => "same".to_owned(),
        c if c > 0.0 => format!("+{}", percent(c)),
        c => percent(c),
    }
}

fn bar(cost: f64, dearest: f64) -> f64 {
    let share = cost / dearest;
    if share.is_finite() {
        (share.clamp(0.0, 1.0) * 1000.0).round() / 10.0
    } else {
        0.0
    }
}

/// A figure of one policy beside its bound.
#[derive(Debug, Clone, Serialize)]
struct Cell {
    text: String,
    /// `ok`, `bad`, or empty where the bound cannot be held against one figure.
    mark: &'static str,
}

/// One objective of one class, for all policies.
#[derive(Debug, Clone, Serialize)]
struct Objective {
    what: String,
    limit: String,
    cells: Vec<Cell>,
}

/// All objectives of one (class, model).
#[derive(Debug, Clone, Serialize)]
pub(super) struct Promise {
    class: String,
    model: String,
    requests: String,
    objectives: Vec<Objective>,
}

/// Every class's objectives against what the policies reached, policies in the order of the report.
pub(super) fn promises(report: &Report<'_>) -> Vec<Promise> {
    let mut keys: Vec<&ClassResult> = Vec::new();
    for class in report.runs.iter().flat_map(|r| &r.classes) {
        if !keys.iter().any(|k| same(k, class)) {
            keys.push(class);
        }
    }
    let promise = |key: &&ClassResult| {
        let slo = slo(report.catalogue, &key.class);
        let mut objectives = vec![attained(report, key)];
        let ttft = latencies(report, key, "TTFT", slo.ttft, |c| c.ttft_ms);
        let itl = latencies(report, key, "ITL", slo.itl, |c| c.itl_ms);
        objectives.extend(ttft.into_iter().chain(itl));
        if slo.e2e.is_some() || slo.ttft.is_none() {
            objectives.extend(latencies(report, key, "E2E", slo.e2e, |c| c.e2e_ms));
        }
        Promise {
            class: key.class.clone(),
            model: key.model.clone(),
            requests: count(key.requests),
            objectives,
        }
    };
    keys.iter().map(promise).collect()
}

fn same(a: &ClassResult, b: &ClassResult) -> bool {
    a.class == b.class && a.model == b.model
}

fn cells(report: &Report<'_>, key: &ClassResult, cell: impl Fn(&ClassResult) -> Cell) -> Vec<Cell> {
    let of = |run: &RunResult| {
        let class = run.classes.iter().find(|c| same(c, key));
        class.map_or(
            Cell {
                text: NONE.to_owned(),
                mark: "",
            },
            &cell,
        )
    };
    report.runs.iter().map(of).collect()
}

fn attained(report: &Report<'_>, key: &ClassResult) -> Objective {
    let promised = target(report.catalogue, &key.class);
    Objective {
        what: "requests attained".to_owned(),
        limit: promised.map_or_else(String::new, |t| format!("≥ {}", percent(t))),
        cells: cells(report, key, |c| Cell {
            text: percent(c.attainment),
            mark: match (promised, holds(report.catalogue, c)) {
                (None, _) => "",
                (Some(_), true) => "ok",
                (Some(_), false) => "bad",
            },
        }),
    }
}

/// The bounded statistic beside its limit, and the p99 where that is another one.
fn latencies(
    report: &Report<'_>,
    key: &ClassResult,
    name: &str,
    bound: Option<Bound>,
    of: fn(&ClassResult) -> Option<LatencySummary>,
) -> Vec<Objective> {
    let plain = |text: Option<f64>| Cell {
        text: text.map_or(NONE.to_owned(), latency),
        mark: "",
    };
    let p99 = Objective {
        what: format!("{name} p99"),
        limit: String::new(),
        cells: cells(report, key, |c| plain(of(c).map(|s| s.p99))),
    };
    let Some(bound) = bound else {
        return vec![p99];
    };
    let bounded = Objective {
        what: format!("{name} {}", statistic(bound.statistic)),
        limit: limit(&bound),
        cells: cells(report, key, |c| {
            let value = of(c).and_then(|s| measured(&s, bound.statistic));
            let mut cell = plain(value);
            // A bound that grows with the prompt is another one for each request.
            if let Some(v) = value.filter(|_| bound.per_input_token.get() == 0.0) {
                let kept = v <= bound.limit.get() * 1e3;
                cell.mark = if kept { "ok" } else { "bad" };
            }
            cell
        }),
    };
    if bounded.what == p99.what {
        vec![bounded]
    } else {
        vec![bounded, p99]
    }
}

/// Plots that show all policies at once.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Overlays {
    charts: Vec<Chart>,
    hover: String,
}

/// Cost per hour and missed requests so far of every policy, on one time axis.
pub(super) fn overlays(report: &Report<'_>, series: &[Series]) -> Overlays {
    let Some(longest) = series.iter().max_by_key(|s| s.ends.len()) else {
        return Overlays {
            charts: Vec::new(),
            hover: hover_json(&[], &mut []),
        };
    };
    let end = longest.end;
    let cost = overlay(
        report,
        "Fleet cost by policy",
        "$/h",
        Unit::Dollars,
        (end, &longest.ends),
        &series
            .iter()
            .map(|s| s.cost_rate.clone())
            .collect::<Vec<_>>(),
    );
    let missed = overlay(
        report,
        "Missed requests so far",
        "requests",
        Unit::Count,
        (end, &longest.ends),
        &series.iter().map(missed_so_far).collect::<Vec<_>>(),
    );
    let replicas = overlay(
        report,
        "Replicas ready by policy",
        "replicas",
        Unit::Count,
        (end, &longest.ends),
        &series
            .iter()
            .map(|s| s.fleet(|v| &v.ready))
            .collect::<Vec<_>>(),
    );
    let mut charts = vec![cost, replicas, missed];
    let hover = hover_json(&longest.ends, &mut charts.iter_mut().collect::<Vec<_>>());
    Overlays { charts, hover }
}

fn overlay(
    report: &Report<'_>,
    title: &str,
    words: &str,
    unit: Unit,
    (end, ends): (f64, &[f64]),
    values: &[Values],
) -> Chart {
    let scale = Scale::from_zero(values.iter().flatten().flatten().copied(), unit);
    let mut plot = Plot::new(title, 200.0, end, ends).axis(Side::Left, Some(scale), words);
    for (i, (run, values)) in report.runs.iter().zip(values).enumerate() {
        let look = Look {
            colour: i,
            texture: "line",
        };
        plot.steps(Side::Left, values, look);
        plot.legend(&run.policy, look);
        plot.hover(Side::Left, &run.policy, values, look, true);
    }
    plot.finish()
}

fn missed_so_far(series: &Series) -> Values {
    let each = super::series::total(series.ends.len(), series.classes.iter().map(|c| &c.missed));
    let mut sum = 0.0;
    let running = each.into_iter().map(|v| {
        sum += v?;
        Some(sum)
    });
    running.collect()
}
