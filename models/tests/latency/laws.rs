//! What holds at every load.

use proptest::prelude::*;
use rstest::rstest;
use wva_models::latency::{Arrivals, Distribution, Load, Prediction};
use wva_models::model_kind::ModelKind;
use wva_models::shape::RequestShape;
use wva_models::variant::Role;

use crate::{chat, fixed, h100, load, near, stable};

/// Every model in every role that it describes.
fn models() -> Vec<(ModelKind, Role)> {
    let roles = [Role::Both, Role::Prefill, Role::Decode];
    let all = ModelKind::ALL
        .into_iter()
        .flat_map(|k| roles.map(|r| (k, r)));
    all.filter(|&(kind, role)| kind.model(h100(), role).is_ok())
        .collect()
}

fn latencies(p: &Prediction) -> [(&'static str, &Distribution); 4] {
    [
        ("TTFT", &p.ttft),
        ("ITL", &p.itl),
        ("gap", &p.gap),
        ("E2E", &p.e2e),
    ]
}

#[rstest]
#[case::chat(chat())]
#[case::long_output(RequestShape::lognormal((256.0, 0.5), (1024.0, 0.7), None).unwrap())]
#[case::long_input(RequestShape::lognormal((6000.0, 0.7), (100.0, 0.5), None).unwrap())]
#[case::equal(fixed(512.0, 512.0))]
fn latencies_grow_with_the_rate(#[case] shape: RequestShape) {
    for (kind, role) in models() {
        let model = kind.model(h100(), role).unwrap();
        let limit = model.stability_limit(&shape);
        let mut before: Option<Prediction> = None;
        for i in 1..=9 {
            let rate = limit * 0.1 * f64::from(i);
            let now = stable(model.predict(&load(&shape, rate)));
            if let Some(before) = &before {
                assert!(now.concurrency > before.concurrency);
                for ((name, a), (_, b)) in latencies(before).into_iter().zip(latencies(&now)) {
                    if name == "gap" {
                        continue; // a gap's percentile can fall: fewer of more tokens sit in mixed iterations
                    }
                    assert!(
                        b.mean() >= a.mean() * 0.998,
                        "{kind} {role:?} {name} mean at {i}0 %"
                    );
                    for q in [0.5, 0.95, 0.99] {
                        // Sampled tails wiggle by their sampling error.
                        let slack = if q > 0.9 { 0.94 } else { 0.98 };
                        let (a, b) = (a.quantile(q), b.quantile(q));
                        assert!(
                            b >= a * slack,
                            "{kind} {role:?} {name} p{q} at {i}0 %: {a} then {b}"
                        );
                    }
                }
            }
            before = Some(now);
        }
    }
}

#[test]
fn littles_law_holds() {
    let describing = models()
        .into_iter()
        .filter(|m| *m != (ModelKind::Chain, Role::Prefill));
    for (kind, role) in describing {
        let model = kind.model(h100(), role).unwrap();
        let (shape, front_end) = (chat(), h100().law.front_end_s);
        for share in [0.2, 0.5, 0.8] {
            let rate = share * model.stability_limit(&shape);
            let p = stable(model.predict(&load(&shape, rate)));
            let in_system = rate * (p.e2e.mean() - front_end);
            assert!(
                near(p.concurrency, in_system, 0.05),
                "{kind} {role:?}: {} against {in_system}",
                p.concurrency
            );
        }
    }
}

#[test]
fn regular_arrivals_wait_less_and_bursts_more() {
    for (kind, role) in models() {
        let model = kind.model(h100(), role).unwrap();
        let shape = chat();
        let rate = 0.6 * model.stability_limit(&shape);
        let ttft = |arrivals| {
            let p = stable(model.predict(&Load {
                arrivals,
                ..load(&shape, rate)
            }));
            (p.ttft.mean(), p.itl.quantile(0.99))
        };
        let kinds = [Arrivals::Even, Arrivals::Poisson, Arrivals::Dispersion(4.0)].map(ttft);
        for pair in kinds.windows(2) {
            assert!(
                pair[0].0 <= pair[1].0 * 1.002,
                "{kind} {role:?} TTFT: {pair:?}"
            );
            assert!(
                pair[0].1 <= pair[1].1 * 1.002,
                "{kind} {role:?} ITL: {pair:?}"
            );
        }
        let one = ttft(Arrivals::Dispersion(1.0));
        assert!(
            near(one.0, kinds[1].0, 0.03),
            "{kind} {role:?}: {one:?} is not Poisson"
        );
    }
}

#[test]
fn a_balanced_pool_is_no_worse_than_one_replica() {
    for (kind, role) in models() {
        let model = kind.model(h100(), role).unwrap();
        let shape = chat();
        let rate = 0.7 * model.stability_limit(&shape);
        let of = |pool| {
            stable(model.predict(&Load {
                pool,
                ..load(&shape, rate)
            }))
        };
        let (alone, four, hundred) = (of(1), of(4), of(100));
        for (many, few) in [(&four, &alone), (&hundred, &four)] {
            assert!(
                many.ttft.quantile(0.99) <= few.ttft.quantile(0.99) * 1.03,
                "{kind} {role:?}"
            );
            assert!(
                many.itl.quantile(0.99) <= few.itl.quantile(0.99) * 1.01,
                "{kind} {role:?}"
            );
        }
    }
}

#[test]
fn an_allowance_is_subtracted_from_each_request() {
    let shape = fixed(1000.0, 100.0);
    for (kind, role) in models() {
        let model = kind.model(h100(), role).unwrap();
        let rate = 0.5 * model.stability_limit(&shape);
        let p = stable(model.predict(&Load {
            ttft_allowance_per_token: 1e-4,
            ..load(&shape, rate)
        }));
        assert!(near(
            p.ttft_beyond_allowance.mean(),
            p.ttft.mean() - 0.1,
            1e-6
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Quantiles ascend, the distribution function inverts them, gaps take at least a decode iteration, first tokens at
    /// least the prompt's compute.
    #[test]
    fn distributions_are_distributions(
        input in 1.0..8000.0_f64, cv in 0.0..1.5_f64, output in 2.0..2000.0_f64, share in 0.01..0.9_f64,
        which in 0..7_usize,
    ) {
        let all = models();
        let (kind, role) = all[which % all.len()];
        let shape = RequestShape::lognormal((input, cv), (output, cv / 2.0), Some(60_000.0)).unwrap();
        let model = kind.model(h100(), role).unwrap();
        let rate = share * model.stability_limit(&shape);
        let p = stable(model.predict(&load(&shape, rate)));
        for (name, d) in latencies(&p) {
            prop_assert!(d.mean().is_finite() && d.mean() >= 0.0, "{kind} {role:?} {name} mean {}", d.mean());
            let q: Vec<f64> = [0.01, 0.1, 0.5, 0.9, 0.99, 0.999].iter().map(|&q| d.quantile(q)).collect();
            prop_assert!(q.windows(2).all(|w| w[0] <= w[1]), "{kind} {role:?} {name} {q:?}");
            prop_assert!(d.cdf(q[4] * (1.0 + 1e-9)) >= 0.98, "{kind} {role:?} {name}");
        }
        let law = h100().law;
        prop_assert!(p.ttft.quantile(0.001) >= law.front_end_s + law.overhead_s + law.floor_s);
        if role != Role::Prefill {
            prop_assert!(p.itl.quantile(0.001) >= law.overhead_s + law.floor_s);
        }
        prop_assert!(near(p.utilization, share, 0.01));
    }
}
