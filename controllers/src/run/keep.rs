//! What was learned, kept in a ConfigMap beside the Lease, now and then and at the end of a process, so that a restart does
//! not begin at nothing.
//!
//! Kept are fitted laws, start-up times, forecasts and headroom, compressed and within a bound; capacities are found again
//! in a cycle, and counters mean nothing to a new process. What does not fit is left out: first what plans wanted lately, then
//! the forecasts of the streams with the fewest requests. A lost memory costs accuracy for a while and lowers nothing.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use k8s_openapi::ByteString;
use kube::core::{DynamicObject, ObjectMeta, TypeMeta};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wva_optimizer::planner::CapacityTable;
use wva_optimizer::state::State;

use crate::cycle::memory::{Memory, VariantMemory};
use k8s_openapi::api::core::v1::ConfigMap;

/// Most bytes of state, compressed; the API takes objects of up to 1 MiB, in which they are written with a third more.
const MOST_BYTES: usize = 700 * 1024;
/// Most bytes that are read of it, uncompressed.
const MOST_READ: u64 = 256 << 20;
/// Time between two writes, seconds.
const EVERY_S: f64 = 300.0;
/// Format of what is kept; another one is not read.
const FORMAT: &str = "wva.state/v1";
/// Key in the ConfigMap.
const KEY: &str = "state.json.gz";
/// Key under which earlier releases wrote it as text.
const PLAIN_KEY: &str = "state.json";

#[derive(Serialize, Deserialize)]
struct Kept {
    format: String,
    optimizer: State,
    variants: BTreeMap<String, VariantMemory>,
    last_request: BTreeMap<String, f64>,
}

/// Makes the effect that keeps the state, now and then.
#[derive(Debug)]
pub(super) struct Keeper {
    namespace: String,
    name: String,
    last: Option<f64>,
}

impl Keeper {
    pub fn new(namespace: &str, lease: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: config_map(lease),
            last: None,
        }
    }

    /// The effect, when it is due.
    pub fn effects(&mut self, memory: &Memory, now: f64) -> Option<crate::cycle::effects::Effect> {
        // Not in the first moments either: what was just loaded is there already.
        let last = *self.last.get_or_insert(now);
        if now - last < EVERY_S {
            return None;
        }
        self.last = Some(now);
        self.effect(memory)
    }

    /// The effect, due or not: at the end of a process, for the next one.
    pub fn effect(&self, memory: &Memory) -> Option<crate::cycle::effects::Effect> {
        let packed = bounded(memory, MOST_BYTES)?;
        let object = DynamicObject {
            types: Some(TypeMeta {
                api_version: "v1".into(),
                kind: "ConfigMap".into(),
            }),
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            data: json!({"binaryData": {KEY: ByteString(packed)}}),
        };
        Some(crate::cycle::effects::Effect::Keep {
            object: Box::new(object),
        })
    }
}

fn config_map(lease: &str) -> String {
    format!("{lease}-state")
}

/// The state, compressed to so many bytes at most.
fn bounded(memory: &Memory, most: usize) -> Option<Vec<u8>> {
    let mut kept = Kept {
        format: FORMAT.into(),
        optimizer: State {
            capacities: CapacityTable::default(),
            ..memory.optimizer.clone()
        },
        variants: memory.variants.clone(),
        last_request: memory.last_request.clone(),
    };
    let mut packed = pack(&kept)?;
    if packed.len() > most {
        kept.optimizer.history.clear();
        packed = pack(&kept)?;
    }
    while packed.len() > most && !kept.optimizer.streams.is_empty() {
        // A little fewer than would fit if all were of one size.
        let fitting = 0.95 * most as f64 / packed.len() as f64;
        let streams = (fitting * kept.optimizer.streams.len() as f64) as usize;
        keep_busiest(&mut kept.optimizer, streams);
        packed = pack(&kept)?;
    }
    (packed.len() <= most).then_some(packed)
}

fn pack(kept: &Kept) -> Option<Vec<u8>> {
    let text = serde_json::to_vec(kept).ok()?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&text).ok()?;
    encoder.finish().ok()
}

