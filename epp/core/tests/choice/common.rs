//! Pools to choose from.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;

use wva_epp_core::endpoint::{CacheConfig, Endpoint, Lora, Metrics, Slot};
use wva_epp_core::picker::Picker;
use wva_epp_core::pool::{Directory, Pool};
use wva_epp_core::predict::VariantModel;
use wva_epp_core::profile::Profile;
use wva_epp_core::scorer::Scorer;
use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_models::variant::Role;

pub fn address(i: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (i / 250) as u8, (i % 250) as u8 + 1], 8000))
}

pub fn endpoint(i: usize) -> Endpoint {
    Endpoint::new(address(i), "ns", &format!("pod-{i}"))
}

/// Pods as (queue, KV use, adapters).
pub fn pods(pods: &[(f64, f64, &[&str])]) -> (Directory, Pool) {
    let mut directory = Directory::new();
    for (i, (waiting, kv_usage, adapters)) in pods.iter().enumerate() {
        directory.apply(endpoint(i));
        let lora = Lora::new(2, adapters.iter().copied(), []);
        let metrics = Metrics {
            waiting: *waiting,
            kv_usage: *kv_usage,
            cache: Some(CacheConfig {
                block_tokens: 16,
                blocks: 27_312,
            }),
            lora: Some(Arc::new(lora)),
            ..Metrics::default()
        };
        assert!(directory.observe(&address(i), &metrics));
    }
    let pool = directory.pool();
    (directory, pool)
}

/// So many pods, all alike and idle.
pub fn idle(count: usize) -> (Directory, Pool) {
    let mut directory = Directory::new();
    for i in 0..count {
        directory.apply(endpoint(i));
        directory.observe(&address(i), &Metrics::default());
    }
    let pool = directory.pool();
    (directory, pool)
}

pub fn slots(pool: &Pool) -> Vec<Slot> {
    pool.slots().collect()
}

/// A picker of one profile with these scorers, all of weight 1.
pub fn picker(scorers: Vec<Scorer>) -> Picker {
    let scorers = scorers.into_iter().map(|s| (s, 1.0)).collect();
    Picker {
        profiles: vec![Profile {
            scorers,
            ..Profile::default()
        }],
        ..Picker::default()
    }
}

/// An 8B model on an H100; `slowness` stretches its iterations.
pub fn model(slowness: f64) -> VariantModel {
    let law = IterationLaw {
        overhead_s: 1.9e-3 * slowness,
        floor_s: 5.15e-3 * slowness,
        per_token_s: 2.28e-5 * slowness,
        per_kv_token_s: 4.1e-8 * slowness,
        per_sequence_s: 2.3e-5 * slowness,
        per_chunk_context_s: 8.3e-10 * slowness,
        prefill_overhead_s: 5.9e-4 * slowness,
        front_end_s: 11e-3,
    };
    let limits = EngineLimits {
        token_budget: 8192.0,
        max_sequences: 256.0,
        kv_tokens: 437_000.0,
    };
    VariantModel::new(ReplicaModel { law, limits }, Role::Both, 1000.0, 200.0)
}
