//! Scores from predicted latency.

use super::load::least;
use crate::endpoint::Slot;
use crate::round::{Columns, Round};

/// Which headroom is better among endpoints that meet the SLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Headroom {
    /// The least: fill endpoints one after the other and keep others free.
    #[default]
    Least,
    /// The most: stay away from the bounds.
    Most,
}

/// Parameters of the latency scorer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyWeights {
    /// Weight of TTFT.
    pub ttft: f64,
    /// Weight of TPOT.
    pub tpot: f64,
    /// Which headroom is better.
    pub strategy: Headroom,
    /// Weight of free KV cache where no variant has a model.
    pub kv: f64,
    /// Weight of a short queue, likewise.
    pub queue: f64,
    /// Weight of the prefix, likewise.
    pub prefix: f64,
}

impl Default for LatencyWeights {
    fn default() -> Self {
        Self {
            ttft: 0.8,
            tpot: 0.2,
            strategy: Headroom::Least,
            kv: 1.0,
            queue: 1.0,
            prefix: 1.0,
        }
    }
}

/// Score of the worst in the tier that is scored, so that it still stands above other tiers.
const FLOOR: f64 = 0.01;

/// Endpoints by tiers: both bounds met; missed but idle; TPOT missed; TTFT missed; both missed or unknown. The best tier
/// that has any is scored by its headroom, normalised within the tier; all others get 0. Without any bound every
/// endpoint misses by its latency, so the fastest wins.
pub(super) fn headroom(
    round: &Round<'_>,
    of: &[Slot],
    weights: &LatencyWeights,
    columns: &mut Columns,
    out: &mut Vec<f64>,
) {
    let targets = round.request.targets;
    let Columns {
        a: ttft, b: tpot, ..
    } = columns;
    ttft.clear();
    tpot.clear();
    for &slot in of {
        let predicted = round.predicted(slot);
        let room = |bound: Option<f64>, x: f64| match bound {
            Some(bound) => bound - x,
            None if targets.any() => 0.0,
            None => -x,
        };
        ttft.push(predicted.map_or(f64::NAN, |p| room(targets.ttft, p.ttft)));
        tpot.push(predicted.map_or(f64::NAN, |p| room(targets.tpot, p.tpot)));
    }
    if ttft.iter().all(|x| x.is_nan()) {
        return composite(round, of, weights, ttft, out);
    }
    let tier = |i: usize| match (ttft[i], tpot[i]) {
        (a, b) if a >= 0.0 && b >= 0.0 => 4,
        (a, _) if a.is_nan() => 0,
        _ if round.own(of[i]).requests == 0 => 3,
        (a, _) if a >= 0.0 => 2,
        (_, b) if b >= 0.0 => 1,
        _ => 0,
    };
    let best = (0..of.len()).map(tier).max().unwrap_or(0);
    let prefer_most = best == 4 && weights.strategy == Headroom::Most;
    let within = |i: usize| tier(i) == best && !ttft[i].is_nan();
    let (a, b) = (span(ttft, within), span(tpot, within));
    let (alpha, beta) = shares(weights, a, b);
    out.extend((0..of.len()).map(|i| {
        if !within(i) {
            return 0.0;
        }
        let combined = alpha * place(ttft[i], a) + beta * place(tpot[i], b);
        let good = if prefer_most {
            combined
        } else {
            1.0 - combined
        };
        FLOOR + (1.0 - FLOOR) * good
    }));
}

/// Least and greatest magnitude among those that count.
fn span(values: &[f64], counts: impl Fn(usize) -> bool) -> (f64, f64) {
    let counted = values.iter().enumerate().filter(|(i, _)| counts(*i));
    counted.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), (_, x)| {
        (min.min(x.abs()), max.max(x.abs()))
    })
}

const EQUAL: f64 = 1e-9;

fn place(x: f64, (min, max): (f64, f64)) -> f64 {
    if max - min > EQUAL {
        (x.abs() - min) / (max - min)
    } else {
        0.5
    }
}

/// Weights that sum to 1; one whose values are all equal tells nothing and gets none.
fn shares(weights: &LatencyWeights, a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let (a_varies, b_varies) = (a.1 - a.0 > EQUAL, b.1 - b.0 > EQUAL);
    let sum = weights.ttft + weights.tpot;
    match (a_varies, b_varies) {
        (false, true) => (0.0, 1.0),
        (true, false) => (1.0, 0.0),
        _ if sum > 0.0 => (weights.ttft / sum, weights.tpot / sum),
        _ => (1.0, 0.0),
    }
}

/// Without any model: free KV cache, short queue and prefix, weighted.
fn composite(
    round: &Round<'_>,
    of: &[Slot],
    w: &LatencyWeights,
    queue: &mut Vec<f64>,
    out: &mut Vec<f64>,
) {
    queue.clear();
    least(of, queue, |s| round.waiting(s));
    let sum = w.kv + w.queue + w.prefix;
    let (kv, q, prefix) = if sum > 0.0 {
        (w.kv / sum, w.queue / sum, w.prefix / sum)
    } else {
        (1.0, 0.0, 0.0)
    };
    out.extend(of.iter().zip(queue.iter()).map(|(&s, short)| {
        let free = 1.0 - round.kv_usage(s);
        let free = if free.is_nan() { 0.0 } else { free };
        kv * free + q * short + prefix * round.matched_share(s)
    }));
}

/// Power of TPOT over its bound in the cost of a request: nothing to speak of far below the bound, steep near it.
const NEAR_BOUND: i32 = 8;

/// Cost of a request on an endpoint: its own time to first token and the waiting that its prompt causes to later ones, over
/// the bound, and what TPOT comes near its own; without bounds the time to the last token. The score is the least cost
/// over this one; the shortest queue where no variant has a model.
///
/// The worse of the two ratios alone would not do: where TPOT is the nearer bound, as it is with long prompts and bounds
/// that grow with them, it hides what a queue or a cached prefix does to TTFT. The waiting caused is what makes a
/// busy endpoint that holds the prefix better than an idle one that does not.
pub(super) fn slo(round: &Round<'_>, of: &[Slot], out: &mut Vec<f64>) {
    let targets = round.request.targets;
    let mut best = f64::INFINITY;
    out.extend(of.iter().map(|&slot| {
        let Some(p) = round.predicted(slot) else {
            return f64::NAN;
        };
        let cost = if targets.any() {
            let ratio = |bound: Option<f64>, x: f64| bound.map_or(0.0, |b| x / b);
            ratio(targets.ttft, p.ttft + p.burden) + ratio(targets.tpot, p.tpot).powi(NEAR_BOUND)
        } else {
            let output = if round.request.output_tokens > 0.0 {
                round.request.output_tokens
            } else {
                round.pool.model(slot).map_or(1.0, |m| m.mean_output)
            };
            p.ttft + p.burden + output * p.tpot
        };
        best = best.min(cost);
        cost
    }));
    if best.is_infinite() {
        out.clear();
        return least(of, out, |s| round.waiting(s));
    }
    for score in out {
        *score = if *score > 0.0 { best / *score } else { 0.0 };
    }
}
