//! Capacities kept between cycles. Inverting a latency model takes milliseconds and its inputs move slowly, so a capacity
//! is kept until some input has moved by a few per cent. The inputs are part of the state, hence replays agree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wva_models::capacity::{Capacity, capacity};
use wva_models::iteration::{Composition, ReplicaModel};
use wva_models::service_class::Slo;

use super::routes::conditions;
use super::{PlanInput, Workload};

/// Capacities by (variant, class, bucket, pool, SLO).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapacityTable {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    inputs: Vec<f64>,
    capacity: Capacity,
}

/// Relative move of an input beyond which a capacity is found anew.
const MOVED: f64 = 0.07;

impl CapacityTable {
    /// Capacity of one replica of variant `v` for `workload` under `slo` in a pool.
    pub(super) fn capacity(
        &mut self,
        input: &PlanInput<'_>,
        v: usize,
        workload: &Workload,
        slo: &Slo,
        pool: u32,
    ) -> Capacity {
        let name = &input.catalogue.variants[v].name;
        let key = format!(
            "{name}/{}/{}/{pool}/{}",
            workload.class,
            workload.bucket,
            bounds(slo)
        );
        let inputs = characteristics(&input.beliefs[v].replica, workload);
        if let Some(entry) = self.entries.get(&key)
            && entry.inputs.len() == inputs.len()
            && entry
                .inputs
                .iter()
                .zip(&inputs)
                .all(|(a, b)| (a - b).abs() <= MOVED * a.abs().max(b.abs()))
        {
            return entry.capacity;
        }
        let capacity = capacity(&input.model_of(v), &conditions(workload, slo, pool));
        self.entries.insert(key, Entry { inputs, capacity });
        capacity
    }
}

fn bounds(slo: &Slo) -> String {
    let text = |b: Option<wva_models::service_class::Bound>| {
        b.map_or(String::new(), |b| {
            format!("{:.6}+{:.9}", b.limit.get(), b.per_input_token.get())
        })
    };
    format!("{}|{}|{}", text(slo.ttft), text(slo.itl), text(slo.e2e))
}

/// What the capacity depends on, boiled down: iteration times at a few compositions, limits, moments of the shape.
fn characteristics(replica: &ReplicaModel, workload: &Workload) -> Vec<f64> {
    let law = &replica.law;
    let shape = &workload.shape;
    let context = shape.mean_input() + shape.mean_output();
    let decode = |batch: f64| Composition {
        tokens: batch,
        kv_tokens: batch * context,
        sequences: batch,
        ..Composition::default()
    };
    let prompt = Composition {
        tokens: shape.mean_input(),
        kv_tokens: shape.mean_input(),
        sequences: 1.0,
        chunk_context: shape.mean_of(|p| p.input * p.input / 2.0),
        any_prefill: true,
    };
    vec![
        law.seconds(&decode(1.0)),
        law.seconds(&decode(32.0)),
        law.seconds(&prompt),
        law.front_end_s,
        replica.limits.kv_tokens,
        replica.limits.max_sequences,
        replica.limits.token_budget,
        shape.mean_input(),
        shape.mean_output(),
        shape.mean_of(|p| p.input * p.input).sqrt(),
        shape.mean_of(|p| p.output * p.output).sqrt(),
        1.0 - shape.prefix_hit(),
        // Capacity moves with the square root of the dispersion at most, and the estimate of it is noisy.
        workload.dispersion.max(1.0).sqrt().sqrt(),
    ]
}
