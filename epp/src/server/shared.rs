//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wva_epp_core::config::Parser;
use wva_epp_core::flow::{FlowSettings, StartUp};

use super::admission::Admission;
use super::head::Wanted;
use super::metrics::Metrics;
use crate::clock::Clock;
use crate::store::Store;

/// What operators set of the handling of requests.
#[derive(Debug, Clone)]
pub struct Handling {
    /// Name of the pool, for metrics.
    pub pool: String,
    /// Longest request body, bytes.
    pub most_body: usize,
    /// Request parsers, in order of trial.
    pub parsers: Vec<Parser>,
    /// Flow control; `None` for none.
    pub flow: Option<FlowSettings>,
    /// Seconds that a first endpoint takes to start, until seen.
    pub start_up_s: f64,
}

impl Default for Handling {
    /// Bodies of up to 32 MiB, OpenAI's and Anthropic's APIs, no flow control, 120 s to start.
    fn default() -> Self {
        Self {
            pool: String::new(),
            most_body: 32 << 20,
            parsers: vec![Parser::OpenAi, Parser::Anthropic, Parser::VllmHttp],
            flow: None,
            start_up_s: 120.0,
        }
    }
}

/// What all requests share.
pub struct Shared {
    /// Endpoints, requests in flight, prefixes, objectives.
    pub store: Arc<Store>,
    /// The clock.
    pub clock: Clock,
    /// Who is let in.
    pub admission: Arc<Admission>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Headers that are kept.
    pub wanted: Wanted,
    /// Longest request body, bytes.
    pub most_body: usize,
    /// Whether bodies are read at all.
    pub reads: bool,
    draws: AtomicU64,
}

impl Shared {
    /// With these settings.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Clock, handling: &Handling) -> Arc<Self> {
        let start_up = StartUp::new(handling.start_up_s);
        let admission = Admission::new(Arc::clone(&store), clock, handling.flow.clone(), start_up);
        let metrics = Metrics::new(
            &handling.pool,
            Arc::clone(&store),
            Arc::clone(&admission),
            clock,
        );
        Arc::new(Self {
            wanted: Wanted::of(store.picker(), []),
            metrics: Arc::new(metrics),
            most_body: handling.most_body,
            reads: handling.parsers.first() != Some(&Parser::Passthrough),
            draws: AtomicU64::new(0),
            store,
            clock,
            admission,
        })
    }

    /// The next of a sequence of numbers that fills [0, 1) evenly: multiples of the golden ratio. Weighted targets get
    /// their shares at once, not only on average.
    pub fn draw(&self) -> f64 {
        const RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
        let n = self.draws.fetch_add(1, Relaxed).wrapping_mul(RATIO);
        (n >> 11) as f64 / (1_u64 << 53) as f64
    }
}
