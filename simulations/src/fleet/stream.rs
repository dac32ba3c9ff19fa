//! Streams of requests at the gateway: promises, counts and latencies.

use std::collections::BTreeMap;

use wva_epp_core::request::Targets;
use wva_models::catalogue::Catalogue;
use wva_models::service_class::{Bound, Promise, Slo};

use super::gateway::Routes;
use super::pod::VariantState;
use crate::histogram::{Buckets, ITL_BOUNDS, LogHistogram, TOKEN_BOUNDS, TTFT_BOUNDS};
use crate::request::Stream;
use crate::run::SetupError;
use crate::time::Time;

/// The class of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ClassOf {
    priority: i32,
    promise: Promise,
}

/// Engine queues: one per interactive priority, then one per batch priority, the most important first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) interactive: u8,
    pub(super) batch: u8,
    of_stream: Vec<u8>,
}

/// Requests by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) attained: u64,
    /// Known to have missed: finished too late, failed or shed.
    pub(crate) missed: u64,
    pub(crate) failed: u64,
    pub(crate) shed: u64,
}

/// What happened since the last point of the timeline.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interval {
    pub(crate) arrivals: u64,
    pub(crate) output_tokens: u64,
    pub(crate) attained: u64,
    pub(crate) missed: u64,
    pub(crate) ttft: LogHistogram,
    pub(crate) itl: LogHistogram,
}

impl Interval {
    pub(crate) fn clear(&mut self) {
        (self.arrivals, self.output_tokens) = (0, 0);
        (self.attained, self.missed) = (0, 0);
        self.ttft.clear();
        self.itl.clear();
    }
}

/// What the gateway exports.
#[derive(Debug, Clone)]
pub(crate) struct Exported {
    pub(crate) ttft: Buckets,
    pub(crate) tpot: Buckets,
    pub(crate) input: Buckets,
    pub(crate) output: Buckets,
    /// Input tokens of scheduled requests, and those of them found in a cache.
    pub(crate) queried: u64,
    pub(crate) hit: u64,
}

impl Exported {
    /// Share of the input tokens looked up that was found in a cache.
    pub(crate) fn prefix_hit(&self) -> Option<f64> {
        (self.queried > 0).then(|| self.hit as f64 / self.queried as f64)
    }
}

/// One stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamState {
    pub(crate) model: usize,
    pub(super) level: u8,
    pub(super) priority: i32,
    pub(super) prefix_hit: f64,
    slo: Slo,
    /// Batch: time from arrival to the deadline.
    pub(super) deadline: Option<Time>,
    /// Where the policy wants it routed; empty for the default.
    pub(super) shares: Routes,
    pub(super) default: Routes,
    pub(crate) counts: Counts,
    pub(crate) held: u64,
    pub(crate) running: u64,
    pub(crate) ttft: LogHistogram,
    pub(crate) itl: LogHistogram,
    pub(crate) e2e: LogHistogram,
    pub(crate) interval: Interval,
    pub(crate) exported: Exported,
    /// Batch requests held, by the end of the minute in which they are due, in minutes.
    pub(crate) backlog: BTreeMap<u64, u64>,
}

/// Latencies of a finished request in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finished {
    pub(super) input: u32,
    pub(super) output: u32,
    pub(super) ttft: f64,
    pub(super) e2e: f64,
    /// First to last token.
    pub(super) decode: f64,
}

impl StreamState {
    /// The bounds on a request of so many input tokens, as a picker takes them.
    pub(super) fn targets(&self, input: u32) -> Targets {
        let limit = |b: Option<Bound>| b.map(|b| b.limit_for(f64::from(input)));
        Targets {
            ttft: limit(self.slo.ttft),
            tpot: limit(self.slo.itl),
        }
    }

    pub(super) fn arrived(&mut self, input: u32, output: u32) {
        self.counts.requests += 1;
        self.interval.arrivals += 1;
        self.interval.output_tokens += u64::from(output);
        self.exported.input.record(f64::from(input));
    }

    pub(super) fn first_token(&mut self, ttft: f64) {
        self.ttft.record(ttft);
        self.interval.ttft.record(ttft);
        self.exported.ttft.record(ttft);
    }

    pub(super) fn looked_up(&mut self, input: u32, hit: u32) {
        self.exported.queried += u64::from(input);
        self.exported.hit += u64::from(hit);
    }

