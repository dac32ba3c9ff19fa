//! The plots of one policy.

use wva_models::service_class::Bound;

use crate::report::Report;
use crate::report::chart::{Chart, Look, Plot, Side};
use crate::report::figures::{duration, latency};
use crate::report::objective::{slo, statistic};
use crate::report::scale::{Scale, Unit};
use crate::report::series::{ClassSeries, Series, Values, VariantSeries, total};
use crate::result::{ClassResult, RunResult};

/// All plots of a run, in reading order.
pub(super) fn plots(report: &Report<'_>, run: &RunResult, series: &Series) -> Vec<Chart> {
    let mut out = vec![replicas(run, series)];
    for (class, values) in run.classes.iter().zip(&series.classes) {
        out.extend(latencies(report, class, series, values));
    }
    out.push(misses(run, series));
    out.push(cost(series));
    out.extend(held(run, series));
    out
}

const fn line(colour: usize, texture: &'static str) -> Look {
    Look { colour, texture }
}

/// States of a replica from the bottom of the stack up: texture, words, series.
type State = (&'static str, &'static str, fn(&VariantSeries) -> &Values);
const STATES: [State; 4] = [
    ("ready", "ready", |v| &v.ready),
    ("draining", "draining", |v| &v.draining),
    ("starting", "starting", |v| &v.starting),
    ("pending", "waiting for a device", |v| &v.pending),
];

fn replicas(run: &RunResult, series: &Series) -> Chart {
    let n = series.ends.len();
    let states = series.variants.iter().flat_map(|v| STATES.map(|s| s.2(v)));
    let tallest = total(n, states);
    let desired = series.fleet(|v| &v.desired);
    let demand = series.demand();
    let values = tallest.iter().chain(&desired).flatten().copied();
    let rates = demand.iter().flatten().copied();
    let mut plot = Plot::new("Replicas and demand", 240.0, series.end, &series.ends)
        .wide()
        .axis(
            Side::Left,
            Some(Scale::from_zero(values, Unit::Count)),
            "replicas",
        )
        .axis(
            Side::Right,
            Some(Scale::from_zero(rates, Unit::Number)),
            "requests/s",
        );
    stack(&mut plot, run, series);
    let asked = line(Look::INK, "thin");
    plot.steps(Side::Left, &desired, asked);
    plot.legend("asked for", asked);
    plot.hover(Side::Left, "asked for", &desired, asked, true);
    plot.named_line(
        Side::Right,
        "demand (right)",
        &demand,
        line(Look::INK, "dotted"),
    );
    plot.finish()
}

/// Variants on top of each other, each with its states from ready to pending.
fn stack(plot: &mut Plot<'_>, run: &RunResult, series: &Series) {
    let mut lower: Values = vec![Some(0.0); series.ends.len()];
    for (i, (variant, values)) in run.variants.iter().zip(&series.variants).enumerate() {
        for (texture, words, state) in STATES {
            let state = state(values);
            let upper = total(lower.len(), [&lower, state].into_iter());
            let look = line(i, texture);
            plot.area(&lower, &upper, look);
            lower = upper;
            let name = match texture {
                "ready" => variant.variant.clone(),
                _ => format!("{} {words}", variant.variant),
            };
            plot.hover(Side::Left, &name, state, look, texture == "ready");
        }
        plot.legend(&variant.variant, line(i, "ready"));
    }
    for (texture, words, state) in STATES.into_iter().skip(1) {
        let mut values = series
            .variants
            .iter()
            .flat_map(|v| state(v).iter().flatten());
        if values.any(|v| *v > 0.0) {
            plot.legend(words, line(Look::INK, texture));
        }
    }
}

