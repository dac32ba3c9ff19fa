//! The static search on a real, small simulation, against every cheaper fleet.

use wva_simulations::policy::static_fleet::{StaticFleet, StaticSettings, cheapest};
use wva_simulations::result::RunResult;
use wva_simulations::run::{Options, Setup, run};
use wva_simulations::scenario::{Overrides, Scenario};

const YAML: &str = "
duration_minutes: 15
variants:
  - {name: l40s, model: llama-3.1-8b, accelerator: L40S, engine: {max_num_batched_tokens: 2048}}
  - {name: h100, model: llama-3.1-8b, accelerator: H100, max_replicas: 2}
classes: [{name: chat, ttft_ms: {p99: 1500}, itl_ms: {p99: 60}}]
traffic:
  - model: llama-3.1-8b
    class: chat
    arrivals: {ramp: {points: [{minute: 0, rps: 4}, {minute: 8, rps: 12}, {minute: 15, rps: 4}]}}
    shape: {input_tokens: {mean: 900, cv: 0.8}, output_tokens: {mean: 150, cv: 0.6}}
truth: {off_by_fraction: 0.1}
";

/// Prompts of which the small device keeps the promise for the short ones only: it is no fleet by itself.
const UNEQUAL: &str = "
duration_minutes: 15
variants:
  - {name: l4, model: llama-3.1-8b, accelerator: L4, engine: {precision: fp8, kv_precision: fp8, max_num_batched_tokens: 1024}}
  - {name: h100, model: llama-3.1-8b, accelerator: H100, max_replicas: 3, engine: {max_num_batched_tokens: 2048}}
accelerators: [{name: L4, price_per_hour_usd: 0.81}, {name: H100, price_per_hour_usd: 6.88}]
classes: [{name: chat, ttft_ms: {p99: 1500, per_1k_input_tokens: 300}, itl_ms: {p99: 75}}]
traffic:
  - model: llama-3.1-8b
    class: chat
    arrivals: {poisson: {rps: 1.6}}
    shape: {input_tokens: {mean: 12000, cv: 1.2, max: 100000}, output_tokens: {mean: 340, cv: 0.8, max: 2000}}
truth: {off_by_fraction: 0.1}
";

fn scenario_of(yaml: &str) -> Scenario {
    let no_files = &mut |_: &str| Err(std::io::Error::other("none"));
    Scenario::parse(yaml, "t.yaml", Overrides::default(), no_files).expect("valid")
}

fn scenario() -> Scenario {
    scenario_of(YAML)
}

fn setup(scenario: &Scenario, initial: Vec<u32>) -> Setup<'_> {
    Setup {
        catalogue: &scenario.catalogue,
        truth: scenario.truth(),
        source: &scenario.workload,
        duration_s: scenario.workload.end(),
        initial,
        scrape_interval_s: 15.0,
        start_up_cv: 0.1,
        faults: Vec::new(),
        seed: scenario.seed,
        options: Options::default(),
    }
}

fn run_static(scenario: &Scenario, replicas: Vec<u32>) -> RunResult {
    run(&setup(scenario, replicas), &mut StaticFleet::default()).expect("a valid setup")
}

#[test]
fn finds_a_fleet_that_attains_and_no_cheaper_one_does() {
    nothing_cheaper_attains(&scenario());
    let found = nothing_cheaper_attains(&scenario_of(UNEQUAL));
    assert!(found.iter().all(|n| *n > 0), "{found:?}");
}

/// The fleet found, after every cheaper one was tried.
fn nothing_cheaper_attains(scenario: &Scenario) -> Vec<u32> {
    let found = cheapest(&setup(scenario, vec![0, 0]), &StaticSettings::default()).expect("valid");
    assert!(found.accepted && !found.cut_short);
    assert!(found.simulations <= 25, "{}", found.simulations);
    let best = run_static(scenario, found.replicas.clone());
    assert!(best.attainment >= 0.99);
    assert_eq!(best.scaling_events, 0);
    let catalogue = &scenario.catalogue;
    let prices: Vec<f64> = catalogue
        .variants
        .iter()
        .map(|v| catalogue.price_per_replica(v).get())
        .collect();
    let price = |f: &[u32]| {
        f.iter()
            .zip(&prices)
            .map(|(&n, p)| f64::from(n) * p)
            .sum::<f64>()
    };
    for h100 in 0..=catalogue.variants[1].max_replicas.unwrap_or(0) {
        let left = price(&found.replicas) - f64::from(h100) * prices[1];
        let small = (left / prices[0] - 1e-9).ceil() as i64 - 1;
        if let Ok(small) = u32::try_from(small) {
            let cheaper = run_static(scenario, vec![small, h100]);
            assert!(cheaper.attainment < 0.99, "{small} + {h100} would do");
        }
    }
    found.replicas
}

#[test]
fn says_when_no_fleet_is_enough_and_when_it_ran_out_of_simulations() {
    let mut scenario = scenario();
    scenario.catalogue.stock = [("L40S".to_owned(), 1), ("H100".to_owned(), 0)].into();
    let none = cheapest(&setup(&scenario, vec![0, 0]), &StaticSettings::default()).expect("valid");
    assert!(!none.accepted);
    assert_eq!(none.replicas[0], 1);
    scenario.catalogue.stock.clear();
    let few = StaticSettings {
        most_simulations: 1,
        ..StaticSettings::default()
    };
    let cut = cheapest(&setup(&scenario, vec![0, 0]), &few).expect("valid");
    assert!(cut.cut_short && cut.simulations <= 1);
}
