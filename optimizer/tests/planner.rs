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
        .map(|v| VariantBelief::on_paper(catalogue.replica_model(v)))
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
fn good_news_of_others_is_half_believed_and_bad_news_all() {
    let catalogue = Catalogue::parse(CHAT, "test").expect("a catalogue");
    let cost = |capacity_factor, experience| {
        let workload = Workload {
            capacity_factor,
            doubt: 0.0,
            ..workload("chat", 60.0)
        };
        let mut input = input(&catalogue, vec![workload]);
        for belief in &mut input.beliefs {
            (belief.margin, belief.experience) = (0.9, experience);
        }
        let planned = plan(&input, &mut CapacityTable::default()).expect("a plan");
        planned.plan.cost
    };
    let (modelled, believed, half) = (cost(1.0, 1.0), cost(1.25, 1.0), cost(1.25, 0.0));
    assert!(believed < 0.9 * modelled, "{believed} {modelled}");
    assert!(half > 1.1 * believed, "{half} {believed}");
    assert!(cost(0.8, 0.0) > 1.15 * modelled);
    assert!(cost(1.25, f64::NAN).is_finite());
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

/// A small device that is too slow for long prompts beside a large one.
const UNEQUAL: &str = "
models: [{name: llama-3.1-8b}]
variants:
  - {name: small, model: llama-3.1-8b, accelerator: L4, engine: {precision: fp8, kv_precision: fp8, max_num_batched_tokens: 1024}}
  - {name: large, model: llama-3.1-8b, accelerator: H100, engine: {max_num_batched_tokens: 2048}}
accelerators: [{name: L4, price_per_hour_usd: 0.81}, {name: H100, price_per_hour_usd: 6.88}]
classes:
  - {name: chat, ttft_ms: {p99: 1500, per_1k_input_tokens: 300}, itl_ms: {p99: 75}}
";

/// Prompts of a conversation about long documents: 12,000 tokens on average, the longest far beyond.
fn long_prompts(rate: f64) -> Workload {
    Workload {
        shape: RequestShape::lognormal((12_000.0, 1.0), (340.0, 0.8), None).expect("a shape"),
        ..workload("chat", rate)
    }
}

#[test]
fn small_devices_take_short_prompts_where_one_more_large_device_would_be_too_much() {
    let catalogue = Catalogue::parse(UNEQUAL, "test").expect("a catalogue");
    let large_alone = {
        let text = UNEQUAL.replace("name: small,", "name: small, max_replicas: 0,");
        Catalogue::parse(&text, "test").expect("a catalogue")
    };
    let (mut cheaper, mut mixed) = (0, 0);
    for rate in [1.0, 1.7, 2.4, 3.1, 3.8] {
        let planned_on = |c| planned(c, vec![long_prompts(rate)]);
        let (with, without) = (planned_on(&catalogue), planned_on(&large_alone));
        assert!(
            with.plan.serves_all() && without.plan.serves_all(),
            "{rate}"
        );
        assert!(with.plan.cost <= without.plan.cost + 1e-9, "{rate}");
        cheaper += usize::from(with.plan.cost < without.plan.cost - 0.5);
        mixed += usize::from(with.plan.replicas.iter().all(|n| *n > 0));
        // The longest prompts are for the large one alone.
        let longest = with.workloads.len() - 1;
        for (route, _) in with.used_routes(longest) {
            assert_eq!(route.variants, ["large"], "{rate}");
        }
    }
    assert!(cheaper >= 1 && mixed >= 1, "{cheaper} {mixed}");
}

#[test]
fn buckets_on_one_variant_come_to_what_the_whole_class_takes() {
    let text = UNEQUAL.lines().filter(|l| !l.contains("name: small"));
    let catalogue =
        Catalogue::parse(&text.collect::<Vec<_>>().join("\n"), "test").expect("a catalogue");
    let whole = long_prompts(2.0);
    let buckets = (0..).zip(
        whole
            .shape
            .buckets(&[0.6, 0.9].map(|q| whole.shape.input_quantile(q))),
    );
    let buckets = buckets.map(|(bucket, b)| Workload {
        bucket,
        rate: whole.rate * b.share,
        shape: b.shape,
        ..whole.clone()
    });
    let load = |workloads: Vec<Workload>| -> f64 {
        let planned = planned(&catalogue, workloads);
        let routes = planned.routes.iter();
        routes
            .map(|r| planned.workloads[r.workload].rate / r.capacities[0].rate())
            .sum()
    };
    let (split, whole) = (load(buckets.collect()), load(vec![whole.clone()]));
    assert!((split / whole - 1.0).abs() < 0.05, "{split} {whole}");
}

#[test]
fn a_class_in_two_parts_is_the_class() {
    let catalogue = Catalogue::parse(UNEQUAL, "test").expect("a catalogue");
    for rate in [1.0, 1.7, 2.4, 3.1, 3.8] {
        let whole = long_prompts(rate);
        let parts = planned(&catalogue, vec![whole.clone()]).workloads;
        assert_eq!(parts.len(), 2, "{rate}");
        let sum = |f: &dyn Fn(&Workload) -> f64| parts.iter().map(f).sum::<f64>();
        assert!((sum(&|w| w.rate) / rate - 1.0).abs() < 1e-9, "{rate}");
        let tokens = sum(&|w| w.rate * w.shape.mean_input());
        assert!(
            (tokens / (rate * whole.shape.mean_input()) - 1.0).abs() < 0.01,
            "{rate}"
        );
    }
}

#[test]
fn classes_are_split_only_where_a_device_is_no_choice_for_the_whole() {
    let catalogue = Catalogue::parse(UNEQUAL, "test").expect("a catalogue");
    let buckets = |workloads| planned(&catalogue, workloads).workloads.len();
    assert_eq!(buckets(vec![workload("chat", 5.0)]), 1);
    assert_eq!(buckets(vec![long_prompts(2.0)]), 2);
    // What the user has split stays as it is.
    let second = Workload {
        bucket: 1,
        ..long_prompts(1.0)
    };
    assert_eq!(buckets(vec![long_prompts(2.0), second]), 2);
}

#[test]
fn a_class_and_its_buckets_keep_apart_what_was_found_for_them() {
    let catalogue = Catalogue::parse(UNEQUAL, "test").expect("a catalogue");
    for rate in [0.6, 1.2, 1.8, 2.4, 3.0, 3.6, 4.2] {
        let mut input = input(&catalogue, vec![long_prompts(rate)]);
        let planned = |input: &PlanInput<'_>| {
            plan(input, &mut CapacityTable::default()).expect("a well-formed problem")
        };
        let free = planned(&input);
        // Nothing may be found twice: every question of the first plan is a new one.
        input.settings.capacity_refreshes = 0;
        assert_eq!(planned(&input).routes, free.routes, "{rate}");
    }
}

#[test]
fn without_a_router_that_sorts_small_devices_are_left_out() {
    let catalogue = Catalogue::parse(UNEQUAL, "test").expect("a catalogue");
    for rate in [0.6, 1.7, 2.4, 3.1] {
        let mut input = input(&catalogue, vec![long_prompts(rate)]);
        input.beliefs[0].unsorted = true;
        let planned = plan(&input, &mut CapacityTable::default()).expect("a well-formed problem");
        assert_eq!(planned.workloads.len(), 1);
        assert!(planned.left_out.contains(&0), "{rate}");
        assert_eq!(planned.plan.replicas[0], 0, "{rate}");
        assert!(planned.plan.serves_all(), "{rate}");
    }
    // Where both are a choice for all of a class, mixed lengths are no matter.
    let mut input = input(&catalogue, vec![workload("chat", 5.0)]);
    input.beliefs[0].unsorted = true;
    let planned = plan(&input, &mut CapacityTable::default()).expect("a well-formed problem");
    assert!(planned.left_out.is_empty());
}
