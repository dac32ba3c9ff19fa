//! Batch work on a fleet of its own: both parts get the requests of the whole, and what they come to adds up.

use std::io::Error;

use wva_simulations::comparison::Comparison;
use wva_simulations::request::{Request, RequestSource};
use wva_simulations::result::RunResult;
use wva_simulations::scenario::{Overrides, Scenario};

/// Batch work comes first in the list: the results must be put back in this order.
const SCENARIO: &str = "
duration_minutes: 30
models: [{name: llama-3.1-8b}]
variants:
  - {name: l40s, model: llama-3.1-8b, accelerator: L40S, start_up_seconds: 60, min_replicas: 1, engine: {max_num_batched_tokens: 1024}}
  - {name: a100, model: llama-3.1-8b, accelerator: A100-80GB, start_up_seconds: 60}
accelerators: [{name: L40S, price_per_hour_usd: 1.86}, {name: A100-80GB, price_per_hour_usd: 3.43}]
classes:
  - {name: chat, priority: 10, ttft_ms: {p99: 2000}, itl_ms: {p99: 60}}
  - {name: digest, deadline_seconds: 1200}
traffic:
  - {model: llama-3.1-8b, class: digest, arrivals: {poisson: {rps: 1}}, shape: {input_tokens: {mean: 3000, cv: 0.6}, output_tokens: {mean: 150, cv: 0.5}}}
  - {model: llama-3.1-8b, class: chat, arrivals: {poisson: {rps: 3}}, shape: {input_tokens: {mean: 1000, cv: 1}, output_tokens: {mean: 200, cv: 0.8}}}
policies: [{wva: {}, separate_batch: true, label: apart}, wva]
";

fn scenario() -> Scenario {
    let mut open = |_: &str| Err(Error::other("no files"));
    Scenario::parse(SCENARIO, "apart.yaml", Overrides::default(), &mut open).expect("valid")
}

fn run(scenario: &Scenario, policy: usize) -> RunResult {
    let comparison = Comparison::new(scenario).expect("a fleet");
    comparison
        .run(&scenario.policies[policy], None)
        .expect("a run")
}

#[test]
fn a_part_of_a_workload_has_the_requests_of_the_whole() {
    let whole = scenario().workload;
    let chat = whole.part(|s| s.class == "chat");
    assert_eq!(chat.streams().len(), 1);
    let size = |r: Request| (r.at, r.input, r.output);
    let of_whole: Vec<_> = (whole.requests(7).filter(|r| r.stream == 1))
        .map(size)
        .collect();
    let of_part: Vec<_> = chat.requests(7).map(size).collect();
    assert!(of_part.len() > 4000);
    assert_eq!(of_whole, of_part);
}

#[test]
fn fleets_apart_come_to_what_each_comes_to_alone() {
    let scenario = scenario();
    let apart = run(&scenario, 0);
    let interactive = run(
        &Scenario {
            workload: scenario.workload.part(|s| s.class == "chat"),
            ..scenario.clone()
        },
        1,
    );
    assert_eq!(apart.policy, "apart");
    // Nothing that batch work does is felt by the others, and its minimum is not asked for twice.
    let classes: Vec<&str> = apart.classes.iter().map(|c| c.class.as_str()).collect();
    assert_eq!(classes, ["digest", "chat"]);
    assert_eq!(apart.classes[1], interactive.classes[0]);
    assert_eq!(apart.classes[0].missed, 0);
    assert_eq!(
        apart.requests,
        apart.classes.iter().map(|c| c.requests).sum::<u64>()
    );
    assert!(apart.cost_usd > interactive.cost_usd);
    let of_variants: f64 = apart.variants.iter().map(|v| v.cost_usd).sum();
    assert!((of_variants / apart.cost_usd - 1.0).abs() < 1e-9);
    assert!(apart.decisions.windows(2).all(|d| d[0].at <= d[1].at));
    assert!(apart.timeline.iter().all(|p| p.classes.len() == 2));
}

#[test]
fn sharing_costs_less_than_fleets_apart() {
    let scenario = scenario();
    let (apart, shared) = (run(&scenario, 0), run(&scenario, 1));
    assert_eq!(apart.requests, shared.requests);
    assert!(
        shared.cost_usd < apart.cost_usd,
        "{} {}",
        shared.cost_usd,
        apart.cost_usd
    );
}
