//! The answer of `wva simulate`.

use serde::Serialize;
use wva_simulations::report::verdict::{attains, holds, ranking, verdict};
use wva_simulations::request::RequestSource as _;
use wva_simulations::result::{ClassResult, RunResult, VariantResult};
use wva_simulations::scenario::Scenario;

use super::metrics::worst_of_run;
use crate::console::{Answer, Page};
use crate::figures::{dollars, grouped, millis, percent, seconds, short};
use crate::table::{Cell, Table, Tone};

/// A comparison of policies.
#[derive(Debug, Serialize)]
pub struct Simulated<'a> {
    scenario: &'a str,
    seed: u64,
    router: &'static str,
    duration_s: f64,
    /// The cheapest policy that keeps every promise; absent when none does.
    best: Option<&'a str>,
    verdict: String,
    policies: Vec<Row<'a>>,
    notes: &'a [String],
    #[serde(skip)]
    models: usize,
}

/// One policy's run.
#[derive(Debug, Serialize)]
struct Row<'a> {
    policy: &'a str,
    /// Whether every class got the share of its requests within bounds that its SLO promises.
    attains: bool,
    cost_usd: f64,
    gpu_hours: f64,
    energy_kwh: Option<f64>,
    attainment: f64,
    requests: u64,
    missed: u64,
    failed: u64,
    shed: u64,
    unfinished: u64,
    mean_replicas: f64,
    max_replicas: u32,
    scaling_events: u64,
    /// Of the worst interactive class; of the worst class where none is interactive.
    p99_ttft_ms: Option<f64>,
    p99_itl_ms: Option<f64>,
    classes: Vec<Class<'a>>,
    variants: &'a [VariantResult],
}

/// One class of a run.
#[derive(Debug, Serialize)]
struct Class<'a> {
    attains: bool,
    #[serde(flatten)]
    result: &'a ClassResult,
}

impl<'a> Simulated<'a> {
    /// Judges the runs of a scenario's policies.
    pub fn new(scenario: &'a Scenario, runs: &'a [RunResult]) -> Self {
        let catalogue = &scenario.catalogue;
        let best = ranking(catalogue, runs).first().map(|&i| &runs[i]);
        let verdict = verdict(catalogue, runs);
        let class = |result: &'a ClassResult| Class {
            attains: holds(catalogue, result),
            result,
        };
        let row = |run: &'a RunResult| Row {
            policy: &run.policy,
            attains: attains(catalogue, run),
            cost_usd: run.cost_usd,
            gpu_hours: run.gpu_hours,
            energy_kwh: run.energy_kwh,
            attainment: run.attainment,
            requests: run.requests,
            missed: run.missed,
            failed: run.failed,
            shed: run.shed,
            unfinished: run.unfinished,
            mean_replicas: run.mean_replicas,
            max_replicas: run.max_replicas,
            scaling_events: run.scaling_events,
            p99_ttft_ms: worst_of_run(catalogue, run, "p99_ttft"),
            p99_itl_ms: worst_of_run(catalogue, run, "p99_itl"),
            classes: run.classes.iter().map(class).collect(),
            variants: &run.variants,
        };
        let mut models: Vec<&str> = scenario
            .workload
            .streams()
            .iter()
            .map(|s| s.model.as_str())
            .collect();
        models.sort_unstable();
        models.dedup();
        Self {
            scenario: &scenario.name,
            seed: scenario.seed,
            router: scenario.router.name(),
            duration_s: scenario.workload.end(),
            best: best
                .filter(|run| attains(catalogue, run))
                .map(|run| run.policy.as_str()),
            verdict: format!("{} {}", verdict.sentence, verdict.detail)
                .trim_end()
                .to_owned(),
            policies: runs.iter().map(row).collect(),
            notes: &scenario.notes,
            models: models.len(),
        }
    }
}

impl Answer for Simulated<'_> {
    const VERB: &'static str = "simulate";

    fn describe(&self, page: &mut Page) {
        let requests = self.policies.first().map_or(0, |p| p.requests);
        let models = crate::figures::count(self.models, "model", "models");
        page.line(format!(
            "{}: {} of {} requests at {models}, seed {}",
            self.scenario,
            seconds(self.duration_s * 1.0),
            grouped(requests as f64),
            self.seed
        ));
        page.line("");
        page.table(&self.policies());
        page.line("");
        page.line(&self.verdict);
        if page.wide {
            page.title("Classes");
            page.table(&self.classes());
            page.title("Variants");
            page.table(&self.variants());
        }
    }
}

