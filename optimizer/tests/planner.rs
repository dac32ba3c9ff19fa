//! The planner on catalogues: what is cheapest, what pairs, what batch work adds.

use std::collections::BTreeMap;

use wva_models::catalogue::Catalogue;
use wva_models::shape::RequestShape;
use wva_optimizer::planner::{
    CapacityTable, PlanInput, Planned, PlannerSettings, VariantBelief, Workload, plan,
};

const CHAT: &str = "
models: [{name: llama-3.1-8b}]
variants:
  - {model: llama-3.1-8b, accelerator: L40S}
  - {model: llama-3.1-8b, accelerator: H100}
classes:
  - {name: chat, priority: 10, ttft_ms: {p99: 2000, per_1k_input_tokens: 500}, itl_ms: {p99: 80}}
  - {name: nightly, deadline_seconds: 14400}
";

fn input<'a>(catalogue: &'a Catalogue, workloads: Vec<Workload>) -> PlanInput<'a> {
    let beliefs = catalogue
        .variants
        .iter()
        .map(|v| VariantBelief {
            replica: catalogue.replica_model(v),
            margin: 1.0,
            current: 0,
            available: None,
        })
        .collect();
    PlanInput {
        catalogue,
        beliefs,
        workloads,
        stock: BTreeMap::new(),
        quotas: BTreeMap::new(),
        settings: PlannerSettings::default(),
    }
}

fn workload(class: &str, rate: f64) -> Workload {
    let shape = RequestShape::lognormal((1155.0, 1.1), (211.0, 0.8), None).expect("a shape");
    Workload {
        model: "llama-3.1-8b".into(),
        class: class.into(),
        bucket: 0,
        rate,
        shape,
        dispersion: 1.5,
        capacity_factor: 1.0,
        doubt: 1.0,
    }
}

fn planned(catalogue: &Catalogue, workloads: Vec<Workload>) -> Planned {
    plan(&input(catalogue, workloads), &mut CapacityTable::default())
        .expect("a well-formed problem")
}

#[test]
fn serves_all_and_costs_more_for_more() {
    let catalogue = Catalogue::parse(CHAT, "test").expect("a catalogue");
    let mut last = 0.0;
    for rate in [0.5, 5.5, 20.0, 60.0] {
        let planned = planned(&catalogue, vec![workload("chat", rate)]);
        assert!(planned.plan.serves_all(), "{rate}");
        assert!(planned.plan.cost >= last, "{rate}");
        last = planned.plan.cost;
    }
}

#[test]
fn batch_work_fills_what_interactive_work_leaves() {
    let catalogue = Catalogue::parse(CHAT, "test").expect("a catalogue");
    let alone = planned(&catalogue, vec![workload("chat", 10.0)]);
    let batch = planned(&catalogue, vec![workload("nightly", 4.0)]);
    let both = planned(
        &catalogue,
        vec![workload("chat", 10.0), workload("nightly", 4.0)],
    );
    assert!(both.plan.serves_all());
    assert!(both.plan.cost <= alone.plan.cost + batch.plan.cost + 1e-9);
}
