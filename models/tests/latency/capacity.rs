//! Capacity under an SLO.

use proptest::prelude::*;
use wva_models::batching::ContinuousBatching;
use wva_models::capacity::{Binding, Capacity, Conditions, capacity, worst_bound};
use wva_models::latency::{Arrivals, LatencyModel};
use wva_models::service_class::{Bound, Slo, Statistic};
use wva_models::shape::RequestShape;
use wva_models::units::Seconds;
use wva_models::variant::Role;

use crate::{chat, fixed, h100, near, stable};

fn seconds(s: f64) -> Seconds {
    Seconds::new(s).expect("a duration")
}

fn p99(limit: f64) -> Option<Bound> {
    Some(Bound {
        statistic: Statistic::Quantile(0.99),
        limit: seconds(limit),
        per_input_token: seconds(0.0),
    })
}

fn mean(limit: f64) -> Option<Bound> {
    Some(Bound {
        statistic: Statistic::Mean,
        ..p99(limit).expect("a bound")
    })
}

fn model() -> ContinuousBatching {
    ContinuousBatching {
        samples: 2048,
        ..ContinuousBatching::new(h100(), Role::Both)
    }
}

fn conditions<'a>(shape: &'a RequestShape, slo: &'a Slo) -> Conditions<'a> {
    Conditions {
        shape,
        arrivals: Arrivals::Poisson,
        pool: 1,
        slo,
    }
}

#[test]
fn the_worst_bound_meets_its_limit_at_capacity() {
    let shape = chat();
    for (slo, binding) in [
        (
            Slo {
                ttft: p99(0.5),
                ..Slo::default()
            },
            Binding::Ttft,
        ),
        (
            Slo {
                itl: mean(0.02),
                ..Slo::default()
            },
            Binding::Itl,
        ),
        (
            Slo {
                e2e: p99(20.0),
                ..Slo::default()
            },
            Binding::E2e,
        ),
        (
            Slo {
                ttft: p99(5.0),
                itl: p99(0.03),
                e2e: p99(60.0),
            },
            Binding::Itl,
        ),
    ] {
        let conditions = conditions(&shape, &slo);
        // So many that p99 hardly jumps between neighbouring rates.
        let model = ContinuousBatching {
            samples: ContinuousBatching::SAMPLES,
            ..model()
        };
        let found = capacity(&model, &conditions);
        assert_eq!(found.binding(), binding);
        let worst = |rate: f64| {
            let p = stable(model.predict(&conditions.load(rate)));
            worst_bound(&p, &slo, &shape).unwrap()
        };
        let at = worst(found.rate());
        assert!(
            at.ratio() <= 1.0 && at.ratio() > 0.9,
            "{binding}: {}",
            at.ratio()
        );
        assert!(worst(found.rate() * 1.02).ratio() > 1.0, "{binding}");
    }
}

#[test]
fn without_a_bound_stability_limits() {
    let (shape, slo) = (chat(), Slo::default());
    let limit = model().stability_limit(&shape);
    for slo in [
        slo,
        Slo {
            e2e: p99(1e6),
            ..slo
        },
    ] {
        let found = capacity(&model(), &conditions(&shape, &slo));
        assert_eq!(found.binding(), Binding::Stability);
        assert!(near(found.rate(), 0.95 * limit, 1e-9));
    }
}

#[test]
fn what_an_idle_replica_misses_is_infeasible() {
    let shape = chat();
    for (slo, named) in [
        (
            Slo {
                ttft: p99(0.01),
                ..Slo::default()
            },
            Binding::Ttft,
        ),
        (
            Slo {
                itl: mean(0.005),
                ..Slo::default()
            },
            Binding::Itl,
        ),
        (
            Slo {
                e2e: mean(0.5),
                ..Slo::default()
            },
            Binding::E2e,
        ),
    ] {
        let found = capacity(&model(), &conditions(&shape, &slo));
        let Capacity::Infeasible {
            binding,
            at_rest,
            limit,
        } = found
        else {
            panic!("{found:?}");
        };
        assert_eq!(binding, named);
        assert!(at_rest > limit && found.rate() == 0.0);
    }
    let (large, slo) = (fixed(500_000.0, 100.0), Slo::default());
    let found = capacity(&model(), &conditions(&large, &slo));
    assert_eq!(found.binding(), Binding::KvCache);
    assert_eq!(found.rate(), 0.0);
}

