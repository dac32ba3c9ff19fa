//! A run's timeline, thinned for plots: a page with a day of several policies stays near a megabyte, and no plot has more
//! points than a screen has columns.
//!
//! Groups of neighbouring points become one. Counts add up and rates average, so that totals stay right; of percentiles
//! the worst p99 and the mean p50 remain, and of the fleet the point with the most replicas: a peak must not vanish.

use crate::result::{ClassPoint, RunResult, TimelinePoint, VariantPoint};

/// One value an interval, where there is one.
pub(super) type Values = Vec<Option<f64>>;

/// Replicas of a variant by state.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct VariantSeries {
    pub(super) desired: Values,
    pub(super) ready: Values,
    pub(super) starting: Values,
    pub(super) draining: Values,
    pub(super) pending: Values,
}

/// Requests of a (class, model).
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ClassSeries {
    pub(super) demand: Values,
    pub(super) ttft_p50: Values,
    pub(super) ttft_p99: Values,
    pub(super) itl_p50: Values,
    pub(super) itl_p99: Values,
    pub(super) missed: Values,
    pub(super) held: Values,
}

/// A thinned timeline; every series has one value per interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Series {
    /// Length of the run, s; positive and finite.
    pub(super) end: f64,
    /// End of each interval, s, ascending; an interval starts where the last one ended.
    pub(super) ends: Vec<f64>,
    pub(super) variants: Vec<VariantSeries>,
    pub(super) classes: Vec<ClassSeries>,
    pub(super) cost_rate: Values,
    /// Dollars since the start.
    pub(super) spent: Values,
}

impl Series {
    /// The timeline of `run` at no more than `most` points.
    pub(super) fn new(run: &RunResult, most: usize) -> Self {
        let points = usable(run);
        let every = points.len().div_ceil(most.max(1)).max(1);
        let groups: Vec<&[&TimelinePoint]> = points.chunks(every).collect();
        let ends: Vec<f64> = groups.iter().map(|g| g[g.len() - 1].at_s).collect();
        let cost_rate: Values = groups
            .iter()
            .map(|g| mean(g.iter().map(|p| Some(p.cost_per_hour_usd))))
            .collect();
        Self {
            end: end(run, &ends),
            variants: (0..run.variants.len())
                .map(|v| variant(&groups, v))
                .collect(),
            classes: (0..run.classes.len()).map(|c| class(&groups, c)).collect(),
            spent: spent(&ends, &cost_rate),
            cost_rate,
            ends,
        }
    }

    /// Sum over variants of a state, per interval.
    pub(super) fn fleet(&self, state: fn(&VariantSeries) -> &Values) -> Values {
        total(self.ends.len(), self.variants.iter().map(state))
    }

    /// Requests per second of all classes, per interval.
    pub(super) fn demand(&self) -> Values {
        total(self.ends.len(), self.classes.iter().map(|c| &c.demand))
    }
}

/// Sum of several series, interval by interval; `None` where all are.
pub(super) fn total<'a>(n: usize, all: impl Iterator<Item = &'a Values>) -> Values {
    let mut out = vec![None; n];
    for values in all {
        for (sum, value) in out.iter_mut().zip(values) {
            if let Some(v) = value {
                *sum = Some(sum.unwrap_or(0.0) + v);
            }
        }
    }
    out
}

/// Points in order of time, without those whose time is absurd.
fn usable(run: &RunResult) -> Vec<&TimelinePoint> {
    let mut last = -1.0;
    let ascending = run.timeline.iter().filter(|p| {
        let good = p.at_s.is_finite() && p.at_s > last && p.at_s < 1e12;
        if good {
            last = p.at_s;
        }
        good
    });
    ascending.collect()
}

fn end(run: &RunResult, ends: &[f64]) -> f64 {
    let last = ends.last().copied().unwrap_or(0.0);
    let stated = Some(run.duration_s).filter(|d| d.is_finite() && *d < 1e12);
    let end = stated.unwrap_or(0.0).max(last);
    if end > 0.0 { end } else { 1.0 }
}

fn spent(ends: &[f64], cost_rate: &Values) -> Values {
    let (mut sum, mut start) = (0.0, 0.0);
    let steps = ends.iter().zip(cost_rate);
    let each = steps.map(|(end, rate)| {
        sum += rate.unwrap_or(0.0) * (end - start) / 3600.0;
        start = *end;
        finite(sum)
    });
    each.collect()
}

