//! The offline fit: sweeps made with the mean-field predictor must give their law back, and sweeps of the reference
//! engine a law that predicts other shapes.

use proptest::prelude::*;
use wva_models::fit::{
    FitError, PhysicalFloor, Predicted, PriorSpread, SweepPoint, SweepPrior, fit_sweep, mean_field,
};
use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_models::latency::Arrivals;
use wva_models::shape::{RequestShape, ShapePoint};

use crate::engine::{Engine, Lengths, TOKEN_BUDGET, TRUTH};

const LIMITS: EngineLimits = EngineLimits {
    token_budget: TOKEN_BUDGET,
    max_sequences: 512.0,
    kv_tokens: 437_000.0,
};

fn predictor(law: &IterationLaw, point: &SweepPoint) -> Option<Predicted> {
    let replica = ReplicaModel {
        law: *law,
        limits: LIMITS,
    };
    mean_field(&replica, point)
}

/// A law that is wrong by `factor` in ways that partly cancel.
fn wrong(factor: f64) -> IterationLaw {
    IterationLaw {
        overhead_s: TRUTH.overhead_s * factor,
        floor_s: TRUTH.floor_s / factor,
        per_token_s: TRUTH.per_token_s * factor,
        per_kv_token_s: TRUTH.per_kv_token_s / factor,
        per_sequence_s: TRUTH.per_sequence_s * factor,
        per_chunk_context_s: TRUTH.per_chunk_context_s / factor,
        prefill_overhead_s: TRUTH.prefill_overhead_s * factor,
        front_end_s: TRUTH.front_end_s / factor,
    }
}

fn point(input: f64, output: f64, rate: f64) -> SweepPoint {
    SweepPoint {
        rate,
        shape: RequestShape::fixed(input, output).unwrap(),
        arrivals: Arrivals::Even,
        itl_s: None,
        ttft_s: None,
    }
}

/// Shapes with the rates at which the truth is asked.
const SHAPES: [(f64, f64, f64); 5] = [
    (1024.0, 1024.0, 5.5),
    (1024.0, 64.0, 28.0),
    (256.0, 256.0, 40.0),
    (4096.0, 256.0, 5.2),
    (64.0, 1024.0, 11.0),
];

fn sweep(noise: f64) -> Vec<SweepPoint> {
    let mut points = Vec::new();
    for (i, (input, output, most)) in SHAPES.into_iter().enumerate() {
        for k in 1..=6 {
            let p = point(input, output, most * f64::from(k) / 6.0);
            let truth = predictor(&TRUTH, &p).unwrap();
            let wobble = |seed: f64| 1.0 + noise * (seed * 12.9898).sin();
            let at = i as f64 * 7.0 + f64::from(k);
            points.push(SweepPoint {
                itl_s: Some(truth.itl_s * wobble(at)),
                ttft_s: Some(truth.ttft_s * wobble(at + 0.5)),
                ..p
            });
        }
    }
    points
}

fn fitted(points: &[SweepPoint], prior: &IterationLaw) -> Result<IterationLaw, FitError> {
    let prior = SweepPrior {
        law: prior,
        spread: &PriorSpread::default(),
        physical: PhysicalFloor::default(),
    };
    fit_sweep(points, &prior, &predictor).map(|f| f.law)
}

/// Worst relative ITL error of a law against the truth, on shapes that no sweep here has.
fn worst_unseen(law: &IterationLaw) -> f64 {
    [
        (512.0, 512.0, 12.0),
        (2048.0, 128.0, 11.0),
        (300.0, 2000.0, 2.0),
        (6000.0, 500.0, 1.5),
    ]
    .into_iter()
    .map(|(n, m, rate)| {
        let p = point(n, m, rate);
        let (is, should) = (predictor(law, &p).unwrap(), predictor(&TRUTH, &p).unwrap());
        (is.itl_s / should.itl_s - 1.0).abs()
    })
    .fold(0.0, f64::max)
}

#[test]
fn a_clean_sweep_gives_the_law_back() {
    for factor in [1.0, 1.2, 1.5, 2.0] {
        let law = fitted(&sweep(0.0), &wrong(factor)).unwrap();
        assert!(
            worst_unseen(&law) < 0.015,
            "{factor}: {}",
            worst_unseen(&law)
        );
        for (is, should) in [
            (law.per_token_s, TRUTH.per_token_s),
            (law.per_kv_token_s, TRUTH.per_kv_token_s),
            (
                law.overhead_s + law.floor_s,
                TRUTH.overhead_s + TRUTH.floor_s,
            ),
        ] {
            assert!((is / should - 1.0).abs() < 0.05, "{factor}: {law:?}");
        }
    }
}

#[test]
fn noise_and_wild_points_are_borne() {
    let mut points = sweep(0.04);
    points[3].itl_s = points[3].itl_s.map(|x| x * 4.0);
    points[14].ttft_s = points[14].ttft_s.map(|x| x * 0.1);
    points[20].itl_s = Some(f64::NAN);
    points[21].ttft_s = Some(-5.0);
    points[22].rate = f64::INFINITY;
    let law = fitted(&points, &wrong(1.5)).unwrap();
    assert!(worst_unseen(&law) < 0.05, "{}", worst_unseen(&law));
}

