//! Workloads: which requests come when, from recorded traffic or from arrival processes and size distributions.
//!
//! ```text
//! traffic file ──read──▶ Trace ──────────scaled──┐
//!                        RateFile ─┐             ├─▶ merged by time ─▶ Request, Request, …
//! curve, states ─▶ ArrivalProcess ─┴─ × Sizes ───┘
//! ```
//! A [`Workload`] is a description: each call of [`RequestSource::requests`] plays it from the start, so that every
//! policy of a comparison sees the same requests. Generated requests are drawn as they are needed and never stored, each
//! source from a random stream of its own, so that adding a source leaves the others' requests as they were.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use wva_models::shape::RequestShape;

use crate::request::{Request, RequestSource, Stream};
use crate::time::Time;

pub mod arrivals;
pub mod curve;
pub mod sizes;
pub mod statistics;
pub mod trace;
pub mod traffic_file;

use arrivals::ArrivalProcess;
use curve::CurveError;
use sizes::Sizes;
use trace::{Placed, Trace};

/// Traffic of one kind: drawn or recorded.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Drawn from an arrival process and a size distribution.
    Drawn {
        /// When requests come.
        arrivals: ArrivalProcess,
        /// How large they are.
        sizes: Sizes,
    },
    /// Recorded, and taken this many times as often.
    Recorded {
        /// The trace.
        trace: Arc<Trace>,
        /// 1 for the trace as it is.
        factor: f64,
    },
}

impl Source {
    /// The same traffic `factor` times as often; see [`ArrivalProcess::scaled`] and [`trace`].
    ///
    /// # Errors
    /// [`CurveError`] when `factor` is not between 0 and 10⁴ or a rate leaves its bounds.
    pub fn scaled(self, factor: f64) -> Result<Self, CurveError> {
        if !(0.0..=1e4).contains(&factor) {
            return Err(CurveError::Invalid {
                what: "the rate scale",
                domain: "between 0 and 10,000",
                value: factor,
            });
        }
        Ok(match self {
            Self::Drawn { arrivals, sizes } => Self::Drawn {
                arrivals: arrivals.scaled(factor)?,
                sizes,
            },
            Self::Recorded { trace, factor: f } => Self::Recorded {
                trace,
                factor: f * factor,
            },
        })
    }

    /// Requests expected before `seconds`.
    #[must_use]
    pub fn expected(&self, seconds: f64) -> f64 {
        match self {
            Self::Drawn { arrivals, .. } => arrivals.expected(seconds),
            Self::Recorded { trace, factor } => {
                let end = Time::from_seconds(seconds).0;
                factor * trace.recorded().partition_point(|r| r.at < end) as f64
            }
        }
    }

    /// The shape of recorded requests (of up to 20,000 of them, evenly spread); `None` for drawn ones.
    #[must_use]
    pub fn recorded_shape(&self) -> Option<RequestShape> {
        let Self::Recorded { trace, .. } = self else {
            return None;
        };
        let step = trace.recorded().len().div_ceil(20_000).max(1);
        let sizes = trace.recorded().iter().step_by(step);
        let sizes: Vec<_> = sizes
            .map(|r| (f64::from(r.input), f64::from(r.output)))
            .collect();
        RequestShape::empirical(&sizes, 0.0, wva_models::shape::POINTS).ok()
    }

    fn requests(&self, stream: u32, end: f64, seed: u64) -> Box<dyn Iterator<Item = Request> + '_> {
        match self {
            Self::Drawn { arrivals, sizes } => {
                let times = arrivals.times(end, random(derived(seed, 0)));
                let mut rng = random(derived(seed, 1));
                Box::new(times.map(move |at| {
                    let (input, output) = sizes.draw(&mut rng);
                    Request {
                        at: Time::from_seconds(at),
                        stream,
                        input,
                        output,
                        hash_ids: None,
                    }
                }))
            }
            Self::Recorded { trace, factor } => {
                let end = Time::from_seconds(end).0;
                let placed = trace.scaled(*factor, seed);
                let before_end = placed.into_iter().take_while(move |p| p.at < end);
                Box::new(before_end.map(move |p| recorded(trace, p, stream)))
            }
        }
    }
}

