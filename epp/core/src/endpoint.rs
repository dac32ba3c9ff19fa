//! Endpoints: the model servers a request may go to, and what is known of each.
//!
//! An endpoint is one address (`ip:port`) of one pod; a pod with several data-parallel ranks is several endpoints.
//! What rarely changes ([`Endpoint`]) is apart from what every scrape changes ([`Metrics`]), so that a new snapshot of
//! the pool copies numbers only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// Pod label that says which stages of a request a server does.
pub const ROLE_LABEL: &str = "llm-d.ai/role";

/// Place of an endpoint in a [`crate::pool::Pool`] and in every table beside it. A place is used again after its
/// endpoint is gone; the tables notice by its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(crate) u32);

impl Slot {
    /// The place as an index, from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The stages that a server does, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u8);

impl Roles {
    /// Encodes images, audio and video.
    pub const ENCODE: Self = Self(1);
    /// Computes the KV cache of prompts.
    pub const PREFILL: Self = Self(2);
    /// Generates.
    pub const DECODE: Self = Self(4);
    /// Has no (known) role label: generates, since it is all there is.
    pub const UNLABELLED: Self = Self(8 | 4);

    /// The roles that the value of [`ROLE_LABEL`] names; `None` and unknown values as the upstream reads them: a pod
    /// without the label decodes, one with an unknown value does nothing.
    #[must_use]
    pub fn of_label(value: Option<&str>) -> Self {
        match value {
            None => Self::UNLABELLED,
            Some("encode") => Self::ENCODE,
            Some("prefill") => Self::PREFILL,
            Some("decode") => Self::DECODE,
            Some("encode-prefill") => Self(1 | 2),
            Some("prefill-decode" | "both") => Self(2 | 4),
            Some("encode-prefill-decode") => Self(1 | 2 | 4),
            Some(_) => Self(0),
        }
    }

    /// Whether any of `wanted` is among these.
    #[must_use]
    pub const fn any_of(self, wanted: Self) -> bool {
        self.0 & wanted.0 != 0
    }
}

/// The serving engine, which decides how its metrics are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// vLLM.
    #[default]
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server.
    TrtLlmServe,
    /// Triton with the TensorRT-LLM backend.
    TritonTrtLlm,
    /// Anything else.
    Other,
}

/// One address of one pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Where requests go.
    pub address: SocketAddr,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Serving engine.
    pub engine: Engine,
    /// Data-parallel rank, 0 for the first or only one.
    pub rank: u16,
    /// Number of its variant among the pool's latency models; `None` where it has none.
    pub variant: Option<u32>,
    /// Whether the autoscaler is about to take it away: it serves on, but gets new work only when nothing else can.
    pub draining: bool,
}

impl Endpoint {
    /// An endpoint of a pod without labels: a vLLM server that decodes, of no known variant.
    #[must_use]
    pub fn new(address: SocketAddr, namespace: &str, pod: &str) -> Self {
        Self {
            address,
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            labels: BTreeMap::new(),
            engine: Engine::default(),
            rank: 0,
            variant: None,
            draining: false,
        }
    }

    /// `namespace/name` of the pod.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.pod)
    }

    /// The stages it does, from its labels.
    #[must_use]
    pub fn roles(&self) -> Roles {
        Roles::of_label(self.labels.get(ROLE_LABEL).map(String::as_str))
    }
}

/// Size of an engine's KV cache, from `cache_config_info` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    /// Tokens of one block (page).
    pub block_tokens: u32,
    /// Blocks on the device.
    pub blocks: u32,
}

impl CacheConfig {
    /// Tokens that the cache holds.
    #[must_use]
    pub fn tokens(&self) -> f64 {
        f64::from(self.block_tokens) * f64::from(self.blocks)
    }
}

/// Adapters on a server. Names are kept as hashes: a request asks for one name, and comparing numbers needs no memory
/// but this.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lora {
    /// Adapters that the server can hold at once.
    pub max: u32,
    active: Vec<u64>,
    waiting: Vec<u64>,
}

impl Lora {
    /// A server that can hold `max` adapters, holds `active` and has requests waiting for `waiting`.
    pub fn new<'a>(
        max: u32,
        active: impl IntoIterator<Item = &'a str>,
        waiting: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let hashes = |names: &mut dyn Iterator<Item = &'a str>| names.map(Self::key).collect();
        Self {
            max,
            active: hashes(&mut active.into_iter()),
            waiting: hashes(&mut waiting.into_iter()),
        }
    }

    /// The form in which adapters are compared.
    #[must_use]
    pub fn key(name: &str) -> u64 {
        xxh3_64(name.as_bytes())
    }

    /// Affinity of this server to the adapter of this key: 1 if active, 0.8 with a slot to spare, 0.6 if others wait for
    /// it already, else 0.
    #[must_use]
    pub fn affinity(&self, adapter: u64) -> f64 {
        if self.active.contains(&adapter) {
            1.0
        } else if self.active.len() + self.waiting.len() < self.max as usize {
            0.8
        } else if self.waiting.contains(&adapter) {
            0.6
        } else {
            0.0
        }
    }
}

/// Requests sent to an endpoint so far, and what of them is in flight. A scrape carries the count of its moment, so that
/// what was sent and what ended later is known exactly, and what was there beyond it is known to be others'.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sent {
    /// Requests.
    pub requests: u64,
    /// Prompt tokens.
    pub tokens: u64,
    /// Requests in flight without a first token.
    pub pending: f64,
    /// Requests in flight with one.
    pub running: f64,
    /// Prompt and expected output tokens of those in flight.
    pub held: f64,
}

/// What one scrape of an endpoint said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics {
    /// When, in seconds of the caller's clock.
    pub at: f64,
    /// Requests waiting in the engine.
    pub waiting: f64,
    /// Requests running.
    pub running: f64,
    /// Share of the KV cache in use, 0 to 1.
    pub kv_usage: f64,
    /// What this picker had sent when the scrape was answered ([`crate::inflight::Inflight::sent`]); `None` corrects
    /// nothing.
    pub sent: Option<Sent>,
    /// Size of the KV cache; `None` keeps what was known.
    pub cache: Option<CacheConfig>,
    /// Adapters; `None` keeps what was known.
    pub lora: Option<Arc<Lora>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_prefer_where_they_are_then_where_there_is_room() {
        let lora = Lora::new(2, ["a"], ["b"]);
        let of = |name: &str| lora.affinity(Lora::key(name));
        assert_eq!((of("a"), of("b"), of("c")), (1.0, 0.6, 0.0));
        let roomy = Lora::new(3, ["a"], ["b"]);
        assert_eq!(roomy.affinity(Lora::key("b")), 0.8);
        assert_eq!(Lora::default().affinity(Lora::key("a")), 0.0);
    }

    #[test]
    fn roles_follow_the_label() {
        let roles = |l| Roles::of_label(l);
        assert!(roles(None).any_of(Roles::DECODE));
        assert!(!roles(None).any_of(Roles::PREFILL));
        assert!(roles(Some("both")).any_of(Roles::PREFILL));
        assert!(roles(Some("encode-prefill")).any_of(Roles::ENCODE));
        assert!(!roles(Some("other")).any_of(Roles::DECODE));
    }
}