#[test]
fn the_reference_engine_is_predicted_on_unseen_shapes() {
    let measure = |input: f64, output: f64, rate: f64| {
        let lengths = Lengths {
            input,
            output,
            cv: 0.3,
        };
        let mut engine = Engine::new(TRUTH, 17);
        engine.window(60.0, rate, lengths);
        let w = engine.window(120.0, rate, lengths);
        SweepPoint {
            arrivals: Arrivals::Poisson,
            itl_s: Some(w.gap_sum_s / w.gap_count),
            ttft_s: Some(w.ttft_sum_s / w.ttft_count),
            ..point(input, output, rate)
        }
    };
    let points: Vec<SweepPoint> = SHAPES
        .into_iter()
        .flat_map(|(n, m, most)| [0.15, 0.4, 0.65, 0.85].map(|share| measure(n, m, share * most)))
        .collect();
    let law = fitted(&points, &wrong(1.5)).unwrap();
    for (n, m, rate) in [
        (512.0, 512.0, 10.0),
        (2048.0, 128.0, 8.0),
        (300.0, 2000.0, 1.8),
    ] {
        let measured = measure(n, m, rate);
        let predicted = predictor(&law, &measured).unwrap();
        let itl = predicted.itl_s / measured.itl_s.unwrap() - 1.0;
        let ttft = predicted.ttft_s / measured.ttft_s.unwrap() - 1.0;
        assert!(
            itl.abs() < 0.07 && ttft.abs() < 0.15,
            "{n} {m} {rate}: {itl:.3} {ttft:.3}"
        );
    }
}

#[test]
fn hopeless_sweeps_say_why() {
    let points = sweep(0.0);
    assert_eq!(
        fitted(&points[..1], &TRUTH),
        Err(FitError::TooFewPoints { have: 2, needed: 4 })
    );
    let impossible: Vec<SweepPoint> = points
        .iter()
        .map(|p| SweepPoint {
            rate: p.rate * 1e6,
            ..p.clone()
        })
        .collect();
    assert_eq!(fitted(&impossible, &TRUTH), Err(FitError::NoStart));
    let prior = SweepPrior {
        law: &TRUTH,
        spread: &PriorSpread::default(),
        physical: PhysicalFloor {
            floor_s: 2.0 * TRUTH.floor_s,
            ..PhysicalFloor::default()
        },
    };
    assert!(matches!(
        fit_sweep(&points, &prior, &predictor),
        Err(FitError::BelowPhysicalFloor { .. })
    ));
}

#[test]
fn the_mean_field_point_reproduces_itself_and_explodes_at_the_limit() {
    let mut before = 0.0;
    let mut rate = 0.5;
    while let Some(p) = predictor(&TRUTH, &point(1024.0, 256.0, rate)) {
        assert!(p.itl_s > before && p.ttft_s > p.itl_s);
        (before, rate) = (p.itl_s, rate + 0.5);
    }
    // Work per request: 1024·b + (m − 1)·(b + s + g·context) + attention, in the linear regime far above the floor.
    let work = 1024.0 * TRUTH.per_token_s
        + 255.0 * (TRUTH.per_token_s + TRUTH.per_sequence_s + TRUTH.per_kv_token_s * 1152.0)
        + 1024.0 * 512.0 * TRUTH.per_chunk_context_s;
    assert!(
        rate < 1.0 / work && rate > 0.6 / work,
        "{rate} {}",
        1.0 / work
    );
    let single = predictor(&TRUTH, &point(100.0, 2.0, 1e-6)).unwrap();
    assert!((single.itl_s - 7.07e-3).abs() < 1e-4, "{single:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_sweep_breaks_it(
        raw in prop::collection::vec((1.0..5e4_f64, 1.0..5e3_f64, prop_oneof![0.01..50.0, any::<f64>()],
                                      prop_oneof![1e-4..1.0, any::<f64>()], prop_oneof![1e-3..1e2, any::<f64>()]), 0..8),
        factor in 0.01..100.0_f64,
    ) {
        let points: Vec<SweepPoint> = raw.iter().map(|&(n, m, rate, itl, ttft)| SweepPoint {
            rate,
            shape: RequestShape::new(vec![ShapePoint { input: n, output: m, weight: 1.0 }], 0.3).unwrap(),
            arrivals: Arrivals::Poisson,
            itl_s: Some(itl),
            ttft_s: Some(ttft),
        }).collect();
        if let Ok(law) = fitted(&points, &wrong(factor)) {
            let all = [law.overhead_s, law.floor_s, law.per_token_s, law.per_kv_token_s, law.per_sequence_s,
                       law.per_chunk_context_s, law.prefill_overhead_s, law.front_end_s];
            prop_assert!(all.iter().all(|x| x.is_finite() && *x >= 0.0), "{law:?}");
        }
    }
}
