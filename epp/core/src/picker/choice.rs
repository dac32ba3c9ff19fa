//! What came of choosing.

use std::net::SocketAddr;

use crate::endpoint::Slot;
use crate::inflight::Flight;
use crate::pool::Pool;
use crate::predict::Predicted;
use crate::scorer::session_token;

/// Header, and metadata key, that tells the proxy where to send a request.
pub const DESTINATION_HEADER: &str = "x-gateway-destination-endpoint";
/// Header that tells a decode server where the prompt is computed.
pub const PREFILL_HEADER: &str = "x-prefiller-host-port";
/// Header that tells it where images, audio and video are encoded.
pub const ENCODE_HEADER: &str = "x-encoder-hosts-ports";
/// Header that tells a pod which of its data-parallel ranks is meant.
pub const DATA_PARALLEL_HEADER: &str = "x-data-parallel-host-port";

/// Where a request goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The endpoint.
    pub primary: Slot,
    /// Where it goes if that fails, in order.
    pub fallbacks: Vec<Slot>,
    /// Where its prompt is computed, if elsewhere.
    pub prefill: Option<Slot>,
    /// Where its images, audio and video are encoded, if elsewhere.
    pub encode: Vec<Slot>,
    /// Prompt tokens that are taken to be in the cache where the prompt is computed.
    pub cached_tokens: f64,
    /// Predicted latency where the prompt is computed; `None` without a model of that variant.
    pub predicted: Option<Predicted>,
    /// Its count among requests in flight: give it to [`crate::inflight::Inflight::answered`] and
    /// [`crate::inflight::Inflight::ended`].
    pub flight: Flight,
    pub(super) rank_of: Option<(SocketAddr, u16)>,
    pub(super) session_header: Option<String>,
}

impl Choice {
    /// The value of [`DESTINATION_HEADER`]: `ip:port`, fallbacks after commas. From the pool that was chosen from.
    #[must_use]
    pub fn destination(&self, pool: &Pool) -> String {
        let slots = std::iter::once(self.primary).chain(self.fallbacks.iter().copied());
        let port = self.rank_of.map(|(_, port)| port);
        join(pool, slots, port)
    }

    /// Where to send it, best first. A request for one of a pod's data-parallel ranks has no fallbacks: the header that names
    /// the rank would be wrong elsewhere.
    #[must_use]
    pub fn addresses(&self, pool: &Pool) -> Vec<SocketAddr> {
        let address = |slot: &Slot| pool.endpoint(*slot).map(|e| e.address);
        match self.rank_of {
            Some((rank, port)) => vec![SocketAddr::new(rank.ip(), port)],
            None => {
                let slots = std::iter::once(&self.primary).chain(&self.fallbacks);
                slots.filter_map(address).collect()
            }
        }
    }

    /// The headers to set on the request besides the destination.
    #[must_use]
    pub fn headers(&self, pool: &Pool) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(prefill) = self.prefill {
            headers.push((PREFILL_HEADER, join(pool, std::iter::once(prefill), None)));
        }
        if !self.encode.is_empty() {
            headers.push((ENCODE_HEADER, join(pool, self.encode.iter().copied(), None)));
        }
        if let Some((rank, _)) = self.rank_of {
            headers.push((DATA_PARALLEL_HEADER, rank.to_string()));
        }
        headers
    }

    /// The header to set on the response, so that the client's session goes on at the same pod.
    #[must_use]
    pub fn session(&self, pool: &Pool) -> Option<(&str, String)> {
        let header = self.session_header.as_deref()?;
        let endpoint = pool.endpoint(self.primary)?;
        Some((header, session_token(&endpoint.full_name())))
    }
}

fn join(pool: &Pool, slots: impl Iterator<Item = Slot>, port: Option<u16>) -> String {
    let mut text = String::new();
    for endpoint in slots.filter_map(|s| pool.endpoint(s)) {
        let mut address = endpoint.address;
        if let Some(port) = port {
            address.set_port(port);
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&address.to_string());
    }
    text
}
