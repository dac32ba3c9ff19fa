//! Requests as the simulator takes them in: time, stream and token counts, in time order.
//!
//! A request names its stream (model and class) by ordinal: comparing names for a million requests would cost more than
//! simulating them.

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// One (model, class) whose requests are told apart in results and metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Name of the model in the catalogue.
    pub model: String,
    /// Name of the service class in the catalogue.
    pub class: String,
    /// Share of input tokens that the prefix cache holds, for requests without [`Request::hash_ids`]; in [0, 1].
    pub prefix_hit: f64,
}

/// One request, as it arrives at the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Arrival time.
    pub at: Time,
    /// Ordinal in [`RequestSource::streams`].
    pub stream: u32,
    /// Input tokens n; 0 is taken as 1.
    pub input: u32,
    /// Output tokens m; 0 is taken as 1.
    pub output: u32,
    /// Hashes of the input's prefix blocks of [`BLOCK_TOKENS`] tokens, where the trace knows them; each hash stands for
    /// its block and everything before it.
    pub hash_ids: Option<Box<[u64]>>,
}

/// Tokens that one entry of [`Request::hash_ids`] stands for (the block size of the Mooncake traces).
pub const BLOCK_TOKENS: u32 = 512;

/// Where requests come from. One source serves all policies of a comparison: each gets the same requests.
pub trait RequestSource: Sync {
    /// The streams that requests refer to.
    fn streams(&self) -> &[Stream];

    /// All requests, in order of [`Request::at`]. Each call starts again; the same `seed` gives the same requests.
    fn requests(&self, seed: u64) -> Box<dyn Iterator<Item = Request> + '_>;
}

/// Requests given one by one: for tests and for traces that are already in memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RequestList {
    streams: Vec<Stream>,
    requests: Vec<Request>,
}

impl RequestList {
    /// A source of these requests, sorted by time; equal times keep their order.
    #[must_use]
    pub fn new(streams: Vec<Stream>, mut requests: Vec<Request>) -> Self {
        requests.sort_by_key(|r| r.at);
        Self { streams, requests }
    }
}

impl RequestSource for RequestList {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn requests(&self, _seed: u64) -> Box<dyn Iterator<Item = Request> + '_> {
        Box::new(self.requests.iter().cloned())
    }
}
