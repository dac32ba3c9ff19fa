//! One request alone: what the iteration law says, and nothing else.

use wva_models::batching::ContinuousBatching;
use wva_models::chain_model::Chain;
use wva_models::iteration::{Composition, IterationLaw};
use wva_models::latency::LatencyModel;
use wva_models::mg1_prefill::Mg1Prefill;
use wva_models::shape::RequestShape;
use wva_models::variant::Role;

use crate::{chat, fixed, h100, load, near, stable};

/// Arrivals per second of which hardly two meet.
const RARE: f64 = 1e-4;

fn chunk(law: &IterationLaw, done: f64, tokens: f64) -> f64 {
    law.overhead_s
        + (law.floor_s.powi(2) + (law.per_token_s * tokens).powi(2)).sqrt()
        + law.per_kv_token_s * (done + tokens)
        + law.per_sequence_s
        + law.per_chunk_context_s * tokens * (done + tokens / 2.0)
        + law.prefill_overhead_s
}

fn decode(law: &IterationLaw, context: f64) -> f64 {
    law.seconds(&Composition {
        tokens: 1.0,
        kv_tokens: context,
        sequences: 1.0,
        ..Composition::default()
    })
}

#[test]
fn a_short_prompt_alone_takes_one_iteration_to_its_first_token() {
    let (replica, shape) = (h100(), fixed(1000.0, 101.0));
    let first = chunk(&replica.law, 0.0, 1000.0) + replica.law.front_end_s;
    let gap = decode(&replica.law, 1050.0);
    for model in [Role::Both].map(|role| ContinuousBatching::new(replica, role)) {
        let p = stable(model.predict(&load(&shape, RARE)));
        for ttft in [p.ttft.mean(), p.ttft.quantile(0.5), p.ttft.quantile(0.99)] {
            assert!(near(ttft, first, 0.003), "{ttft} against {first}");
        }
        assert!(
            near(p.itl.mean(), gap, 0.003),
            "{} against {gap}",
            p.itl.mean()
        );
        assert!(
            near(p.gap.mean(), gap, 0.01),
            "{} against {gap}",
            p.gap.mean()
        );
        assert!(near(p.e2e.mean(), first + 100.0 * gap, 0.003));
    }
    let p = stable(Mg1Prefill { replica }.predict(&load(&shape, RARE)));
    assert!(near(p.ttft.mean(), first, 0.003));
    // The chain spreads the prompt over all iterations, so that its gaps are a little longer.
    let p = stable(
        Chain {
            replica,
            role: Role::Both,
        }
        .predict(&load(&shape, RARE)),
    );
    assert!(near(p.ttft.mean(), first, 0.01));
    assert!(near(p.itl.mean(), gap, 0.05));
}

#[test]
fn a_long_prompt_alone_takes_one_iteration_per_chunk() {
    let (replica, shape) = (h100(), fixed(20_000.0, 1.0));
    let law = &replica.law;
    let first = chunk(law, 0.0, 8192.0)
        + chunk(law, 8192.0, 8192.0)
        + chunk(law, 16_384.0, 3616.0)
        + law.front_end_s;
    for role in [Role::Both, Role::Prefill] {
        let p = stable(ContinuousBatching::new(replica, role).predict(&load(&shape, RARE)));
        assert!(
            near(p.ttft.mean(), first, 0.003),
            "{} against {first}",
            p.ttft.mean()
        );
        assert!(near(p.e2e.mean(), first, 0.003));
    }
    let p = stable(Mg1Prefill { replica }.predict(&load(&shape, RARE)));
    assert!(near(p.ttft.mean(), first, 0.003));
}

#[test]
fn a_cached_prefix_is_read_but_not_computed() {
    let replica = h100();
    let shape = fixed(4000.0, 2.0).with_prefix_hit(0.75).unwrap();
    let first = chunk(&replica.law, 3000.0, 1000.0) + replica.law.front_end_s;
    let p = stable(ContinuousBatching::new(replica, Role::Both).predict(&load(&shape, RARE)));
    assert!(
        near(p.ttft.mean(), first, 0.003),
        "{} against {first}",
        p.ttft.mean()
    );
}

#[test]
fn a_transferred_prompt_alone_takes_a_decode_step() {
    let (replica, shape) = (h100(), fixed(4000.0, 50.0));
    let first = decode(&replica.law, 4000.0) + replica.law.front_end_s;
    let p = stable(ContinuousBatching::new(replica, Role::Decode).predict(&load(&shape, RARE)));
    assert!(
        near(p.ttft.mean(), first, 0.003),
        "{} against {first}",
        p.ttft.mean()
    );
    let p = stable(
        Chain {
            replica,
            role: Role::Decode,
        }
        .predict(&load(&shape, RARE)),
    );
    assert!(
        near(p.ttft.mean(), first, 0.01),
        "{} against {first}",
        p.ttft.mean()
    );
}

#[test]
fn a_full_batch_of_equal_requests_sets_the_stability_limit() {
    // 512 slots bind: every iteration decodes 512 sequences and completes 512/255 of them, whose successors prefill.
    let (replica, shape) = (h100(), fixed(256.0, 256.0));
    let prompts = 512.0 / 255.0;
    let law = &replica.law;
    let iteration = law.overhead_s
        + (law.floor_s.powi(2) + (law.per_token_s * (512.0 + 256.0 * prompts)).powi(2)).sqrt()
        + law.per_kv_token_s * (512.0 * (256.0 + 128.0) + 256.0 * prompts)
        + law.per_sequence_s * (512.0 + prompts)
        + law.per_chunk_context_s * prompts * 256.0 * 128.0
        + law.prefill_overhead_s * (1.0 - (-prompts).exp());
    let limit = ContinuousBatching::new(replica, Role::Both).stability_limit(&shape);
    assert!(
        near(limit, prompts / iteration, 0.01),
        "{limit} against {}",
        prompts / iteration
    );
}

#[test]
fn prefill_alone_is_limited_by_full_iterations() {
    let (replica, shape) = (h100(), fixed(1024.0, 1.0));
    let law = &replica.law;
    let iteration = chunk(law, 0.0, 8192.0) + 7.0 * law.per_sequence_s
        - law.per_chunk_context_s * (8192.0 * 4096.0 - 8.0 * 1024.0 * 512.0);
    let limit = ContinuousBatching::new(replica, Role::Prefill).stability_limit(&shape);
    assert!(
        near(limit, 8.0 / iteration, 0.01),
        "{limit} against {}",
        8.0 / iteration
    );
}

#[test]
fn batch_sizes_invert_iteration_times() {
    let (model, shape) = (ContinuousBatching::new(h100(), Role::Both), chat());
    let context = shape.mean_context();
    let seconds = |batch: f64| {
        model.replica.law.seconds(&Composition {
            tokens: batch + 512.0,
            kv_tokens: batch * context,
            sequences: batch,
            ..Composition::default()
        })
    };
    for batch in [1_u32, 10, 100, 300] {
        let found = model.largest_batch(&shape, 512.0, seconds(f64::from(batch)) + 1e-9);
        assert_eq!(found, batch);
    }
    assert_eq!(model.largest_batch(&shape, 512.0, 1e-3), 0);
    assert!(model.throughput_at(&shape, 100.0) < model.throughput_at(&shape, 200.0));
    let limit = model.stability_limit(&shape);
    assert!(near(model.throughput_at(&shape, 1e9), limit, 1e-12));
    let _: RequestShape = shape;
}