/// TTFT and ITL of a class over time, with their bounds.
fn latencies(
    report: &Report<'_>,
    class: &ClassResult,
    series: &Series,
    values: &ClassSeries,
) -> [Chart; 2] {
    let slo = slo(report.catalogue, &class.class);
    let input = report
        .traffic
        .iter()
        .find(|t| t.class == class.class && t.model == class.model)
        .and_then(|t| t.mean_input_tokens);
    let chart = |name: &str, p50: &Values, p99: &Values, bound: Option<Bound>| {
        let title = format!("{name}, {} · {}", class.class, class.model);
        let at = bound.map(|b| 1e3 * b.limit_for(input.unwrap_or(0.0)));
        let all = p50.iter().chain(p99).flatten().copied();
        let scale = Scale::logarithmic(all.chain(at), Unit::Latency)
            .filter(|_| p50.iter().chain(p99).any(Option::is_some));
        let mut plot =
            Plot::new(title, 160.0, series.end, &series.ends).axis(Side::Left, scale, "log scale");
        plot.named_line(Side::Left, "p99", p99, line(1, "line"));
        plot.named_line(Side::Left, "p50", p50, line(0, "line"));
        if let (Some(bound), Some(at)) = (bound, at) {
            plot.rule(at, rule_words(&bound, input, at));
        }
        plot.finish()
    };
    [
        chart("TTFT", &values.ttft_p50, &values.ttft_p99, slo.ttft),
        chart("ITL", &values.itl_p50, &values.itl_p99, slo.itl),
    ]
}

fn rule_words(bound: &Bound, input: Option<f64>, at_ms: f64) -> String {
    let (before, after) = match (bound.per_input_token.get() > 0.0, input) {
        (false, _) => ("", ""),
        (true, Some(_)) => ("", " (mean prompt)"),
        (true, None) => ("from ", ""),
    };
    let name = statistic(bound.statistic);
    format!("SLO {name} {before}{}{after}", latency(at_ms))
}

fn misses(run: &RunResult, series: &Series) -> Chart {
    let all = total(series.ends.len(), series.classes.iter().map(|c| &c.missed));
    let scale = Scale::from_zero(all.iter().flatten().copied(), Unit::Count);
    let every = series.ends.first().copied().unwrap_or(0.0);
    let unit = format!("requests per {}", duration(every));
    let mut plot = Plot::new("Missed requests", 140.0, series.end, &series.ends).axis(
        Side::Left,
        Some(scale),
        &unit,
    );
    let mut lower: Values = vec![Some(0.0); series.ends.len()];
    for (i, (class, values)) in run.classes.iter().zip(&series.classes).enumerate() {
        let upper = total(lower.len(), [&lower, &values.missed].into_iter());
        let (look, name) = (line(i + 1, "ready"), stream(class));
        plot.area(&lower, &upper, look);
        plot.legend(&name, look);
        plot.hover(Side::Left, &name, &values.missed, look, true);
        lower = upper;
    }
    plot.finish()
}

fn cost(series: &Series) -> Chart {
    let axis = |values: &Values| Scale::from_zero(values.iter().flatten().copied(), Unit::Dollars);
    let mut plot = Plot::new("Cost", 140.0, series.end, &series.ends)
        .axis(Side::Left, Some(axis(&series.cost_rate)), "$/h")
        .axis(Side::Right, Some(axis(&series.spent)), "$ so far");
    let rate = line(0, "draining");
    plot.area(&vec![Some(0.0); series.ends.len()], &series.cost_rate, rate);
    plot.steps(Side::Left, &series.cost_rate, line(0, "line"));
    plot.legend("per hour", line(0, "line"));
    plot.hover(Side::Left, "per hour", &series.cost_rate, rate, true);
    plot.named_line(
        Side::Right,
        "so far (right)",
        &series.spent,
        line(1, "line"),
    );
    plot.finish()
}

/// Requests that waited at the gateway, where any did.
fn held(run: &RunResult, series: &Series) -> Option<Chart> {
    let all = || {
        series
            .classes
            .iter()
            .flat_map(|c| c.held.iter().flatten().copied())
    };
    if !all().any(|v| v > 0.0) {
        return None;
    }
    let scale = Scale::from_zero(all(), Unit::Count);
    let mut plot = Plot::new("Waiting at the gateway", 140.0, series.end, &series.ends).axis(
        Side::Left,
        Some(scale),
        "requests",
    );
    for (i, (class, values)) in run.classes.iter().zip(&series.classes).enumerate() {
        let (look, name) = (line(i + 1, "line"), stream(class));
        plot.steps(Side::Left, &values.held, look);
        plot.legend(&name, look);
        plot.hover(Side::Left, &name, &values.held, look, true);
    }
    Some(plot.finish())
}

fn stream(class: &ClassResult) -> String {
    format!("{} · {}", class.class, class.model)
}
