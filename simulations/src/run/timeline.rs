//! The fleet over time, at a bounded number of points.

use crate::fleet::Fleet;
use crate::histogram::LogHistogram;
use crate::result::{ClassPoint, TimelinePoint, VariantPoint};

/// Most points of a timeline.
const MOST_POINTS: f64 = 1500.0;
/// Steps to choose from, s; beyond them, whole hours.
const STEPS: [f64; 11] = [
    1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
];

/// Points so far.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    pub(super) step_s: f64,
    pub(super) points: Vec<TimelinePoint>,
}

impl Timeline {
    /// An empty one, with the least step that keeps a run of this length within the greatest number of points.
    pub(super) fn new(duration_s: f64) -> Self {
        let least = duration_s / MOST_POINTS;
        let step = STEPS.into_iter().find(|&s| s >= least);
        Self {
            step_s: step.unwrap_or((least / 3600.0).ceil() * 3600.0),
            points: Vec::new(),
        }
    }

    /// Adds the point of now and begins a new interval.
    pub(super) fn sample(&mut self, fleet: &mut Fleet<'_>) {
        let variants = fleet.variants.iter().map(|v| VariantPoint {
            desired: v.desired,
            ready: v.ready.len() as u32,
            starting: v.starting.len() as u32,
            pending: v.pending.len() as u32,
            draining: v.draining.len() as u32,
        });
        let variants = variants.collect();
        let cost = fleet.variants.iter();
        let cost_per_hour_usd = cost.map(|v| f64::from(v.held.count()) * v.price).sum();
        let step = self.step_s;
        let classes = fleet.streams.iter_mut().map(|s| class_point(s, step));
        self.points.push(TimelinePoint {
            at_s: fleet.now.seconds(),
            cost_per_hour_usd,
            variants,
            classes: classes.collect(),
        });
    }
}

fn class_point(stream: &mut crate::fleet::StreamState, step_s: f64) -> ClassPoint {
    let i = &mut stream.interval;
    let ms = |h: &LogHistogram, q| h.quantile(q).map(|s| s * 1e3);
    let point = ClassPoint {
        demand_rps: i.arrivals as f64 / step_s,
        output_tokens_per_s: i.output_tokens as f64 / step_s,
        ttft_p50_ms: ms(&i.ttft, 0.5),
        ttft_p99_ms: ms(&i.ttft, 0.99),
        itl_p50_ms: ms(&i.itl, 0.5),
        itl_p99_ms: ms(&i.itl, 0.99),
        attained: i.attained,
        missed: i.missed,
        held: stream.held,
    };
    stream.interval.clear();
    point
}
