//! What replicas really do, when it is not what the catalogue says.
//!
//! A simulation whose replicas follow the very law that the policy plans with proves little. Each of the eight
//! parameters of each variant is multiplied by (1 + f)^u with u uniform on [−1, 1]: as often too high as too low, never
//! negative, and independent of the other variants', so that even the order of the variants by price may be wrong.
//! Limits of the engine stay: it reports them itself.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use wva_models::catalogue::Catalogue;
use wva_models::iteration::{IterationLaw, ReplicaModel};

use crate::workload::derived;

/// The true laws, per variant in the catalogue's order. A variant's depend on the seed and its name alone: adding another
/// variant leaves them as they are.
pub(super) fn laws(catalogue: &Catalogue, off_by: f64, seed: u64) -> Vec<ReplicaModel> {
    let truth = |variant| {
        let prior = catalogue.replica_model(variant);
        let name = variant
            .name
            .bytes()
            .fold(seed, |s, b| derived(s, u64::from(b)));
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(name);
        let mut off = |x: f64| x * (1.0 + off_by).powf(rng.random_range(-1.0..=1.0));
        let law = prior.law;
        ReplicaModel {
            law: IterationLaw {
                overhead_s: off(law.overhead_s),
                floor_s: off(law.floor_s),
                per_token_s: off(law.per_token_s),
                per_kv_token_s: off(law.per_kv_token_s),
                per_sequence_s: off(law.per_sequence_s),
                per_chunk_context_s: off(law.per_chunk_context_s),
                prefill_overhead_s: off(law.prefill_overhead_s),
                front_end_s: off(law.front_end_s),
            },
            ..prior
        }
    };
    catalogue.variants.iter().map(truth).collect()
}
