//! The stability limit against the throughput of an overloaded engine.

use wva_models::batching::ContinuousBatching;
use wva_models::latency::LatencyModel;

use crate::cases;
use crate::comparison::simulate;

#[test]
fn an_overloaded_engine_completes_as_many_as_the_stability_limit() {
    let mut missed = Vec::new();
    for case in cases::batching().into_iter().chain(cases::hard()) {
        let limit = ContinuousBatching::new(case.model, case.role).stability_limit(&case.shape);
        let run = simulate(&case, 1.5 * limit, 150_000);
        let off = (limit / run.throughput - 1.0) * 100.0;
        let preempted = run.preemptions as f64 / run.e2e.count() as f64;
        println!(
            "{:<18} limit {limit:6.2}/s  simulated {:6.2}/s  {off:+.1} %, {preempted:.2} preemptions a request",
            case.name, run.throughput
        );
        if off.abs() > 5.0 {
            missed.push(case.name);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
