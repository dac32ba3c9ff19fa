//! Seeded random problems.

use wva_optimizer::problem::{Demand, Limit, Problem, Route, Stage, VariantOption};

/// SplitMix64 (Steele, Lea and Flood 2014): tiny, seedable, good enough to draw instances.
pub struct Draws(pub u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in low..=high.
    pub fn whole(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    pub fn chance(&mut self, p: f64) -> bool {
        self.between(0.0, 1.0) < p
    }
}

pub fn variant(name: &str, price: f64, max: u32) -> VariantOption {
    VariantOption {
        name: name.into(),
        price,
        min: 0,
        max,
        current: 0,
        fill: 1.0,
    }
}

pub fn demand(rate: f64, priority: i32) -> Demand {
    Demand {
        model: "m".into(),
        class: "c".into(),
        bucket: 0,
        priority,
        rate,
        batch: false,
    }
}

pub fn route(demand: usize, stages: &[(usize, f64)]) -> Route {
    Route {
        demand,
        stages: stages
            .iter()
            .map(|&(variant, load)| Stage { variant, load })
            .collect(),
    }
}

pub fn limit(name: &str, at_most: f64, replicas: &[(usize, f64)]) -> Limit {
    Limit {
        name: name.into(),
        at_most,
        replicas: replicas.to_vec(),
        flows: Vec::new(),
    }
}

/// At most 3 variants with at most 5 to 8 replicas, 3 demands, two-stage routes, batch work, minimums, stock.
pub fn small(seed: u64) -> Problem {
    let mut draws = Draws(seed);
    let variants = draws.whole(1, 3);
    let most = 8;
    let mut problem = Problem {
        change_price: if draws.chance(0.3) {
            draws.between(0.1, 2.0)
        } else {
            0.0
        },
        ..Problem::default()
    };
    for v in 0..variants {
        let mut option = variant(&format!("v{v}"), draws.between(0.5, 5.0), 0);
        option.max = draws.whole(1, most) as u32;
        option.min = draws.whole(0, 1).min(option.max as usize) as u32;
        option.current = draws.whole(0, 4) as u32;
        option.fill = if draws.chance(0.5) {
            draws.between(0.6, 1.0)
        } else {
            1.0
        };
        problem.variants.push(option);
    }
    for d in 0..draws.whole(1, 3) {
        let rate = if draws.chance(0.1) {
            0.0
        } else {
            draws.between(0.2, 6.0)
        };
        let mut one = demand(rate, draws.whole(0, 2) as i32);
        one.batch = draws.chance(0.3);
        problem.demands.push(one);
        for v in 0..variants {
            if draws.chance(0.75) {
                problem
                    .routes
                    .push(route(d, &[(v, draws.between(0.05, 0.6))]));
            }
        }
        if variants > 1 && draws.chance(0.4) {
            let stages = [(0, draws.between(0.02, 0.3)), (1, draws.between(0.02, 0.3))];
            problem.routes.push(route(d, &stages));
        }
    }
    if draws.chance(0.6) {
        let uses: Vec<(usize, f64)> = (0..variants)
            .map(|v| (v, draws.whole(1, 4) as f64))
            .collect();
        let least: f64 = uses
            .iter()
            .map(|&(v, c)| c * f64::from(problem.variants[v].min))
            .sum();
        let at_most = least + draws.whole(0, 12) as f64;
        problem.limits.push(limit("stock", at_most, &uses));
    }
    if draws.chance(0.2) && !problem.routes.is_empty() {
        let mut link = limit("link", draws.between(0.5, 6.0), &[]);
        link.flows = (0..problem.routes.len())
            .filter(|_| draws.chance(0.5))
            .map(|r| (r, 1.0))
            .collect();
        problem.limits.push(link);
    }
    problem
}

/// `models` blocks of `demands` × `variants` on a few shared accelerators; stock of each accelerator is `tightness` of
/// what the blocks would use alone (none where it is 0).
pub fn fleet(
    seed: u64,
    models: usize,
    demands: usize,
    variants: usize,
    stock: Option<f64>,
) -> Problem {
    let mut draws = Draws(seed);
    let prices: Vec<f64> = (0..variants).map(|a| 1.0 + 1.3 * a as f64).collect();
    let mut problem = Problem::default();
    for _ in 0..models {
        let first = problem.variants.len();
        for price in &prices {
            let v = problem.variants.len();
            problem
                .variants
                .push(variant(&format!("v{v}"), *price, 1000));
        }
        for _ in 0..demands {
            let d = problem.demands.len();
            problem
                .demands
                .push(demand(draws.between(0.0, 6.0), draws.whole(0, 1) as i32));
            let size = draws.between(0.1, 1.0);
            for (a, price) in prices.iter().enumerate() {
                let load = size * draws.between(0.7, 1.3) / price;
                problem.routes.push(route(d, &[(first + a, load)]));
            }
        }
    }
    if let Some(stock) = stock {
        for a in 0..variants {
            let uses: Vec<(usize, f64)> = (0..models).map(|m| (m * variants + a, 1.0)).collect();
            problem
                .limits
                .push(limit(&format!("stock:{a}"), stock, &uses));
        }
    }
    problem
}
