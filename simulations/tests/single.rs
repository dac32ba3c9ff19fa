//! One replica against queues with known answers.

use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_models::latency::Arrivals;
use wva_models::shape::RequestShape;
use wva_simulations::single::{ShapedRequests, SingleRun, single_replica};

/// One sequence at a time, one iteration of `service` seconds per request: a single server.
fn server(service: f64) -> ReplicaModel {
    ReplicaModel {
        law: IterationLaw {
            overhead_s: service,
            floor_s: 0.0,
            per_token_s: 0.0,
            per_kv_token_s: 0.0,
            per_sequence_s: 0.0,
            per_chunk_context_s: 0.0,
            prefill_overhead_s: 0.0,
            front_end_s: 0.25,
        },
        limits: EngineLimits {
            token_budget: 100.0,
            max_sequences: 1.0,
            kv_tokens: 1000.0,
        },
    }
}

fn simulate(rate: f64, arrivals: Arrivals, measured: usize) -> SingleRun {
    let shape = RequestShape::fixed(10.0, 1.0).expect("a valid shape");
    let requests = ShapedRequests::new(&shape, rate, arrivals, 42);
    single_replica(&server(1.0), requests, 0.0, 10_000, measured)
}

#[test]
fn single_tokens_one_at_a_time_are_an_m_d_1_queue() {
    // M/D/1 at ρ = 0.8: mean wait 2, p95 6.62032, p99 10.35589 service times.
    let run = simulate(0.8, Arrivals::Poisson, 2_000_000);
    for (estimate, wait, allowance) in [
        (run.ttft.mean(), 2.0, 0.0),
        (run.ttft.quantile(0.95), 6.62032, 0.004),
        (run.ttft.quantile(0.99), 10.35589, 0.004),
    ] {
        let expected = wait + 1.25;
        let slack = 1.5 * estimate.half_width + allowance * expected;
        assert!(
            (estimate.value - expected).abs() < slack,
            "{estimate:?} {expected}"
        );
        assert!(estimate.half_width < 0.05 * expected, "{estimate:?}");
    }
    assert!((run.busy - 0.8).abs() < 0.01 && (run.rate - 0.8).abs() < 0.01);
    assert!(
        (run.concurrency - 0.8 * 3.0).abs() < 0.1,
        "{}",
        run.concurrency
    );
    assert_eq!((run.gap.count(), run.itl.count(), run.refused), (0, 0, 0));
}

#[test]
fn even_arrivals_below_capacity_never_wait() {
    let run = simulate(0.9, Arrivals::Even, 1000);
    assert!((run.ttft.mean().value - 1.25).abs() < 1e-9);
    assert!(run.ttft.mean().half_width < 1e-9);
}

#[test]
fn bursty_arrivals_wait_longer_and_overload_shows_in_the_throughput() {
    let wait = |arrivals| simulate(0.8, arrivals, 200_000).ttft.mean().value;
    assert!(wait(Arrivals::Dispersion(4.0)) > 1.5 * wait(Arrivals::Poisson));
    let run = simulate(2.0, Arrivals::Poisson, 20_000);
    assert!((run.throughput - 1.0).abs() < 1e-3 && run.rate > 1.9);
}

#[test]
fn what_never_fits_is_left_out() {
    let shape = RequestShape::fixed(990.0, 11.0).expect("a valid shape");
    let requests = ShapedRequests::new(&shape, 1.0, Arrivals::Even, 1).take(10);
    let run = single_replica(&server(1.0), requests, 0.0, 0, 10);
    assert_eq!((run.refused, run.ttft.count()), (10, 0));
}
