//! The pages: contexts for the templates, and the one place that calls the template engine.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;

use super::chart::Look;
use super::comparison::{Overlays, Promise, Row, overlays, promises, rows};
use super::figures::{NONE, count, digits, dollars, duration};
use super::objective::promise;
use super::plan_page::PlanContext;
use super::scatter::{Scatter, scatter};
use super::section::{Section, section};
use super::series::Series;
use super::verdict::{Verdict, verdict};
use super::{PlanReport, Report, Traffic};

const BASE: &str = include_str!("base.html");
const CHART: &str = include_str!("chart.html");
const SIMULATION: &str = include_str!("simulation.html");
const PLAN: &str = include_str!("plan.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Points per line of a plot at most, and over all lines of a page.
const MOST_POINTS: usize = 360;
const PAGE_POINTS: usize = 60_000;

/// What every page has.
#[derive(Serialize)]
struct Page<T> {
    style: &'static str,
    script: &'static str,
    colours: usize,
    #[serde(flatten)]
    values: T,
}

#[derive(Serialize)]
struct Simulation<'a> {
    title: &'a str,
    subtitle: String,
    verdict: Verdict,
    rows: Vec<Row>,
    policies: Vec<&'a String>,
    promises: Vec<Promise>,
    scatter: Scatter,
    overlays: Overlays,
    sections: Vec<Section>,
    facts: Facts,
}

#[derive(Serialize)]
struct Plan {
    plan: PlanContext,
}

/// The page of a simulation.
pub(super) fn simulation(report: &Report<'_>) -> String {
    let most = points(report);
    let series: Vec<Series> = report.runs.iter().map(|r| Series::new(r, most)).collect();
    let sections: Vec<Section> = (0..report.runs.len())
        .map(|i| section(report, i, &series[i]))
        .collect();
    page(
        SIMULATION,
        Simulation {
            title: &report.title,
            subtitle: subtitle(report),
            verdict: verdict(report.catalogue, report.runs),
            rows: rows(report),
            policies: report.runs.iter().map(|r| &r.policy).collect(),
            promises: promises(report),
            scatter: scatter(report),
            overlays: overlays(report, &series),
            sections,
            facts: Facts::of(report),
        },
    )
}

/// The page of a plan.
pub(super) fn plan(report: &PlanReport<'_>) -> String {
    let plan = super::plan_page::plan(report);
    page(PLAN, Plan { plan })
}

fn page(content: &str, values: impl Serialize) -> String {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in [
        ("base.html", BASE),
        ("chart.html", CHART),
        ("page.html", content),
    ] {
        engine
            .add_template(name, text)
            .expect("embedded templates are well formed");
    }
    let page = Page {
        style: STYLE,
        script: SCRIPT,
        colours: Look::COLOURS,
        values,
    };
    engine
        .get_template("page.html")
        .and_then(|t| t.render(Value::from(Serde(page))))
        .expect("embedded templates name only values that the context has")
}

/// Points per line that keep the page small.
fn points(report: &Report<'_>) -> usize {
    let lines = report
        .runs
        .iter()
        .map(|r| 3 + 4 * r.variants.len() + 6 * r.classes.len());
    let lines: usize = lines.sum();
    (PAGE_POINTS / lines.max(1)).clamp(40, MOST_POINTS)
}

fn subtitle(report: &Report<'_>) -> String {
    let Some(first) = report.runs.first() else {
        return String::new();
    };
    let policies = match report.runs.len() {
        1 => "1 policy".to_owned(),
        n => format!("{n} policies"),
    };
    let requests = count(first.requests);
    let length = duration(first.duration_s);
    format!(
        "{length} simulated · {requests} requests · {policies} · seed {}",
        first.seed
    )
}

#[derive(Debug, Clone, Serialize)]
struct VariantFact {
    name: String,
    model: String,
    accelerator: String,
    devices: u32,
    role: String,
    price: String,
    start_up: String,
    range: String,
}

#[derive(Debug, Clone, Serialize)]
struct ClassFact {
    name: String,
    priority: i32,
    promise: String,
}

#[derive(Debug, Clone, Serialize)]
struct TrafficFact {
    class: String,
    model: String,
    source: String,
    rate: String,
    input: String,
    output: String,
}

/// The scenario, and how to run it again.
#[derive(Debug, Clone, Serialize)]
struct Facts {
    variants: Vec<VariantFact>,
    classes: Vec<ClassFact>,
    traffic: Vec<TrafficFact>,
    stock: Vec<(String, u32)>,
    notes: Vec<String>,
    command: String,
    version: String,
    seed: String,
    duration: String,
}

impl Facts {
    fn of(report: &Report<'_>) -> Self {
        let catalogue = report.catalogue;
        let variants = catalogue.variants.iter().map(|v| VariantFact {
            name: v.name.clone(),
            model: v.model.clone(),
            accelerator: v.accelerator.clone(),
            devices: v.tensor_parallel,
            role: format!("{:?}", v.role).to_lowercase(),
            price: format!("{}/h", dollars(catalogue.price_per_replica(v).get())),
            start_up: duration(v.start_up.get()),
            range: v.max_replicas.map_or(format!("≥ {}", v.min_replicas), |m| {
                format!("{} to {m}", v.min_replicas)
            }),
        });
        let classes = catalogue.classes.iter().map(|c| ClassFact {
            name: c.name.clone(),
            priority: c.priority,
            promise: promise(c),
        });
        let first = report.runs.first();
        Self {
            variants: variants.collect(),
            classes: classes.collect(),
            traffic: report.traffic.iter().map(traffic).collect(),
            stock: catalogue.stock.clone().into_iter().collect(),
            notes: report.notes.clone(),
            command: report.command.clone(),
            version: report.version.clone(),
            seed: first.map_or(NONE.to_owned(), |r| r.seed.to_string()),
            duration: first.map_or(NONE.to_owned(), |r| duration(r.duration_s)),
        }
    }
}

fn traffic(t: &Traffic) -> TrafficFact {
    let number = |v: Option<f64>| v.map_or(NONE.to_owned(), |v| digits(v, 3));
    TrafficFact {
        class: t.class.clone(),
        model: t.model.clone(),
        source: t.source.clone(),
        rate: number(t.mean_rps),
        input: number(t.mean_input_tokens),
        output: number(t.mean_output_tokens),
    }
}
