//! What was learned, kept in a ConfigMap beside the Lease, now and then and at the end of a process, so that a restart does
//! not begin at nothing.
//!
//! Kept are fitted laws, start-up times, forecasts and headroom, in that order of worth and within a bound; capacities are
//! found again in a cycle, and counters mean nothing to a new process. What does not fit is left out, the largest first:
//! a lost memory costs accuracy for a while and lowers nothing.

use std::collections::BTreeMap;

use kube::core::{DynamicObject, ObjectMeta, TypeMeta};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wva_optimizer::planner::CapacityTable;
use wva_optimizer::state::State;

use crate::cycle::memory::{Memory, VariantMemory};
use k8s_openapi::api::core::v1::ConfigMap;

/// Most bytes of state; the API takes objects of up to 1 MiB.
const MOST_BYTES: usize = 900 * 1024;
/// Time between two writes, seconds.
const EVERY_S: f64 = 300.0;
/// Format of what is kept; another one is not read.
const FORMAT: &str = "wva.state/v1";
/// Key in the ConfigMap.
const KEY: &str = "state.json";

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
        let text = bounded(memory)?;
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
            data: json!({"data": {KEY: text}}),
        };
        Some(crate::cycle::effects::Effect::Keep {
            object: Box::new(object),
        })
    }
}

fn config_map(lease: &str) -> String {
    format!("{lease}-state")
}

/// The state as text within the bound.
fn bounded(memory: &Memory) -> Option<String> {
    let mut kept = Kept {
        format: FORMAT.into(),
        optimizer: State {
            capacities: CapacityTable::default(),
            ..memory.optimizer.clone()
        },
        variants: memory.variants.clone(),
        last_request: memory.last_request.clone(),
    };
    let text = |kept: &Kept| serde_json::to_string(kept).ok();
    let fits = |t: &String| t.len() <= MOST_BYTES;
    if let Some(whole) = text(&kept).filter(fits) {
        return Some(whole);
    }
    kept.optimizer.history.clear();
    if let Some(without_history) = text(&kept).filter(fits) {
        return Some(without_history);
    }
    kept.optimizer.streams.clear();
    text(&kept).filter(fits)
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
    let text = found.data?.remove(KEY)?;
    let memory = restore(&text);
    if memory.is_none() {
        tracing::warn!("what an earlier process learned is in another format; starting anew");
    }
    memory
}

fn restore(text: &str) -> Option<Memory> {
    let kept: Kept = serde_json::from_str(text).ok()?;
    let known = kept.format == FORMAT;
    known.then(|| Memory::restored(kept.optimizer, kept.variants, kept.last_request))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let text = bounded(&memory).expect("small");
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
}