#[test]
fn an_allowance_for_long_prompts_raises_capacity() {
    let shape = chat();
    let plain = Slo {
        ttft: p99(0.3),
        ..Slo::default()
    };
    let allowing = Slo {
        ttft: p99(0.3).map(|b| Bound {
            per_input_token: seconds(5e-5),
            ..b
        }),
        ..Slo::default()
    };
    let of = |slo: &Slo| capacity(&model(), &conditions(&shape, slo)).rate();
    assert!(
        of(&allowing) > 1.02 * of(&plain),
        "{} {}",
        of(&allowing),
        of(&plain)
    );
}

#[test]
fn bursts_cost_capacity_and_balance_gains_it() {
    let shape = chat();
    let slo = Slo {
        ttft: p99(0.4),
        itl: p99(0.03),
        ..Slo::default()
    };
    let base = conditions(&shape, &slo);
    let of = |arrivals, pool| {
        capacity(
            &model(),
            &Conditions {
                arrivals,
                pool,
                ..base
            },
        )
        .rate()
    };
    let one = of(Arrivals::Poisson, 1);
    assert!(of(Arrivals::Dispersion(4.0), 1) < 0.97 * one);
    assert!(of(Arrivals::Poisson, 8) > 1.03 * one);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn capacity_falls_as_the_slo_tightens(
        input in 50.0..4000.0_f64, output in 10.0..800.0_f64, cv in 0.0..1.0_f64,
        ttft in 0.05..3.0_f64, itl in 0.008..0.1_f64, tighter in 0.3..0.95_f64,
    ) {
        let shape = RequestShape::lognormal((input, cv), (output, cv), Some(50_000.0)).unwrap();
        let slo = |scale: f64| Slo { ttft: p99(ttft * scale), itl: mean(itl * scale), ..Slo::default() };
        let of = |slo: Slo| capacity(&model(), &conditions(&shape, &slo)).rate();
        let (loose, tight) = (of(slo(1.0)), of(slo(tighter)));
        // The tolerance of the root, and where sampled tails wiggle the crossing that the search happens on.
        prop_assert!(tight <= 1.03 * loose, "{tight} > {loose}");
        let also_e2e = of(Slo { e2e: p99(30.0), ..slo(1.0) });
        prop_assert!(also_e2e <= 1.03 * loose, "{also_e2e} > {loose}");
    }
}

/// Counts the predictions that a capacity costs.
struct Counting(ContinuousBatching, std::cell::Cell<u32>);

impl LatencyModel for Counting {
    fn predict(&self, load: &wva_models::latency::Load<'_>) -> wva_models::latency::Outcome {
        self.1.set(self.1.get() + 1);
        self.0.predict(load)
    }

    fn stability_limit(&self, shape: &RequestShape) -> f64 {
        self.0.stability_limit(shape)
    }
}

#[test]
fn a_capacity_takes_few_predictions() {
    let shape = chat();
    let mut most = 0;
    for limit in [0.15, 0.3, 0.5, 1.0, 2.0, 5.0] {
        for slo in [
            Slo {
                ttft: p99(limit),
                ..Slo::default()
            },
            Slo {
                ttft: p99(limit),
                itl: p99(limit / 20.0),
                ..Slo::default()
            },
            Slo {
                itl: mean(limit / 20.0),
                ..Slo::default()
            },
        ] {
            let counting = Counting(model(), std::cell::Cell::new(0));
            let _ = capacity(&counting, &conditions(&shape, &slo));
            most = most.max(counting.1.get());
        }
    }
    assert!(most <= 13, "{most}");
}