    pub(super) fn finished(&mut self, f: &Finished) {
        self.running -= 1;
        self.exported.output.record(f64::from(f.output));
        self.e2e.record(f.e2e);
        let mut itl = 0.0;
        if f.output > 1 {
            itl = f.decode / f64::from(f.output - 1);
            self.itl.record(itl);
            self.interval.itl.record(itl);
            self.exported.tpot.record(itl);
        }
        let attained = match self.deadline {
            Some(deadline) => f.e2e <= deadline.seconds(),
            None => self.slo.met_by(f64::from(f.input), f.ttft, itl, f.e2e),
        };
        if attained {
            self.counts.attained += 1;
            self.interval.attained += 1;
        } else {
            self.missed();
        }
    }

    pub(super) fn failed(&mut self) {
        self.counts.failed += 1;
        self.missed();
    }

    pub(super) fn shed(&mut self) {
        self.counts.shed += 1;
        self.missed();
    }

    fn missed(&mut self) {
        self.counts.missed += 1;
        self.interval.missed += 1;
    }

    /// A batch request is held (+1) or no longer held (−1).
    pub(super) fn owe(&mut self, due: Time, by: i64) {
        self.held = self.held.saturating_add_signed(by);
        let minute = due.0.div_ceil(60_000_000_000);
        let owed = self.backlog.entry(minute).or_default();
        *owed = owed.saturating_add_signed(by);
        if *owed == 0 {
            self.backlog.remove(&minute);
        }
    }
}

/// The class of each stream.
pub(super) fn classes_of(
    catalogue: &Catalogue,
    streams: &[Stream],
) -> Result<Vec<ClassOf>, SetupError> {
    let class_of = |s: &Stream| {
        let class = catalogue.class(&s.class);
        let class = class.ok_or_else(|| SetupError::UnknownClass {
            name: s.class.clone(),
        })?;
        Ok(ClassOf {
            priority: class.priority,
            promise: class.promise,
        })
    };
    streams.iter().map(class_of).collect()
}

/// The engine queues that these classes need.
pub(super) fn levels(classes: &[ClassOf]) -> Levels {
    let rank = |c: &ClassOf| {
        let batch = matches!(c.promise, Promise::Batch { .. });
        (batch, -i64::from(c.priority))
    };
    let mut ranks: Vec<_> = classes.iter().map(rank).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let interactive = ranks.iter().filter(|r| !r.0).count();
    let place = |c| ranks.iter().position(|r| *r == rank(c)).unwrap_or_default();
    Levels {
        interactive: interactive as u8,
        batch: (ranks.len() - interactive) as u8,
        of_stream: classes.iter().map(|c| place(c) as u8).collect(),
    }
}

/// Tightest bound on the mean gap between tokens over the interactive classes of each model, seconds.
pub(super) fn itl_bounds(
    streams: &[Stream],
    classes: &[ClassOf],
    models: usize,
    model_of: impl Fn(&str) -> Option<usize>,
) -> Vec<Option<f64>> {
    let mut bounds: Vec<Option<f64>> = vec![None; models];
    for (stream, class) in streams.iter().zip(classes) {
        if let Promise::Interactive(slo) = class.promise
            && let (Some(bound), Some(model)) = (slo.itl, model_of(&stream.model))
        {
            let limit = bound.limit.get();
            bounds[model] = Some(bounds[model].map_or(limit, |b: f64| b.min(limit)));
        }
    }
    bounds
}

/// The streams at time zero.
pub(super) fn states(
    streams: &[Stream],
    classes: &[ClassOf],
    levels: &Levels,
    variants: &[VariantState],
    model_of: impl Fn(&str) -> Option<usize>,
) -> Vec<StreamState> {
    let state = |(i, s): (usize, &Stream)| {
        let model = model_of(&s.model).unwrap_or_default();
        let (slo, deadline) = match classes[i].promise {
            Promise::Interactive(slo) => (slo, None),
            Promise::Batch { deadline } => {
                (Slo::default(), Some(Time::from_seconds(deadline.get())))
            }
        };
        StreamState {
            model,
            level: levels.of_stream[i],
            priority: classes[i].priority,
            prefix_hit: s.prefix_hit.clamp(0.0, 1.0),
            slo,
            deadline,
            shares: Routes::default(),
            default: Routes::over_all(variants, model),
            counts: Counts::default(),
            held: 0,
            running: 0,
            ttft: LogHistogram::default(),
            itl: LogHistogram::default(),
            e2e: LogHistogram::default(),
            interval: Interval::default(),
            exported: Exported {
                ttft: Buckets::new(&TTFT_BOUNDS),
                tpot: Buckets::new(&ITL_BOUNDS),
                input: Buckets::new(&TOKEN_BOUNDS),
                output: Buckets::new(&TOKEN_BOUNDS),
                queried: 0,
                hit: 0,
            },
            backlog: BTreeMap::new(),
        }
    };
    streams.iter().enumerate().map(state).collect()
}
