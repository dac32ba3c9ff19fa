//! What `--fail-if` may look at in a comparison.

use wva_models::catalogue::Catalogue;
use wva_models::service_class::ServiceClass;
use wva_simulations::result::{ClassResult, LatencySummary, RunResult};
use wva_simulations::scenario::Scenario;

use crate::condition::{Kind, Quantity, Vocabulary, latency_metrics};

/// Names of the metrics that classes have too.
const OF_CLASSES: [(&str, Kind); 5] = [
    ("attainment", Kind::Share),
    ("requests", Kind::Number),
    ("missed", Kind::Number),
    ("failed", Kind::Number),
    ("shed", Kind::Number),
];

/// Names of the metrics of a whole run only.
const OF_RUNS: [(&str, Kind); 8] = [
    ("cost", Kind::Money),
    ("cost_usd", Kind::Money),
    ("gpu_hours", Kind::Number),
    ("energy_kwh", Kind::Number),
    ("unfinished", Kind::Number),
    ("mean_replicas", Kind::Number),
    ("max_replicas", Kind::Number),
    ("scaling_events", Kind::Number),
];

/// Metrics, policies and classes; `wva` is meant where no policy is named, or else the first.
pub fn vocabulary(scenario: &Scenario, policies: &[&str]) -> Vocabulary {
    let mut subjects: Vec<String> = policies.iter().map(|p| (*p).to_owned()).collect();
    subjects.sort_by_key(|name| name != "wva");
    let named = OF_RUNS
        .iter()
        .chain(&OF_CLASSES)
        .map(|&(name, kind)| (name.to_owned(), kind));
    Vocabulary {
        metrics: named.chain(latency_metrics()).collect(),
        subjects,
        classes: scenario
            .catalogue
            .classes
            .iter()
            .map(|c| c.name.clone())
            .collect(),
    }
}

/// The figure that a condition asks for; absent where nothing was measured.
pub fn figure(catalogue: &Catalogue, results: &[RunResult], quantity: &Quantity) -> Option<f64> {
    let run = results.iter().find(|r| r.policy == quantity.subject)?;
    match &quantity.class {
        Some(class) => of_class(run, class, &quantity.metric),
        None => of_run(catalogue, run, &quantity.metric),
    }
}

fn of_run(catalogue: &Catalogue, run: &RunResult, metric: &str) -> Option<f64> {
    Some(match metric {
        "cost" | "cost_usd" => run.cost_usd,
        "gpu_hours" => run.gpu_hours,
        "energy_kwh" => return run.energy_kwh,
        "attainment" => run.attainment,
        "requests" => run.requests as f64,
        "missed" => run.missed as f64,
        "failed" => run.failed as f64,
        "shed" => run.shed as f64,
        "unfinished" => run.unfinished as f64,
        "mean_replicas" => run.mean_replicas,
        "max_replicas" => f64::from(run.max_replicas),
        "scaling_events" => run.scaling_events as f64,
        latency => return worst_of_run(catalogue, run, latency),
    })
}

/// Of all models that have requests of the class.
fn of_class(run: &RunResult, class: &str, metric: &str) -> Option<f64> {
    let own = || run.classes.iter().filter(|c| c.class == class);
    let sum = |f: fn(&ClassResult) -> u64| own().map(f).sum::<u64>() as f64;
    let requests = sum(|c| c.requests);
    match metric {
        "attainment" if requests > 0.0 => Some(1.0 - sum(|c| c.missed) / requests),
        "requests" => Some(requests),
        "missed" => Some(sum(|c| c.missed)),
        "failed" => Some(sum(|c| c.failed)),
        "shed" => Some(sum(|c| c.shed)),
        latency => worst(own(), latency),
    }
}

/// The worst latency of a run: of its interactive classes, since batch work waits on purpose; of all where none is.
pub fn worst_of_run(catalogue: &Catalogue, run: &RunResult, metric: &str) -> Option<f64> {
    let batch = |c: &ClassResult| {
        catalogue
            .class(&c.class)
            .is_some_and(ServiceClass::is_batch)
    };
    let interactive = run.classes.iter().filter(|c| !batch(c));
    worst(interactive, metric).or_else(|| worst(run.classes.iter(), metric))
}

/// The greatest of the classes' figures: of percentiles there is no mean.
fn worst<'a>(classes: impl Iterator<Item = &'a ClassResult>, metric: &str) -> Option<f64> {
    let (statistic, latency) = metric.split_once('_')?;
    let of = |c: &ClassResult| {
        let summary: LatencySummary = match latency {
            "ttft" => c.ttft_ms,
            "itl" => c.itl_ms,
            "e2e" => c.e2e_ms,
            _ => None,
        }?;
        Some(match statistic {
            "mean" => summary.mean,
            "p50" => summary.p50,
            "p90" => summary.p90,
            "p95" => summary.p95,
            _ => summary.p99,
        })
    };
    classes.filter_map(of).reduce(f64::max)
}