fn variant(groups: &[&[&TimelinePoint]], v: usize) -> VariantSeries {
    let fullest = |group: &&[&TimelinePoint]| -> Option<VariantPoint> {
        let fleet = |p: &&&TimelinePoint| -> u64 {
            let held = |v: &VariantPoint| u64::from(v.ready) + u64::from(v.starting);
            p.variants.iter().map(held).sum()
        };
        // The last of equals: what the interval ended with.
        group.iter().max_by_key(fleet)?.variants.get(v).copied()
    };
    let points: Vec<Option<VariantPoint>> = groups.iter().map(fullest).collect();
    let of = |state: fn(&VariantPoint) -> u32| -> Values {
        let values = points.iter();
        values
            .map(|p| p.as_ref().map(|p| f64::from(state(p))))
            .collect()
    };
    VariantSeries {
        desired: of(|p| p.desired),
        ready: of(|p| p.ready),
        starting: of(|p| p.starting),
        draining: of(|p| p.draining),
        pending: of(|p| p.pending),
    }
}

fn class(groups: &[&[&TimelinePoint]], c: usize) -> ClassSeries {
    type Fold = fn(&mut dyn Iterator<Item = Option<f64>>) -> Option<f64>;
    let of = |value: fn(&ClassPoint) -> Option<f64>, fold: Fold| -> Values {
        let each = groups.iter().map(|group| {
            let points = group.iter().filter_map(|p| p.classes.get(c));
            fold(&mut points.map(value))
        });
        each.collect()
    };
    let average: Fold = |values| mean(values);
    let worst: Fold = |values| known(values).reduce(f64::max);
    let sum: Fold = |values| known(values).reduce(|a, b| a + b);
    ClassSeries {
        demand: of(|p| Some(p.demand_rps), average),
        ttft_p50: of(|p| p.ttft_p50_ms, average),
        ttft_p99: of(|p| p.ttft_p99_ms, worst),
        itl_p50: of(|p| p.itl_p50_ms, average),
        itl_p99: of(|p| p.itl_p99_ms, worst),
        missed: of(|p| Some(p.missed as f64), sum),
        held: of(|p| Some(p.held as f64), worst),
    }
}

fn known(values: impl Iterator<Item = Option<f64>>) -> impl Iterator<Item = f64> {
    values.flatten().filter(|v| v.is_finite())
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, n) = known(values).fold((0.0, 0u32), |(s, n), v| (s + v, n + 1));
    (n > 0).then(|| sum / f64::from(n)).and_then(finite)
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1000 points of 30 s; point 500 has the only peak.
    fn run() -> RunResult {
        let point = |i: u32| TimelinePoint {
            at_s: 30.0 * f64::from(i),
            cost_per_hour_usd: f64::from(i % 7),
            variants: vec![VariantPoint {
                desired: 1,
                ready: if i == 500 { 9 } else { 1 },
                starting: 0,
                pending: 0,
                draining: 0,
            }],
            classes: vec![ClassPoint {
                demand_rps: 1.0,
                output_tokens_per_s: 100.0,
                ttft_p50_ms: (i > 100).then_some(10.0),
                ttft_p99_ms: Some(f64::from(i)),
                itl_p50_ms: None,
                itl_p99_ms: None,
                attained: 1,
                missed: u64::from(i % 3),
                held: 0,
            }],
        };
        let json = serde_json::json!({
            "policy": "p", "seed": 1, "duration_s": 30_000.0, "cost_usd": 1.0, "gpu_hours": 1.0, "attainment": 1.0,
            "requests": 1, "missed": 0, "failed": 0, "shed": 0, "unfinished": 0, "mean_replicas": 1.0, "max_replicas": 9,
            "scaling_events": 0, "timeline_step_s": 30.0, "decisions": [],
            "classes": [{"class": "c", "model": "m", "attainment": 1.0, "requests": 1, "missed": 0, "failed": 0,
                "shed": 0, "ttft_ms": null, "itl_ms": null, "gap_ms": null, "e2e_ms": null}],
            "variants": [{"variant": "v", "model": "m", "accelerator": "a", "price_per_hour_usd": 1.0, "cost_usd": 1.0,
                "gpu_hours": 1.0, "mean_replicas": 1.0, "max_replicas": 9, "finished": 1, "preemptions": 0, "busy": 0.5}],
            "timeline": (1..=1000).map(point).collect::<Vec<_>>(),
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn thinning_keeps_totals_peaks_and_gaps() {
        let run = run();
        let (all, few) = (Series::new(&run, 2000), Series::new(&run, 40));
        assert_eq!((all.ends.len(), few.ends.len()), (1000, 40));
        let last = |s: &Series| s.spent.last().copied().flatten().unwrap();
        assert!((last(&all) - last(&few)).abs() < 1e-9);
        let missed = |s: &Series| s.classes[0].missed.iter().flatten().sum::<f64>();
        assert_eq!(missed(&all), missed(&few));
        let most = |values: &Values| values.iter().flatten().copied().fold(0.0, f64::max);
        assert_eq!(most(&few.variants[0].ready), 9.0);
        assert_eq!(most(&few.classes[0].ttft_p99), 1000.0);
        assert_eq!(few.classes[0].ttft_p50[..4], [None; 4]);
        assert!(few.classes[0].itl_p50.iter().all(Option::is_none));
    }
}
