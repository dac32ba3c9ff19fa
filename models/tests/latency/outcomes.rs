//! Inputs at the edge and beyond: an outcome, never a panic.

use proptest::prelude::*;
use rstest::rstest;
use wva_models::batching::ContinuousBatching;
use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_models::latency::{Arrivals, LatencyModel, Load, Outcome};
use wva_models::model_kind::{ModelKind, Unsuitable};
use wva_models::shape::RequestShape;
use wva_models::variant::Role;

use crate::{chat, fixed, h100, load, near, stable};

fn every_model(replica: ReplicaModel) -> impl Iterator<Item = Box<dyn LatencyModel + Send + Sync>> {
    let roles = [Role::Both, Role::Prefill, Role::Decode];
    let all = ModelKind::ALL
        .into_iter()
        .flat_map(move |k| roles.map(|r| (k, r)));
    all.filter_map(move |(kind, role)| kind.model(replica, role).ok())
}

#[test]
fn names_are_read_back() {
    for kind in ModelKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(
            serde_json::to_string(&kind).unwrap(),
            format!("{:?}", kind.name())
        );
    }
    assert!(
        "mm1"
            .parse::<ModelKind>()
            .unwrap_err()
            .to_string()
            .contains("mg1")
    );
    let refused = ModelKind::Mg1.model(h100(), Role::Decode).err();
    assert_eq!(
        refused,
        Some(Unsuitable {
            kind: ModelKind::Mg1,
            role: Role::Decode
        })
    );
}

#[test]
fn a_request_larger_than_the_cache_does_not_fit() {
    let shape = fixed(500_000.0, 10.0);
    for model in every_model(h100()) {
        assert!(matches!(
            model.predict(&load(&shape, 0.1)),
            Outcome::DoesNotFit { needed_tokens, available_tokens }
                if needed_tokens > 500_000.0 && available_tokens == 437_000.0
        ));
        assert!(model.stability_limit(&shape) == 0.0);
    }
}

#[rstest]
#[case(1.0)]
#[case(1.5)]
#[case(1e6)]
fn at_and_above_the_limit_is_unstable(#[case] times: f64) {
    let shape = chat();
    for model in every_model(h100()) {
        let rate = times * model.stability_limit(&shape) * (1.0 + 1e-9);
        let Outcome::Unstable { utilization } = model.predict(&load(&shape, rate)) else {
            panic!("stable at {times} times the limit");
        };
        assert!(near(utilization, times, 1e-6), "{utilization}");
    }
}

#[test]
fn nobody_sees_an_idle_replica() {
    let shape = chat();
    for model in every_model(h100()) {
        let (none, few) = (
            model.predict(&load(&shape, 0.0)),
            model.predict(&load(&shape, 1e-4)),
        );
        let (none, few) = (stable(none), stable(few));
        assert!(near(none.ttft.mean(), few.ttft.mean(), 0.01));
        assert!(near(none.itl.mean(), few.itl.mean(), 0.01) || few.itl.mean() == 0.0);
        assert!(none.utilization == 0.0 && none.concurrency < 1e-2);
    }
}

#[rstest]
#[case(f64::NAN)]
#[case(f64::INFINITY)]
#[case(f64::NEG_INFINITY)]
#[case(-1.0)]
#[case(f64::MIN_POSITIVE)]
fn odd_rates_have_an_outcome(#[case] rate: f64) {
    let shape = chat();
    for model in every_model(h100()) {
        let outcome = model.predict(&load(&shape, rate));
        if rate > 1.0 || rate.is_nan() {
            assert!(matches!(outcome, Outcome::Unstable { .. }), "{rate}");
        }
    }
}

#[test]
fn one_token_answers_have_no_gaps() {
    let shape = RequestShape::lognormal((2000.0, 1.0), (1.0, 0.0), None).unwrap();
    let model = ContinuousBatching::new(h100(), Role::Both);
    let p = stable(model.predict(&load(&shape, 5.0)));
    assert!(p.itl.mean() == 0.0 && p.gap.mean() == 0.0);
    assert!(near(p.e2e.mean(), p.ttft.mean(), 0.01));
}

#[rstest]
#[case::prompt_of_a_million(fixed(1e6, 100.0), 1e7, 8192.0)]
#[case::answer_of_a_million(fixed(100.0, 1e6), 1e7, 8192.0)]
#[case::tiny_budget(fixed(50_000.0, 100.0), 1e6, 16.0)]
#[case::cache_for_one(fixed(1000.0, 1000.0), 2000.0, 8192.0)]
fn huge_shapes_are_solved(#[case] shape: RequestShape, #[case] kv: f64, #[case] budget: f64) {
    let mut replica = h100();
    replica.limits.kv_tokens = kv;
    replica.limits.token_budget = budget;
    for model in every_model(replica) {
        let limit = model.stability_limit(&shape);
        assert!(limit > 0.0 && limit.is_finite());
        let outcome = model.predict(&load(&shape, 0.5 * limit));
        assert!(!matches!(outcome, Outcome::DoesNotFit { .. }));
    }
}

/// Zero, tiny, plain and absurd numbers.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        1e-9..1e-3_f64,
        1e-3..10.0_f64,
        10.0..1e6_f64,
        Just(1e300),
        Just(f64::INFINITY),
        Just(f64::NAN),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_panics(
        law in prop::array::uniform8(prop_oneof![Just(0.0), 1e-10..1e-2_f64]),
        limits in prop::array::uniform3(prop_oneof![Just(0.0), 1.0..1e5_f64]),
        input in 1.0..1e4_f64, output in 1.0..1e3_f64, hit in 0.0..=1.0_f64,
        rate in number(), dispersion in number(), pool in 0_u32..5,
    ) {
        let [overhead_s, floor_s, per_token_s, per_kv_token_s, per_sequence_s, per_chunk_context_s,
            prefill_overhead_s, front_end_s] = law;
        let [token_budget, max_sequences, kv_tokens] = limits;
        let replica = ReplicaModel {
            law: IterationLaw {
                overhead_s, floor_s, per_token_s, per_kv_token_s, per_sequence_s, per_chunk_context_s,
                prefill_overhead_s, front_end_s,
            },
            limits: EngineLimits { token_budget, max_sequences, kv_tokens },
        };
        let shape = RequestShape::lognormal((input, 0.5), (output, 0.5), None).unwrap()
            .with_prefix_hit(hit).unwrap();
        for model in every_model(replica) {
            let limit = model.stability_limit(&shape);
            for rate in [rate, 0.5 * limit] {
                let arrivals = Arrivals::Dispersion(dispersion);
                let _ = model.predict(&Load { pool, arrivals, ..load(&shape, rate) });
            }
        }
    }
}
