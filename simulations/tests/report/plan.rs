//! The page of a plan, from the real planner.

use std::collections::BTreeMap;

use wva_models::catalogue::Catalogue;
use wva_models::shape::RequestShape;
use wva_optimizer::planner::{
    CapacityTable, PlanInput, Planned, PlannerSettings, VariantBelief, Workload, plan,
};
use wva_simulations::report::{self, Alternative, PlanReport};

use crate::html::Page;
use crate::sample::catalogue;

fn input(catalogue: &Catalogue, rate: f64, stock: u32) -> PlanInput<'_> {
    let belief = |v| VariantBelief::on_paper(catalogue.replica_model(v));
    PlanInput {
        catalogue,
        beliefs: catalogue.variants.iter().map(belief).collect(),
        workloads: vec![Workload {
            model: "llama-3.1-8b".to_owned(),
            class: "premium".to_owned(),
            bucket: 0,
            rate,
            shape: RequestShape::fixed(800.0, 200.0).expect("a valid shape"),
            dispersion: 1.0,
            capacity_factor: 1.0,
            doubt: 1.0,
        }],
        stock: BTreeMap::from([("L4".to_owned(), stock)]),
        quotas: BTreeMap::new(),
        settings: PlannerSettings {
            samples: 512,
            ..PlannerSettings::default()
        },
    }
}

fn page(input: &PlanInput<'_>, planned: &Planned, name: &str) -> String {
    report::plan(&PlanReport {
        title: name.to_owned(),
        input,
        planned,
        alternatives: vec![
            Alternative {
                label: format!("without {name}"),
                cost_per_hour_usd: Some(planned.plan.cost * 1.25),
                replicas: vec![("32b-h100".to_owned(), 2), ("8b-l4".to_owned(), 0)],
            },
            Alternative {
                label: "only CPU".to_owned(),
                cost_per_hour_usd: None,
                replicas: Vec::new(),
            },
        ],
        command: "wva plan fleet.yaml --report plan.html".to_owned(),
        version: "0.1.0".to_owned(),
        notes: Vec::new(),
    })
}

#[test]
fn a_feasible_plan_shows_its_mix_headroom_and_alternatives() {
    let catalogue = catalogue();
    let input = input(&catalogue, 4.0, 24);
    let planned = plan(&input, &mut CapacityTable::default()).expect("a plan");
    let text = page(&input, &planned, "fleet");
    Page::parse(&text).assert_safe();
    for words in [
        "serve everything within its objectives",
        "8b-l4",
        "+25 %",
        "2 × 32b-h100",
        "stock:L4",
    ] {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
fn an_infeasible_plan_says_what_is_unserved() {
    let catalogue = catalogue();
    let input = input(&catalogue, 400.0, 2);
    let planned = plan(&input, &mut CapacityTable::default()).expect("a plan");
    let text = page(&input, &planned, "<b>&\"fleet");
    Page::parse(&text).assert_safe();
    assert!(text.contains("No mix serves everything") && text.contains("unserved"));
    assert!(text.contains("full"), "the stock binds");
}
