//! How far each model is from missing its latency objective, by what was measured in the last minutes.
//!
//! The bounded statistic itself is compared with its bound: a p99 bound with the measured p99, never with a mean. Of
//! several bounds and classes the tightest counts.

use std::collections::BTreeMap;

use wva_models::service_class::{Bound, ServiceClass, Statistic};
use wva_optimizer::snapshot::{Histogram, StreamSample};

use crate::telemetry::Gathered;

/// Span over which latencies are taken, seconds: between one and two of these.
const SPAN_S: f64 = 120.0;
/// Fewest observations that anything is taken from; a percentile also needs one beyond it.
const FEWEST: f64 = 20.0;

/// Histograms of one stream at the beginning of the present span and of the one before.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Spans {
    began: f64,
    now: (Histogram, Histogram),
    before: (Histogram, Histogram),
}

/// Per stream key.
pub(super) type Seen = BTreeMap<String, Spans>;

/// The margin of each model that has one: 1 − latency / bound.
pub(super) fn of(
    gathered: &Gathered,
    classes: &[ServiceClass],
    seen: &mut Seen,
) -> BTreeMap<String, f64> {
    let mut margins: BTreeMap<String, f64> = BTreeMap::new();
    let mut kept = Seen::new();
    for sample in gathered.stream_samples() {
        let key = wva_optimizer::state::stream_key(&sample.model, &sample.class);
        let mut spans = seen.remove(&key).unwrap_or_default();
        spans.take(sample);
        let slo = classes
            .iter()
            .find(|c| c.name == sample.class)
            .and_then(|c| c.slo());
        let input = sample.input_tokens.sum / sample.input_tokens.count.max(1.0);
        let margin = slo.and_then(|slo| {
            let ttft = slo
                .ttft
                .and_then(|b| margin(&b, &sample.ttft, &spans.before.0, input));
            let itl = slo
                .itl
                .and_then(|b| margin(&b, &sample.tpot, &spans.before.1, input));
            [ttft, itl].into_iter().flatten().min_by(f64::total_cmp)
        });
        kept.insert(key, spans);
        if let Some(margin) = margin {
            let tightest = margins.entry(sample.model.clone()).or_insert(margin);
            *tightest = tightest.min(margin);
        }
    }
    *seen = kept;
    margins
}

impl Spans {
    fn take(&mut self, sample: &StreamSample) {
        let present = || (sample.ttft.clone(), sample.tpot.clone());
        let fell = sample.ttft.count < self.now.0.count || sample.tpot.count < self.now.1.count;
        if self.began == 0.0 || fell {
            *self = Self {
                began: sample.at,
                now: present(),
                before: present(),
            };
        } else if sample.at - self.began >= SPAN_S {
            self.before = std::mem::replace(&mut self.now, present());
            self.began = sample.at;
        }
    }
}

fn margin(bound: &Bound, now: &Histogram, before: &Histogram, input: f64) -> Option<f64> {
    let count = now.count - before.count;
    let latency = match bound.statistic {
        Statistic::Mean if count >= FEWEST => (now.sum - before.sum) / count,
        Statistic::Quantile(q) if count * (1.0 - q) >= 1.0 && count >= FEWEST => {
            quantile(now, before, q)?
        }
        _ => return None,
    };
    let limit = bound.limit_for(if input.is_finite() { input } else { 0.0 });
    let margin = 1.0 - latency / limit;
    margin.is_finite().then_some(margin)
}

/// The quantile of what was observed between two readings, linear within a bucket; `None` beyond the last bound.
fn quantile(now: &Histogram, before: &Histogram, q: f64) -> Option<f64> {
    let comparable = before.count == 0.0 || before.bounds == now.bounds;
    if !comparable || now.bounds.len() != now.counts.len() {
        return None;
    }
    let since = |i: usize| now.counts[i] - before.counts.get(i).copied().unwrap_or(0.0);
    let wanted = q * (now.count - before.count);
    let bucket = (0..now.bounds.len()).find(|&i| since(i) >= wanted)?;
    let (low, under) = match bucket.checked_sub(1) {
        Some(i) => (now.bounds[i], since(i)),
        None => (0.0, 0.0),
    };
    let within = since(bucket) - under;
    let share = if within > 0.0 {
        (wanted - under) / within
    } else {
        1.0
    };
    Some(low + share * (now.bounds[bucket] - low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wva_models::units::Seconds;

    fn histogram(counts: [f64; 3], sum: f64) -> Histogram {
        Histogram {
            bounds: vec![0.1, 0.5, 1.0],
            counts: counts.to_vec(),
            count: counts[2],
            sum,
        }
    }

    fn bound(statistic: Statistic, seconds: f64) -> Bound {
        Bound {
            statistic,
            limit: Seconds::new(seconds).expect("positive"),
            per_input_token: Seconds::ZERO,
        }
    }

    #[test]
    fn each_statistic_is_compared_with_itself() {
        let (before, now) = (
            histogram([10.0, 10.0, 10.0], 0.5),
            histogram([60.0, 100.0, 110.0], 30.5),
        );
        // 100 since: 50 within 0.1 s, 90 within 0.5 s, all within 1 s.
        let at = |q| quantile(&now, &before, q);
        assert_eq!(at(0.5), Some(0.1));
        assert_eq!(at(0.9), Some(0.5));
        assert_eq!(at(0.95), Some(0.75));
        let p90 = margin(&bound(Statistic::Quantile(0.9), 1.0), &now, &before, 0.0);
        assert_eq!(p90, Some(0.5));
        let mean = margin(&bound(Statistic::Mean, 0.6), &now, &before, 0.0);
        assert!(mean.is_some_and(|m| (m - 0.5).abs() < 1e-9));
        assert!(
            margin(&bound(Statistic::Quantile(0.95), 0.5), &now, &before, 0.0)
                .is_some_and(|m| m < 0.0)
        );
    }

    #[test]
    fn too_few_say_nothing() {
        let (before, now) = (histogram([0.0; 3], 0.0), histogram([5.0, 9.0, 10.0], 2.0));
        assert_eq!(
            margin(&bound(Statistic::Mean, 1.0), &now, &before, 0.0),
            None
        );
        let many = histogram([50.0, 90.0, 99.0], 9.0);
        assert_eq!(
            margin(&bound(Statistic::Quantile(0.999), 1.0), &many, &before, 0.0),
            None
        );
    }
}