fn recorded(trace: &Trace, placed: Placed, stream: u32) -> Request {
    let record = &trace.recorded()[placed.index as usize];
    let hashes = record.hash_ids.as_deref();
    Request {
        at: Time(placed.at),
        stream,
        input: record.input,
        output: record.output,
        hash_ids: hashes.map(|ids| ids.iter().map(|&h| placed.hash(h)).collect()),
    }
}

/// What a source feeds; several may feed one stream.
#[derive(Debug, Clone, PartialEq)]
struct Feed {
    /// What its random numbers come from: the same in a part of a workload as in the whole.
    number: u64,
    /// Ordinal of the stream.
    stream: u32,
    source: Source,
}

/// All traffic of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    streams: Vec<Stream>,
    feeds: Vec<Feed>,
    /// No request comes at or after this time, seconds.
    end: f64,
}

impl Workload {
    /// No traffic until `end` seconds; add sources to it.
    #[must_use]
    pub const fn new(end: f64) -> Self {
        Self {
            streams: Vec::new(),
            feeds: Vec::new(),
            end,
        }
    }

    /// The part of it whose streams are to be kept: the same requests as in the whole.
    #[must_use]
    pub fn part(&self, keep: impl Fn(&Stream) -> bool) -> Self {
        let mut part = Self::new(self.end);
        for feed in &self.feeds {
            let stream = &self.streams[feed.stream as usize];
            if keep(stream) {
                part.add_numbered(stream.clone(), feed.source.clone(), feed.number);
            }
        }
        part
    }

    /// Adds a source to a stream; the stream is created when its model and class are new, and keeps the prefix-hit
    /// share of its first source.
    pub fn add(&mut self, stream: Stream, source: Source) {
        self.add_numbered(stream, source, self.feeds.len() as u64);
    }

    fn add_numbered(&mut self, stream: Stream, source: Source, number: u64) {
        let same = |s: &Stream| s.model == stream.model && s.class == stream.class;
        let known = self.streams.iter().position(same);
        let ordinal = known.unwrap_or_else(|| {
            self.streams.push(stream);
            self.streams.len() - 1
        });
        self.feeds.push(Feed {
            number,
            stream: ordinal as u32,
            source,
        });
    }

    /// No request comes at or after this time, seconds.
    #[must_use]
    pub const fn end(&self) -> f64 {
        self.end
    }

    /// Requests expected in all.
    #[must_use]
    pub fn expected(&self) -> f64 {
        self.feeds.iter().map(|f| f.source.expected(self.end)).sum()
    }
}

impl RequestSource for Workload {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn requests(&self, seed: u64) -> Box<dyn Iterator<Item = Request> + '_> {
        let parts = self.feeds.iter().map(|feed| {
            let own = derived(seed, 1000 + feed.number);
            feed.source.requests(feed.stream, self.end, own)
        });
        Box::new(Merged::new(parts.collect()))
    }
}

/// Several request sequences as one, by time; equal times in the order of the sources.
struct Merged<'a> {
    parts: Vec<std::iter::Peekable<Box<dyn Iterator<Item = Request> + 'a>>>,
}

impl<'a> Merged<'a> {
    fn new(parts: Vec<Box<dyn Iterator<Item = Request> + 'a>>) -> Self {
        Self {
            parts: parts.into_iter().map(Iterator::peekable).collect(),
        }
    }
}

impl Iterator for Merged<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        // A scenario has a handful of sources: looking at each is faster than a heap.
        let heads = self.parts.iter_mut().enumerate();
        let first = heads
            .filter_map(|(i, p)| p.peek().map(|r| (r.at, i)))
            .min()?;
        self.parts[first.1].next()
    }
}

fn random(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// An independent seed for part `part` of what `seed` seeds (one round of SplitMix64 over both).
pub(crate) fn derived(seed: u64, part: u64) -> u64 {
    let mut z = seed.wrapping_add((part.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
