//! What-if questions, asked of a small fleet whose answers can be reasoned out.

use std::collections::BTreeMap;

use wva_models::catalogue::Catalogue;
use wva_models::shape::RequestShape;
use wva_optimizer::planner::{
    CapacityTable, PlanInput, Planned, PlannerSettings, VariantBelief, Workload, plan,
};
use wva_optimizer::what_if::{alternatives, bound_prices};

const FLEET: &str = "
accelerators: [{name: H100, price_per_hour_usd: 3}, {name: L40S, price_per_hour_usd: 1}]
variants:
  - {model: llama-3.1-8b, accelerator: L40S}
  - {model: llama-3.1-8b, accelerator: H100}
classes:
  - {name: chat, ttft_ms: {p99: 2000}, itl_ms: {mean: 60}}
";

fn input(catalogue: &Catalogue, rate: f64, stock: &[(&str, u32)]) -> PlanInput<'static> {
    let belief = |v| VariantBelief::on_paper(catalogue.replica_model(v));
    let workload = Workload {
        model: "llama-3.1-8b".into(),
        class: "chat".into(),
        bucket: 0,
        rate,
        shape: RequestShape::fixed(1000.0, 200.0).expect("a shape"),
        dispersion: 1.0,
        capacity_factor: 1.0,
        doubt: 1.0,
    };
    PlanInput {
        beliefs: catalogue.variants.iter().map(belief).collect(),
        catalogue: Box::leak(Box::new(catalogue.clone())),
        workloads: vec![workload],
        stock: stock
            .iter()
            .map(|&(name, n)| (name.to_owned(), n))
            .collect::<BTreeMap<_, _>>(),
        quotas: BTreeMap::new(),
        settings: PlannerSettings::default(),
    }
}

fn planned(input: &PlanInput<'_>) -> Planned {
    plan(input, &mut CapacityTable::default()).expect("well formed")
}

#[test]
fn an_alternative_does_without_the_variant_and_is_no_cheaper() {
    let catalogue = Catalogue::parse(FLEET, "test").expect("a catalogue");
    let input = input(&catalogue, 20.0, &[]);
    let planned = planned(&input);
    let found = alternatives(&planned, &input.settings.solve).expect("well formed");
    assert!(!found.is_empty());
    for alternative in &found {
        assert_eq!(alternative.plan.replicas[alternative.without], 0);
        assert!(alternative.plan.serves_all());
        assert!(
            alternative.plan.cost >= planned.plan.cost * 0.994,
            "within the solver's gap"
        );
    }
}

#[test]
fn a_looser_bound_never_costs_more() {
    let catalogue =
        Catalogue::parse(&FLEET.replace("mean: 60", "mean: 20"), "test").expect("a catalogue");
    let input = input(&catalogue, 50.0, &[]);
    let found = bound_prices(&input, &planned(&input), 2.0).expect("well formed");
    assert!(!found.is_empty());
    assert!(found.iter().all(|p| p.saves >= -0.01), "{found:?}");
    assert!(found.iter().any(|p| p.saves > 0.0), "{found:?}");
    assert!(found.iter().all(|p| (p.to / p.from - 2.0).abs() < 1e-9));
}
