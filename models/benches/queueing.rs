//! Queueing models: the cost of one solution, as paid in every step of a capacity bisection.

use divan::{Bencher, black_box};
use wva_models::queueing::birth_death::BirthDeath;
use wva_models::queueing::mg1::{Mg1, ServiceTime};

fn main() {
    divan::main();
}

/// A chain whose batch speeds up with diminishing returns, buffers reused; target 20 µs at K = 1,000.
#[divan::bench(args = [1_000, 10_000])]
fn birth_death(bencher: Bencher, capacity: usize) {
    let rates: Vec<f64> = (1..=capacity)
        .map(|k| k.min(256) as f64 / (1.0 + k.min(256) as f64 * 0.01))
        .collect();
    let mut chain = BirthDeath::new();
    bencher.bench_local(|| {
        let equilibrium = chain
            .solve(black_box(60.0), &rates)
            .expect("rates are positive");
        equilibrium.mean_delays(256).map(|delays| delays.wait)
    });
}

/// 64 durations spread like prompt lengths, solved and inverted for p99; target 100 µs.
#[divan::bench(args = [0.3, 0.5, 0.8, 0.95])]
fn mg1_p99_of_64_atoms(bencher: Bencher, utilization: f64) {
    let durations = (1..=64).map(|i| (0.01 * f64::from(i), (-0.05 * f64::from(i)).exp()));
    let service = ServiceTime::empirical(durations).expect("durations are positive");
    let arrival_rate = utilization / service.mean();
    bencher.bench(|| {
        let queue = Mg1::new(black_box(arrival_rate), &service).expect("the rate is positive");
        queue.stable().map(|queue| queue.wait_quantile(0.99))
    });
}

/// One duration: kinks where the inversion converges slowest.
#[divan::bench(args = [0.5, 0.8, 0.95])]
fn md1_p99(bencher: Bencher, utilization: f64) {
    let service = ServiceTime::deterministic(1.0).expect("the duration is positive");
    bencher.bench(|| {
        let queue = Mg1::new(black_box(utilization), &service).expect("the rate is positive");
        queue.stable().map(|queue| queue.wait_quantile(0.99))
    });
}