fn mark(attains: bool) -> Cell {
    if attains {
        Cell::toned("✓", Tone::Good)
    } else {
        Cell::toned("✗", Tone::Bad)
    }
}

impl Simulated<'_> {
    fn policies(&self) -> Table {
        let headers = [
            "",
            "POLICY",
            ">COST",
            "",
            ">ATTAINED",
            ">MISSED",
            ">REPLICAS",
            ">MOST",
            ">EVENTS",
            ">TTFT P99",
            ">ITL P99",
        ];
        let mut table = Table::new(&headers);
        let cheapest = self
            .policies
            .iter()
            .find(|p| Some(p.policy) == self.best)
            .map(|p| p.cost_usd);
        for p in &self.policies {
            let best = Some(p.policy) == self.best;
            let tone = if best { Tone::Strong } else { Tone::Plain };
            let over = cheapest
                .filter(|c| !best && *c > 0.0)
                .map_or(String::new(), |c| {
                    format!("{:+.0} %", (p.cost_usd / c - 1.0) * 100.0)
                });
            let p99 = |p99: Option<f64>| Cell::from(p99.map_or("-".to_owned(), millis));
            table.row([
                mark(p.attains),
                Cell::toned(p.policy, tone),
                Cell::toned(dollars(p.cost_usd), tone),
                Cell::toned(over, Tone::Dim),
                percent(p.attainment).into(),
                grouped(p.missed as f64).into(),
                short(p.mean_replicas).into(),
                p.max_replicas.to_string().into(),
                grouped(p.scaling_events as f64).into(),
                p99(p.p99_ttft_ms),
                p99(p.p99_itl_ms),
            ]);
        }
        table
    }

    fn classes(&self) -> Table {
        let headers = [
            "",
            "POLICY",
            "MODEL",
            "CLASS",
            ">ATTAINED",
            ">REQUESTS",
            ">MISSED",
            ">FAILED",
            ">SHED",
            ">TTFT P50",
            ">P95",
            ">P99",
            ">ITL P50",
            ">P95",
            ">P99",
            ">END TO END P50",
            ">P99",
        ];
        let mut table = Table::new(&headers);
        for p in &self.policies {
            for c in &p.classes {
                let r = c.result;
                let ms = |value: Option<f64>| Cell::from(value.map_or("-".to_owned(), millis));
                table.row([
                    mark(c.attains),
                    p.policy.into(),
                    r.model.as_str().into(),
                    r.class.as_str().into(),
                    percent(r.attainment).into(),
                    grouped(r.requests as f64).into(),
                    grouped(r.missed as f64).into(),
                    grouped(r.failed as f64).into(),
                    grouped(r.shed as f64).into(),
                    ms(r.ttft_ms.map(|l| l.p50)),
                    ms(r.ttft_ms.map(|l| l.p95)),
                    ms(r.ttft_ms.map(|l| l.p99)),
                    ms(r.itl_ms.map(|l| l.p50)),
                    ms(r.itl_ms.map(|l| l.p95)),
                    ms(r.itl_ms.map(|l| l.p99)),
                    ms(r.e2e_ms.map(|l| l.p50)),
                    ms(r.e2e_ms.map(|l| l.p99)),
                ]);
            }
        }
        table
    }

    fn variants(&self) -> Table {
        let mut table = Table::new(&[
            "POLICY",
            "VARIANT",
            "ACCELERATOR",
            ">COST",
            ">GPU HOURS",
            ">REPLICAS",
            ">MOST",
            ">FINISHED",
            ">PREEMPTED",
            ">BUSY",
        ]);
        for p in &self.policies {
            for v in p.variants.iter().filter(|v| v.max_replicas > 0) {
                table.row([
                    p.policy.into(),
                    v.variant.as_str().into(),
                    v.accelerator.as_str().into(),
                    dollars(v.cost_usd).into(),
                    short(v.gpu_hours).into(),
                    short(v.mean_replicas).into(),
                    v.max_replicas.to_string().into(),
                    grouped(v.finished as f64).into(),
                    grouped(v.preemptions as f64).into(),
                    percent(v.busy).into(),
                ]);
            }
        }
        table
    }
}
