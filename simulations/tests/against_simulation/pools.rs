//! Pools of replicas behind the gateway's least-loaded router against the model of one replica in a pool.
//!
//! A replica of a pool is better off than one with arrivals of its own: prompts go where no other prompt is being
//! computed, and batches even out. Capacities, hence fleets, rest on how much.

use wva_models::batching::ContinuousBatching;
use wva_models::capacity::Conditions;
use wva_models::latency::{Arrivals, Distribution, LatencyModel};
use wva_models::variant::Role;
use wva_simulations::policy::static_fleet::StaticFleet;
use wva_simulations::result::LatencySummary;
use wva_simulations::run::{Options, Setup, run};
use wva_simulations::scenario::{Overrides, Scenario};

/// Relative tolerances of the mean, p95 and p99. The last is wider than for one replica: these shapes are condensed to 64
/// points as the autoscaler has them, so that the longest prompts lie far apart.
const TOLERANCES: [f64; 3] = [0.05, 0.10, 0.14];
/// Requests simulated per replica and line.
const MEASURED: f64 = 60_000.0;

struct Pool {
    name: &'static str,
    engine: &'static str,
    sizes: &'static str,
}

const POOLS: [Pool; 4] = [
    Pool {
        name: "L4 chat",
        engine: "accelerator: L4, engine: {precision: fp8, kv_precision: fp8, max_num_batched_tokens: 1024}",
        sizes: "input_tokens: {mean: 1155, cv: 1.1, max: 16000}, output_tokens: {mean: 211, cv: 0.8, max: 2000}",
    },
    Pool {
        name: "H100 chat",
        engine: "accelerator: H100, engine: {max_num_batched_tokens: 2048}",
        sizes: "input_tokens: {mean: 1155, cv: 1.1, max: 16000}, output_tokens: {mean: 211, cv: 0.8, max: 2000}",
    },
    Pool {
        name: "L4 code",
        engine: "accelerator: L4, engine: {precision: fp8, kv_precision: fp8, max_num_batched_tokens: 1024}",
        sizes: "input_tokens: {mean: 2048, cv: 0.9, max: 7437}, output_tokens: {mean: 28, cv: 1.8, max: 1500}",
    },
    Pool {
        name: "H100 4000/300",
        engine: "accelerator: H100, engine: {max_num_batched_tokens: 2048}",
        sizes: "input_tokens: {mean: 4000, cv: 1.2, max: 60000}, output_tokens: {mean: 300, cv: 0.8, max: 2000}",
    },
];

/// The pool under Poisson arrivals at `rps`, its replicas being what the catalogue says.
fn scenario(pool: &Pool, rps: f64, minutes: f64) -> Scenario {
    let yaml = format!(
        "name: pool\nduration_minutes: {minutes}\nmodels: [{{name: llama-3.1-8b}}]\n\
         variants: [{{name: v, model: llama-3.1-8b, {}}}]\n\
         classes: [{{name: c, ttft_ms: {{p99: 1500}}, itl_ms: {{p99: 75}}}}]\n\
         traffic: [{{model: llama-3.1-8b, class: c, arrivals: {{poisson: {{rps: {rps}}}}}, shape: {{{}}}}}]\n\
         truth: {{off_by_fraction: 0}}\npolicies: [static]\n",
        pool.engine, pool.sizes
    );
    let none = &mut |p: &str| Err(std::io::Error::other(p.to_owned()));
    Scenario::parse(&yaml, "pool", Overrides::default(), none).expect("a valid scenario")
}

fn simulated(scenario: &Scenario, replicas: u32) -> [LatencySummary; 2] {
    let setup = Setup {
        catalogue: &scenario.catalogue,
        truth: scenario.truth(),
        source: &scenario.workload,
        duration_s: scenario.workload.end(),
        initial: vec![replicas],
        scrape_interval_s: scenario.fleet.scrape_interval_s,
        start_up_cv: 0.0,
        faults: scenario.faults.clone(),
        seed: 7,
        options: Options::default(),
    };
    let result = run(&setup, &mut StaticFleet::default()).expect("a valid setup");
    let class = &result.classes[0];
    [&class.ttft_ms, &class.itl_ms].map(|l| l.expect("requests finished"))
}

#[test]
fn replicas_of_a_pool_agree_with_the_simulator() {
    let mut misses = Vec::new();
    for pool in &POOLS {
        let probe = scenario(pool, 10.0, 600.0);
        let model = ContinuousBatching::new(probe.truth()[0], Role::Both);
        let shape = probe.demand(f64::INFINITY)[0].shape.clone();
        for (replicas, share) in [(2, 0.4), (2, 0.7), (4, 0.4), (4, 0.7), (8, 0.7)] {
            let rate = share * model.stability_limit(&shape);
            let rps = rate * f64::from(replicas);
            let seen = simulated(&scenario(pool, rps, MEASURED / rate / 60.0), replicas);
            let conditions = Conditions {
                shape: &shape,
                arrivals: Arrivals::Poisson,
                pool: replicas,
                slo: probe
                    .catalogue
                    .class("c")
                    .and_then(|c| c.slo())
                    .expect("an SLO"),
            };
            let predicted = model
                .predict(&conditions.load(rate))
                .stable()
                .cloned()
                .expect("stable");
            for (what, seen, predicted) in [
                ("TTFT", &seen[0], &predicted.ttft),
                ("ITL", &seen[1], &predicted.itl),
            ] {
                let line = line(seen, predicted);
                let name = format!("{} × {replicas} at {share} {what}", pool.name);
                println!(
                    "{name:<28} {}",
                    line.map(|(s, p)| format!("{s:8.1} {p:8.1} {:+6.1} %", (p / s - 1.0) * 100.0))
                        .join(" | ")
                );
                let off = line
                    .iter()
                    .zip(TOLERANCES)
                    .any(|(&(s, p), t)| (p / s - 1.0).abs() > t);
                if off {
                    misses.push(name);
                }
            }
        }
    }
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

/// (simulated, predicted) mean, p95 and p99 in milliseconds.
fn line(seen: &LatencySummary, predicted: &Distribution) -> [(f64, f64); 3] {
    [
        (seen.mean, predicted.mean() * 1e3),
        (seen.p95, predicted.quantile(0.95) * 1e3),
        (seen.p99, predicted.quantile(0.99) * 1e3),
    ]
}
