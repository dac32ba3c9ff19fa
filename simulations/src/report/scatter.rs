//! Cost against attainment: one dot per policy, and the line of those that no other policy beats on both.

use serde::Serialize;

use super::Report;
use super::chart::Look;
use super::figures::{digits, dollars, percent};
use super::scale::{Scale, Unit};
use super::verdict::attains;

/// Height in pixels; the style sheet has the same.
const HEIGHT: f64 = 200.0;
/// Pixels between two labels that are close to each other.
const LINE: f64 = 17.0;

/// Shares that may get a tick.
const TICKS: [f64; 12] = [
    0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 1.0,
];

#[derive(Debug, Clone, Serialize)]
struct Dot {
    name: String,
    class: String,
    attains: bool,
    left: f64,
    top: f64,
    /// Pixels by which the label moves away from others.
    shift: f64,
    /// Whether the label is on the left, where the right has no room.
    before: bool,
    words: String,
}

#[derive(Debug, Clone, Serialize)]
struct Mark {
    at: f64,
    text: String,
}

/// The plot, positions in per cent from the left and from the top.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Scatter {
    dots: Vec<Dot>,
    costs: Vec<Mark>,
    shares: Vec<Mark>,
    front: String,
    oracle: Option<Mark>,
}

/// The scatter of a report.
pub(super) fn scatter(report: &Report<'_>) -> Scatter {
    let runs = report.runs.iter();
    let known: Vec<(f64, f64)> = runs
        .map(|r| (r.cost_usd, r.attainment))
        .filter(|p| p.0.is_finite() && p.1.is_finite())
        .collect();
    let costs = known.iter().map(|p| p.0).chain(report.oracle_cost_usd);
    let x = Scale::around(costs, Unit::Dollars);
    let lowest = known.iter().map(|p| p.1).fold(1.0, f64::min);
    let bottom = TICKS.into_iter().rev().find(|t| *t < lowest);
    let y = Nines(nines(bottom.unwrap_or(0.0)));
    let mut dots = dots(report, &x, &y);
    place_labels(&mut dots);
    let mark = |(at, text): (f64, String)| Mark {
        at: cents(at),
        text,
    };
    Scatter {
        dots,
        costs: x.ticks().into_iter().map(mark).collect(),
        shares: y.ticks(),
        front: front(&known, &x, &y),
        oracle: report
            .oracle_cost_usd
            .filter(|c| c.is_finite())
            .map(|c| Mark {
                at: cents(x.position(c)),
                text: format!("oracle {}", dollars(c)),
            }),
    }
}

/// The vertical axis: nines, so that 99 % and 99.9 % lie as far apart as 90 % and 99 %.
struct Nines(f64);

/// 100 % lies where 99.98 % would.
fn nines(share: f64) -> f64 {
    -(1.0 - share.clamp(0.0, 1.0) + 2e-4).log10()
}

impl Nines {
    /// Position from the top, 0 to 1.
    fn top(&self, share: f64) -> f64 {
        let (low, high) = (self.0, nines(1.0));
        1.0 - ((nines(share) - low) / (high - low)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<Mark> {
        let mut last = f64::INFINITY;
        let shown = TICKS.into_iter().filter(|t| {
            let top = self.top(*t) * HEIGHT;
            let room = nines(*t) >= self.0 - 1e-9 && last - top >= LINE;
            if room {
                last = top;
            }
            room
        });
        let shown: Vec<f64> = shown.collect();
        let mark = |t: f64| Mark {
            at: cents(self.top(t)),
            text: format!("{} %", digits(100.0 * t, 5)),
        };
        shown.into_iter().map(mark).collect()
    }
}

fn dots(report: &Report<'_>, x: &Scale, y: &Nines) -> Vec<Dot> {
    let runs = report.runs.iter().enumerate();
    let known = runs.filter(|(_, r)| r.cost_usd.is_finite() && r.attainment.is_finite());
    let dot = known.map(|(i, run)| {
        let left = x.position(run.cost_usd);
        let kept = attains(report.catalogue, run);
        let word = if kept { "keeps" } else { "misses" };
        Dot {
            name: run.policy.clone(),
            class: format!("c{}", i % Look::COLOURS),
            attains: kept,
            left: cents(left),
            top: cents(y.top(run.attainment)),
            shift: 0.0,
            before: left > 0.8,
            words: format!(
                "{}: {}, {} of requests attained, {word} its objectives",
                run.policy,
                dollars(run.cost_usd),
                percent(run.attainment)
            ),
        }
    });
    dot.collect()
}

/// Moves labels down until none lies on one above it.
fn place_labels(dots: &mut [Dot]) {
    let mut order: Vec<usize> = (0..dots.len()).collect();
    order.sort_by(|&a, &b| dots[a].top.total_cmp(&dots[b].top));
    let mut placed: Vec<(f64, f64)> = Vec::new();
    for i in order {
        let (left, top) = (dots[i].left, dots[i].top / 100.0 * HEIGHT);
        let mut at = top;
        placed.sort_by(|a, b| a.1.total_cmp(&b.1));
        for (other, y) in &placed {
            if (other - left).abs() < 40.0 && (at - y).abs() < LINE {
                at = y + LINE;
            }
        }
        placed.push((left, at));
        dots[i].shift = (at - top).round();
    }
}

/// Stepped line through the policies that no other beats on cost and attainment, in units of 1000 × 1000.
fn front(known: &[(f64, f64)], x: &Scale, y: &Nines) -> String {
    let mut sorted = known.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let (mut best, mut path) = (-1.0, String::new());
    for (cost, share) in sorted {
        if share > best {
            let (px, py) = (1000.0 * x.position(cost), 1000.0 * y.top(share));
            let to = if path.is_empty() {
                format!("M{px:.0} {py:.0}")
            } else {
                format!("H{px:.0}V{py:.0}")
            };
            path.push_str(&to);
            best = share;
        }
    }
    if !path.is_empty() {
        path.push_str("H1000");
    }
    path
}

/// Per cent with two decimals.
fn cents(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}
