//! Capacities kept between cycles. Inverting a latency model takes milliseconds and its inputs move slowly, so a capacity
//! is kept until some input has moved by a few per cent. The inputs are part of the state, hence replays agree.
//!
//! ```text
//! asked for ─► never found: found now ─────────────────────────────────┐
//!          └─► inputs moved: found anew, while this cycle's turns last ─┴─► memo of equal questions ─► inversion
//!                           else kept as it is, and due: what moved most has the next cycle's turns
//! ```
//! A large fleet whose traffic changes everywhere at once would otherwise spend minutes on one cycle, and decide nothing
//! meanwhile. Turns are counted, not timed: a count is data, and a replay on a slower computer decides the same.

mod memo;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wva_models::capacity::{Capacity, capacity};
use wva_models::iteration::{Composition, ReplicaModel};
use wva_models::service_class::Slo;

use super::routes::conditions;
use super::{PlanInput, Workload};

pub use memo::Memo;

/// Capacities by (variant, class, bucket, pool, SLO).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapacityTable {
    entries: BTreeMap<String, Entry>,
    #[serde(skip)]
    turns: Turns,
    #[serde(skip)]
    memo: Memo,
}

/// Tables are equal that answer equally: what was reserved in a cycle that is over says nothing.
impl PartialEq for CapacityTable {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    inputs: Vec<f64>,
    capacity: Capacity,
    /// How far its inputs had moved when it had to wait for another cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<f64>,
}

/// What may be found anew in this cycle.
#[derive(Debug, Clone, Default)]
struct Turns {
    /// Those that waited, the ones that moved most.
    reserved: BTreeSet<String>,
    /// For whoever comes first.
    left: usize,
}

/// Relative move of an input beyond which a capacity is found anew.
const MOVED: f64 = 0.07;

impl CapacityTable {
    /// The same capacities, sharing answers to equal questions with others from now on.
    #[must_use]
    pub fn shared(self, memo: Memo) -> Self {
        Self { memo, ..self }
    }

    /// Takes in what another table has.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
    }

    /// Takes out what is about these variants.
    #[must_use]
    pub fn split_off<'a>(&mut self, variants: impl Iterator<Item = &'a str>) -> Self {
        let mut out = Self::default();
        for name in variants {
            let own = format!("{name}/");
            let from = self.entries.range(own.clone()..);
            let keys: Vec<String> = from
                .take_while(|(key, _)| key.starts_with(&own))
                .map(|(key, _)| key.clone())
                .collect();
            for key in keys {
                out.entries.extend(self.entries.remove_entry(&key));
            }
        }
        out
    }

    /// Whether nothing was found yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Begins a cycle in which `refreshes` capacities may be found anew: first those that had to wait, what moved most
    /// before what moved less.
    pub(super) fn begin(&mut self, refreshes: usize) {
        let waiting = self.entries.iter().filter_map(|(k, e)| Some((e.due?, k)));
        let mut waiting: Vec<(f64, &String)> = waiting.collect();
        waiting.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let reserved: BTreeSet<String> = waiting
            .into_iter()
            .take(refreshes)
            .map(|(_, key)| key.clone())
            .collect();
        for key in &reserved {
            if let Some(entry) = self.entries.get_mut(key) {
                // Who does not ask any more has had its turn.
                entry.due = None;
            }
        }
        self.turns = Turns {
            left: refreshes - reserved.len(),
            reserved,
        };
    }

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
        if let Some(entry) = self.entries.get_mut(&key) {
            let moved = distance(&entry.inputs, &inputs);
            if moved <= MOVED || !self.turns.take(&key) {
                entry.due = (moved > MOVED).then_some(moved);
                return entry.capacity;
            }
        }
        let model = input.model_of(v);
        let conditions = conditions(workload, slo, pool);
        let capacity = self
            .memo
            .of(&model, &conditions, || capacity(&model, &conditions));
        let entry = Entry {
            inputs,
            capacity,
            due: None,
        };
        self.entries.insert(key, entry);
        capacity
    }
}

impl Turns {
    /// Whether this one may be found anew now.
    fn take(&mut self, key: &str) -> bool {
        if self.reserved.remove(key) {
            return true;
        }
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }
}

/// The greatest relative move of an input; infinite where there are others than before.
fn distance(before: &[f64], now: &[f64]) -> f64 {
    if before.len() != now.len() {
        return f64::INFINITY;
    }
    let moves = before.iter().zip(now).map(|(a, b)| {
        let (moved, most) = ((a - b).abs(), a.abs().max(b.abs()));
        if moved.is_nan() {
            f64::INFINITY
        } else if moved <= MOVED * most {
            // Nothing that counts, and 0 over 0 is no number.
            0.0
        } else {
            (moved / most).max(MOVED * (1.0 + 1e-9))
        }
    });
    moves.fold(0.0, f64::max)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(due: Option<f64>) -> Entry {
        Entry {
            inputs: vec![1.0],
            capacity: Capacity::Sustains {
                rate: 1.0,
                binding: wva_models::capacity::Binding::Itl,
            },
            due,
        }
    }

    #[test]
    fn what_moved_most_has_the_next_turns_and_nobody_keeps_one() {
        let mut table = CapacityTable::default();
        for (name, due) in [("a", 0.1), ("b", 0.5), ("c", 0.3)] {
            table.entries.insert(name.into(), entry(Some(due)));
        }
        table.entries.insert("d".into(), entry(None));
        table.begin(2);
        assert!(table.turns.take("b") && table.turns.take("c"));
        assert!(!table.turns.take("a") && !table.turns.take("b") && !table.turns.take("d"));
        // Those that had their turn wait no longer; the other one is next.
        table.begin(2);
        assert!(table.turns.take("a") && table.turns.take("d") && !table.turns.take("c"));
    }

    #[test]
    fn distances_are_relative_and_always_numbers() {
        assert_eq!(distance(&[1.0, 0.0], &[1.05, 0.0]), 0.0);
        assert_eq!(distance(&[1.0, 2.0], &[1.0, 4.0]), 0.5);
        assert_eq!(distance(&[1.0], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(distance(&[f64::NAN], &[1.0]), f64::INFINITY);
    }

    #[test]
    fn a_table_reads_what_earlier_ones_wrote() {
        let old = r#"{"k":{"inputs":[1.0],"capacity":{"sustains":{"rate":1.0,"binding":"itl"}}}}"#;
        let table: CapacityTable = serde_json::from_str(old).expect("the earlier form");
        assert_eq!(table.entries["k"], entry(None));
        assert_eq!(serde_json::to_string(&table).expect("plain data"), old);
    }
}