/// Leaves the `count` streams with the most requests per second.
fn keep_busiest(state: &mut State, count: usize) {
    let mut rates: Vec<(f64, String)> = (state.streams.iter())
        .map(|(key, stream)| (stream.rate().unwrap_or(0.0), key.clone()))
        .collect();
    rates.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    for (_, key) in rates.drain(count.min(rates.len())..) {
        state.streams.remove(&key);
    }
}

/// What an earlier process kept; `None` where there is nothing that can be read.
pub(super) async fn load(client: &Client, namespace: &str, lease: &str) -> Option<Memory> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = match api.get_opt(&config_map(lease)).await {
        Ok(found) => found?,
        Err(error) => {
            tracing::warn!(%error, "cannot read what an earlier process learned; starting anew");
            return None;
        }
    };
    let packed = found.binary_data.and_then(|mut d| d.remove(KEY));
    let plain = found.data.and_then(|mut d| d.remove(PLAIN_KEY));
    let text = match packed {
        Some(packed) => unpack(&packed.0),
        None => Some(plain?),
    };
    let memory = text.and_then(|text| restore(&text));
    if memory.is_none() {
        tracing::warn!("what an earlier process learned is in another format; starting anew");
    }
    memory
}

fn unpack(packed: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut decoder = GzDecoder::new(packed).take(MOST_READ);
    decoder.read_to_string(&mut text).ok()?;
    Some(text)
}

fn restore(text: &str) -> Option<Memory> {
    let kept: Kept = serde_json::from_str(text).ok()?;
    let known = kept.format == FORMAT;
    known.then(|| Memory::restored(kept.optimizer, kept.variants, kept.last_request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wva_models::forecast::ForecastSettings;
    use wva_optimizer::snapshot::StreamSample;
    use wva_optimizer::state::headroom::HeadroomSettings;
    use wva_optimizer::state::stream::StreamState;

    #[test]
    fn what_is_kept_comes_back_and_nonsense_does_not() {
        let mut memory = Memory::default();
        memory.last_request.insert("ns/model".into(), 5.0);
        memory.variants.insert(
            "ns/v".into(),
            VariantMemory {
                decided: Some(3),
                ..VariantMemory::default()
            },
        );
        let packed = bounded(&memory, MOST_BYTES).expect("small");
        let text = unpack(&packed).expect("just packed");
        assert_eq!(restore(&text), Some(memory));
        for bad in [
            "",
            "{}",
            "[1]",
            &text.replace("v1", "v0"),
            &text[..text.len() / 2],
        ] {
            assert_eq!(restore(bad), None, "{bad}");
        }
    }

    #[test]
    fn of_too_many_streams_the_busiest_are_kept() {
        let settings = HeadroomSettings::default();
        let mut memory = Memory::default();
        for rate in 1..=40_u32 {
            let mut stream = StreamState::new(ForecastSettings::default());
            for cycle in 0..60 {
                let at = 15.0 * f64::from(cycle);
                let sample = StreamSample {
                    at,
                    arrivals: f64::from(rate) * at,
                    ..StreamSample::default()
                };
                stream.observe(&sample, 0.99, true, None, &settings);
            }
            let key = format!("model-{}/chat", rate * 7 % 41);
            memory.optimizer.streams.insert(key, stream);
        }
        let whole = bounded(&memory, usize::MAX).expect("a state").len();
        let text = unpack(&bounded(&memory, whole / 2).expect("a part")).expect("packed");
        let kept = restore(&text).expect("a state").optimizer.streams;
        assert!((10..=25).contains(&kept.len()), "{}", kept.len());
        let least = kept
            .values()
            .filter_map(StreamState::rate)
            .fold(f64::INFINITY, f64::min);
        assert!((least - (41 - kept.len()) as f64).abs() < 0.5, "{least}");
        assert_eq!(bounded(&memory, 10), None);
        assert_eq!(unpack(b"no gzip"), None);
    }
}
