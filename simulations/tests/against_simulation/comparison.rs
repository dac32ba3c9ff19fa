//! A prediction beside a simulation of the same load.

use wva_models::latency::{Distribution, LatencyModel, Load, Prediction};
use wva_models::variant::Role;
use wva_simulations::single::{
    Estimate, Series, ShapedRequests, SingleRun, single_decoder, single_replica,
};

use crate::cases::Case;

/// The statistics that are compared.
pub const STATISTICS: [&str; 3] = ["mean", "p95", "p99"];
/// The latencies that are compared.
pub const LATENCIES: [&str; 4] = ["TTFT", "ITL", "gap", "E2E"];

/// Mean, p95 and p99 of one latency.
pub type Row<T> = [T; 3];

/// What the simulator says, per latency and statistic, with confidence.
pub fn observe(case: &Case, rate: f64, measured: usize) -> [Row<Estimate>; 4] {
    let run = simulate(case, rate, measured);
    let row = |s: &Series| [s.mean(), s.quantile(0.95), s.quantile(0.99)];
    [&run.ttft, &run.itl, &run.gap, &run.e2e].map(row)
}

pub fn simulate(case: &Case, rate: f64, measured: usize) -> SingleRun {
    let requests = ShapedRequests::new(&case.shape, rate, case.arrivals, 1);
    let warm_up = measured / 10;
    match case.role {
        Role::Decode => single_decoder(&case.model, requests, warm_up, measured),
        Role::Both | Role::Prefill => {
            let hit = case.shape.prefix_hit();
            single_replica(&case.model, requests, hit, warm_up, measured)
        }
    }
}

pub fn predict(model: &impl LatencyModel, case: &Case, rate: f64) -> Option<Prediction> {
    let load = Load {
        rate,
        shape: &case.shape,
        arrivals: case.arrivals,
        pool: 1,
        ttft_allowance_per_token: 0.0,
    };
    model.predict(&load).stable().cloned()
}

pub fn predicted(p: &Prediction) -> [Row<f64>; 4] {
    let row = |d: &Distribution| [d.mean(), d.quantile(0.95), d.quantile(0.99)];
    [&p.ttft, &p.itl, &p.gap, &p.e2e].map(row)
}
