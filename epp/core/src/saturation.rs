//! Saturation: how full the pool is, and whether one endpoint is beyond its limit.
//!
//! The upstream's detectors look at queues and KV caches (which are late) or count requests against one number for all
//! endpoints (which fits none). With a latency model the limit of each endpoint is its own: the requests in flight at
//! which its replicas just meet the SLO.

use crate::endpoint::Slot;
use crate::round::Round;

/// A measure of saturation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Detector {
    /// max(waiting / queue, KV use / kv), averaged; endpoints whose metrics are too old count as full.
    Utilization {
        /// Waiting requests of a full endpoint.
        queue: f64,
        /// Share of the KV cache in use of a full endpoint.
        kv: f64,
        /// Age from which metrics are too old, seconds.
        stale_s: f64,
        /// Share by which one endpoint may exceed the limits.
        headroom: f64,
    },
    /// Requests or tokens in flight from here over a number for all endpoints, whichever is more.
    Concurrency {
        /// Requests of a full endpoint; infinite to leave them out.
        requests: f64,
        /// Tokens of a full endpoint; infinite to leave them out.
        tokens: f64,
        /// Share by which one endpoint may exceed the limits.
        headroom: f64,
    },
    /// Requests in flight over those at which the SLO is just met, each variant its own. Ours.
    SloConcurrency {
        /// Requests of a full endpoint whose variant has no model.
        default: f64,
        /// Share by which one endpoint may exceed its limit.
        headroom: f64,
    },
}

impl Default for Detector {
    /// The upstream's default, less impatient with old metrics, since ours are corrected by what was sent since.
    fn default() -> Self {
        Self::Utilization {
            queue: 5.0,
            kv: 0.8,
            stale_s: 5.0,
            headroom: 0.0,
        }
    }
}

impl Detector {
    /// How full one endpoint is: (load, capacity).
    fn fill(&self, round: &Round<'_>, slot: Slot) -> (f64, f64) {
        let own = round.own(slot);
        match *self {
            Self::Utilization {
                queue, kv, stale_s, ..
            } => {
                let fresh = round
                    .pool
                    .age(slot, round.now)
                    .is_some_and(|age| age <= stale_s);
                let (waiting, usage) = (round.waiting(slot), round.kv_usage(slot));
                if !fresh || waiting.is_nan() || usage.is_nan() {
                    return (1.0, 1.0);
                }
                ((waiting / queue).max(usage / kv), 1.0)
            }
            Self::Concurrency {
                requests, tokens, ..
            } => {
                let by_requests = f64::from(own.requests) / requests;
                let by_tokens = own.tokens / tokens;
                (by_requests.max(by_tokens), 1.0)
            }
            Self::SloConcurrency { default, .. } => {
                let feasible = round.pool.model(slot).and_then(|m| m.feasible);
                // Other pickers send too: what the engine has is at least as much as what was sent from here.
                let scraped = round.waiting(slot) + round.running(slot);
                (
                    f64::from(own.requests).max(scraped),
                    feasible.unwrap_or(default),
                )
            }
        }
    }

    /// Whether an endpoint is beyond its limit.
    pub(crate) fn full(&self, round: &Round<'_>, slot: Slot) -> bool {
        let (load, capacity) = self.fill(round, slot);
        let headroom = match self {
            Self::Utilization { headroom, .. }
            | Self::Concurrency { headroom, .. }
            | Self::SloConcurrency { headroom, .. } => *headroom,
        };
        load >= capacity * (1.0 + headroom)
    }

    /// Load over capacity of these endpoints: 1 is full. 1 for none.
    pub(crate) fn saturation(&self, round: &Round<'_>, of: impl Iterator<Item = Slot>) -> f64 {
        let add = |sum: (f64, f64), slot: Slot| {
            let (load, capacity) = self.fill(round, slot);
            (sum.0 + load, sum.1 + capacity)
        };
        let (load, capacity) = of.fold((0.0, 0.0), add);
        if capacity > 0.0 { load / capacity } else { 1.0 }
    }
}
