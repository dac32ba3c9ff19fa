//! Which policies keep what was promised, which of them is the cheapest, and that in one sentence.

use wva_models::catalogue::Catalogue;
use wva_models::service_class::Promise;

use super::figures::{dollars, percent};
use crate::result::{ClassResult, RunResult};

/// Share of a batch class's requests that must meet their deadline: the share that interactive classes usually promise.
const BATCH_TARGET: f64 = 0.99;

/// Share of requests that a class promises to serve within its bounds: the strictest percentile of its SLO; `None` for a
/// class without any bound, or one that the catalogue does not know.
pub fn target(catalogue: &Catalogue, class: &str) -> Option<f64> {
    let known = catalogue.classes.iter().find(|c| c.name == class)?;
    match &known.promise {
        Promise::Interactive(slo) => Some(slo.promised_share()).filter(|t| *t > 0.0),
        Promise::Batch { .. } => Some(BATCH_TARGET),
    }
}

/// Whether a class of a run kept its promise; a class without requests or without a promise did.
pub fn holds(catalogue: &Catalogue, class: &ClassResult) -> bool {
    class.requests == 0
        || target(catalogue, &class.class).is_none_or(|t| class.attainment >= t - 1e-12)
}

/// Whether every class of a run kept its promise.
pub fn attains(catalogue: &Catalogue, run: &RunResult) -> bool {
    run.classes.iter().all(|c| holds(catalogue, c))
}

/// Ordinals of the runs, best first: those that attain by cost, then the others by attainment.
pub fn ranking(catalogue: &Catalogue, runs: &[RunResult]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&runs[a], &runs[b]);
        let attain = (attains(catalogue, a), attains(catalogue, b));
        let by_share = b.attainment.total_cmp(&a.attainment);
        let by_cost = a.cost_usd.total_cmp(&b.cost_usd);
        attain.1.cmp(&attain.0).then(if attain.0 {
            by_cost
        } else {
            by_share.then(by_cost)
        })
    });
    order
}

/// The outcome of a comparison in words.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Verdict {
    /// One sentence.
    pub sentence: String,
    /// What else a reader should know at once; may be empty.
    pub detail: String,
    /// Whether some policy kept every promise.
    pub good: bool,
}

/// The verdict on `runs`.
pub fn verdict(catalogue: &Catalogue, runs: &[RunResult]) -> Verdict {
    let order = ranking(catalogue, runs);
    let Some(&best) = order.first() else {
        return Verdict {
            sentence: "No policy was run.".to_owned(),
            detail: String::new(),
            good: false,
        };
    };
    let attaining = order.iter().filter(|i| attains(catalogue, &runs[**i]));
    let attaining: Vec<&RunResult> = attaining.map(|i| &runs[*i]).collect();
    match attaining.as_slice() {
        [] => missed_by_all(catalogue, runs, &runs[best]),
        [winner, others @ ..] => Verdict {
            sentence: won(winner, others, runs.len()),
            detail: cheaper_but_missing(catalogue, runs, winner),
            good: true,
        },
    }
}

fn won(winner: &RunResult, others: &[&RunResult], policies: usize) -> String {
    let (name, cost) = (&winner.policy, dollars(winner.cost_usd));
    match others {
        [] if policies == 1 => format!("{name} keeps every objective, for {cost}."),
        [] => format!("Only {name} keeps every objective, for {cost}."),
        [next, ..] => {
            let saved = 1.0 - winner.cost_usd / next.cost_usd;
            let lead = format!("{name} is the cheapest policy that keeps every objective: {cost}");
            if saved.is_finite() && saved >= 0.001 {
                format!(
                    "{lead}, {} less than {}, the next that does ({}).",
                    percent(saved),
                    next.policy,
                    dollars(next.cost_usd)
                )
            } else {
                format!("{lead}, as much as {}, the next that does.", next.policy)
            }
        }
    }
}

fn cheaper_but_missing(catalogue: &Catalogue, runs: &[RunResult], winner: &RunResult) -> String {
    let cheaper = runs.iter().filter(|r| r.cost_usd < winner.cost_usd);
    let failing = cheaper.filter(|r| !attains(catalogue, r));
    let words = failing.map(|r| format!("{} ({})", r.policy, dollars(r.cost_usd)));
    let words: Vec<String> = words.collect();
    match words.len() {
        0 => String::new(),
        1 => format!("Cheaper, but misses objectives: {}.", words[0]),
        _ => format!("Cheaper, but miss objectives: {}.", words.join(", ")),
    }
}

fn missed_by_all(catalogue: &Catalogue, runs: &[RunResult], best: &RunResult) -> Verdict {
    let name = &best.policy;
    let lead = if runs.len() == 1 {
        format!("{name} misses an objective")
    } else {
        format!("No policy keeps every objective; {name} comes closest")
    };
    let missing = best.classes.iter().filter(|c| !holds(catalogue, c));
    let missing = missing.map(|c| {
        let promised = target(catalogue, &c.class).map_or_else(String::new, percent);
        format!(
            "{} at {} attains {} of the {promised} promised",
            c.class,
            c.model,
            percent(c.attainment)
        )
    });
    let missing: Vec<String> = missing.collect();
    Verdict {
        sentence: format!(
            "{lead}, with {} of requests attained for {}.",
            percent(best.attainment),
            dollars(best.cost_usd)
        ),
        detail: format!("Missed by {name}: {}.", missing.join("; ")),
        good: false,
    }
}
