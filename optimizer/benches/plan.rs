//! Planning time of whole fleets: 12 buckets × 8 variants a model, with slack stock, with stock that binds, and with
//! stock that leaves demand unserved; and of the small problem that a controller or a simulation solves each cycle.

use divan::Bencher;
use wva_models::units::Seconds;
use wva_optimizer::problem::{Demand, Limit, Problem, Route, Stage, VariantOption};
use wva_optimizer::solve::{SolveSettings, solve};

fn main() {
    divan::main();
}

/// SplitMix64.
struct Draws(u64);

impl Draws {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        low + (high - low) * (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// $/h of eight accelerators.
const PRICES: [f64; 8] = [0.8, 1.0, 1.9, 2.4, 3.7, 4.1, 6.9, 9.8];

/// A fleet whose models each need some eight replicas; `stock` devices of each accelerator a model.
fn fleet(models: usize, buckets: usize, variants: usize, stock: Option<f64>) -> Problem {
    let mut draws = Draws(models as u64);
    let mut problem = Problem::default();
    for m in 0..models {
        for (a, price) in PRICES.iter().take(variants).enumerate() {
            problem.variants.push(VariantOption {
                name: format!("model-{m}-accelerator-{a}"),
                price: *price,
                min: 0,
                max: 500,
                current: 0,
                fill: 0.9,
            });
        }
        for bucket in 0..buckets {
            let demand = problem.demands.len();
            problem.demands.push(Demand {
                model: format!("model-{m}"),
                class: format!("class-{}", bucket % 2),
                bucket,
                priority: (bucket % 2) as i32,
                rate: draws.between(0.0, 4.0),
                batch: false,
            });
            let size = draws.between(0.2, 1.2);
            for (a, price) in PRICES.iter().take(variants).enumerate() {
                let load = size * draws.between(0.7, 1.3) / price;
                problem.routes.push(Route {
                    demand,
                    stages: vec![Stage {
                        variant: m * variants + a,
                        load,
                    }],
                });
            }
        }
    }
    for a in 0..variants {
        problem.limits.extend(stock.map(|each| Limit {
            name: format!("stock:{a}"),
            at_most: (each * models as f64).floor(),
            replicas: (0..models).map(|m| (m * variants + a, 1.0)).collect(),
            flows: Vec::new(),
        }));
    }
    problem
}

/// The default effort, without a time limit that a busy machine could reach.
fn settings() -> SolveSettings {
    SolveSettings {
        time_limit: Seconds::new(600.0).expect("finite"),
        ..SolveSettings::default()
    }
}

fn plan(bencher: Bencher, problem: &Problem) {
    let plan = solve(problem, &settings()).expect("well formed");
    eprintln!(
        "{} demands: {:.1} $/h, gap {:.2} %, unmet {:.1} of {:.1} requests/s, {:?}{}",
        problem.demands.len(),
        plan.cost,
        100.0 * plan.gap(),
        problem
            .demands
            .iter()
            .zip(&plan.unmet)
            .map(|(d, u)| d.rate * u)
            .sum::<f64>(),
        problem.demands.iter().map(|d| d.rate).sum::<f64>(),
        plan.rung,
        if plan.cut_short { ", cut short" } else { "" },
    );
    bencher.bench_local(|| solve(problem, &settings()));
}

#[divan::bench(args = [10, 100, 1000], sample_count = 3, sample_size = 1)]
fn slack_stock(bencher: Bencher, models: usize) {
    plan(bencher, &fleet(models, 12, 8, Some(1000.0)));
}

#[divan::bench(args = [10, 100, 1000], sample_count = 3, sample_size = 1)]
fn binding_stock(bencher: Bencher, models: usize) {
    plan(bencher, &fleet(models, 12, 8, Some(0.8)));
}

#[divan::bench(args = [10, 100, 1000], sample_count = 3, sample_size = 1)]
fn short_stock(bencher: Bencher, models: usize) {
    plan(bencher, &fleet(models, 12, 8, Some(0.3)));
}

#[divan::bench]
fn controller_cycle(bencher: Bencher) {
    let problem = fleet(2, 2, 3, Some(1000.0));
    bencher.bench_local(|| solve(&problem, &settings()));
}
