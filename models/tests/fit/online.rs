//! The online fit against a reference engine whose law is known.

use proptest::prelude::*;
use wva_models::fit::{
    EngineCounters, EngineWindow, FitEvent, OnlineFit, PhysicalFloor, PriorSpread,
};
use wva_models::iteration::{Composition, IterationLaw};

use crate::engine::{Engine, Lengths, TOKEN_BUDGET, TRUTH};

const CHAT: Lengths = Lengths {
    input: 1155.0,
    output: 211.0,
    cv: 1.0,
};

/// The truth with each parameter multiplied by `factor` to the power of its sign.
fn wrong(factor: f64, signs: [f64; 8]) -> IterationLaw {
    let f = signs.map(|s| factor.powf(s));
    IterationLaw {
        overhead_s: TRUTH.overhead_s * f[0],
        floor_s: TRUTH.floor_s * f[1],
        per_token_s: TRUTH.per_token_s * f[2],
        per_kv_token_s: TRUTH.per_kv_token_s * f[3],
        per_sequence_s: TRUTH.per_sequence_s * f[4],
        per_chunk_context_s: TRUTH.per_chunk_context_s * f[5],
        prefill_overhead_s: TRUTH.prefill_overhead_s * f[6],
        front_end_s: TRUTH.front_end_s * f[7],
    }
}

const SIGNS: [[f64; 8]; 4] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    [-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0],
    [1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0],
    [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0],
];

fn fit_from(prior: &IterationLaw) -> OnlineFit {
    OnlineFit::new(
        prior,
        &PriorSpread::default(),
        PhysicalFloor::default(),
        TOKEN_BUDGET,
    )
}

fn window(engine: &mut Engine, rate: f64, lengths: Lengths) -> EngineWindow {
    EngineWindow {
        prompt_cv: Some(lengths.cv),
        ..engine.window(15.0, rate, lengths)
    }
}

/// Feeds `cycles` windows at the rates given by cycle.
fn feed(
    fit: &mut OnlineFit,
    engine: &mut Engine,
    cycles: u32,
    rate: impl Fn(u32) -> f64,
    lengths: Lengths,
) {
    for i in 0..cycles {
        let w = window(engine, rate(i), lengths);
        fit.update(&[w]);
    }
}

/// Worst log-error of `law` against `truth` in mean gap and in prefill time, over operating points that the engine
/// itself reaches at these rates.
fn errors(law: &IterationLaw, truth: &IterationLaw, rates: &[f64], lengths: Lengths) -> [f64; 2] {
    let mut worst = [0.0_f64; 2];
    for &rate in rates {
        let mut engine = Engine::new(*truth, 99);
        engine.window(60.0, rate, lengths);
        let w = window(&mut engine, rate, lengths);
        let point = w.operating_point(w.kv_tokens / w.running).unwrap();
        let gap = point.gap(law, TOKEN_BUDGET) / point.gap(truth, TOKEN_BUDGET);
        let prefill = point.prefill(law, TOKEN_BUDGET) / point.prefill(truth, TOKEN_BUDGET);
        worst[0] = worst[0].max(gap.ln().abs());
        worst[1] = worst[1].max(prefill.ln().abs());
    }
    worst
}

fn wandering(i: u32) -> f64 {
    7.0 + 5.0 * (f64::from(i) / 20.0).sin()
}

#[test]
fn the_measurement_model_is_nearly_unbiased_under_the_true_law() {
    let short = Lengths {
        input: 256.0,
        output: 256.0,
        cv: 0.5,
    };
    let long = Lengths {
        input: 6000.0,
        output: 300.0,
        cv: 0.5,
    };
    for (lengths, rate) in [
        (CHAT, 3.0),
        (CHAT, 10.0),
        (CHAT, 17.0),
        (short, 5.0),
        (short, 30.0),
        (long, 1.0),
    ] {
        let mut engine = Engine::new(TRUTH, 7);
        engine.window(60.0, rate, lengths);
        let (mut gaps, mut prefills) = ((0.0, 0.0), (0.0, 0.0));
        for _ in 0..20 {
            let w = window(&mut engine, rate, lengths);
            let Some(point) = w.operating_point(w.kv_tokens / w.running.max(1.0)) else {
                continue;
            };
            if let Some(gap) = w.mean_gap() {
                gaps = (gaps.0 + point.gap(&TRUTH, TOKEN_BUDGET), gaps.1 + gap);
            }
            if let Some(prefill) = w.mean_prefill() {
                prefills = (
                    prefills.0 + point.prefill(&TRUTH, TOKEN_BUDGET),
                    prefills.1 + prefill,
                );
            }
        }
        assert!(
            (gaps.0 / gaps.1 - 1.0).abs() < 0.04,
            "{lengths:?} {rate}: gap {}",
            gaps.0 / gaps.1
        );
        let off = prefills.0 / prefills.1;
        assert!((off - 1.0).abs() < 0.1, "{lengths:?} {rate}: prefill {off}");
    }
}

#[test]
fn predictions_near_and_above_the_load_become_right_from_wrong_priors() {
    let rates = [3.0, 7.0, 12.0, 16.0];
    for factor in [1.2, 1.5, 2.0] {
        for signs in SIGNS {
            let prior = wrong(factor, signs);
            let mut fit = fit_from(&prior);
            assert!(fit.fitted().trust < 0.3);
            feed(&mut fit, &mut Engine::new(TRUTH, 1), 120, wandering, CHAT);
            let fitted = fit.fitted();
            let [gap, prefill] = errors(&fitted.law, &TRUTH, &rates, CHAT);
            assert!(
                gap < 0.04 && prefill < 0.06,
                "{factor} {signs:?}: {gap:.3} {prefill:.3}"
            );
            assert!(fitted.trust > 0.7, "{fitted:?}");
            assert!((fitted.law.front_end_s / TRUTH.front_end_s - 1.0).abs() < 0.1);
        }
    }
}

#[test]
fn one_operating_point_is_learnt_and_tells_of_higher_loads() {
    for factor in [1.5, 2.0] {
        for signs in SIGNS {
            let prior = wrong(factor, signs);
            let mut fit = fit_from(&prior);
            feed(&mut fit, &mut Engine::new(TRUTH, 2), 60, |_| 8.0, CHAT);
            let law = fit.fitted().law;
            let [gap, _] = errors(&law, &TRUTH, &[8.0], CHAT);
            assert!(gap < 0.03, "{factor} {signs:?} at the point: {gap:.3}");
            let [gap, prefill] = errors(&law, &TRUTH, &[12.0, 15.0], CHAT);
            assert!(
                gap < 0.06 && prefill < 0.08,
                "{factor} {signs:?} above it: {gap:.3} {prefill:.3}"
            );
        }
    }
}

#[test]
fn outliers_and_preemptions_are_not_believed() {
    let mut fit = fit_from(&wrong(1.5, SIGNS[2]));
    let mut engine = Engine::new(TRUTH, 3);
    for i in 0..150 {
        let mut w = window(&mut engine, wandering(i), CHAT);
        match i % 10 {
            3 => w.gap_sum_s *= 3.0,
            6 => w.prefill_sum_s *= 0.1,
            8 => (w.preemptions, w.gap_sum_s) = (1.0, w.gap_sum_s * 2.0),
            9 => w.gap_sum_s = f64::NAN,
            _ => {}
        }
        fit.update(&[w]);
    }
    let fitted = fit.fitted();
    let [gap, prefill] = errors(&fitted.law, &TRUTH, &[3.0, 7.0, 12.0], CHAT);
    assert!(
        gap < 0.05 && prefill < 0.12,
        "{gap:.3} {prefill:.3} {fitted:?}"
    );
    assert!(fitted.trust > 0.4);
}

#[test]
fn a_slower_engine_is_noticed_and_relearnt() {
    let slower = wrong_by_uniform(1.6);
    for told in [true, false] {
        let mut fit = fit_from(&TRUTH);
        feed(&mut fit, &mut Engine::new(TRUTH, 4), 100, wandering, CHAT);
        let trusted = fit.fitted().trust;
        if told {
            fit.reset_covariance();
            assert_eq!(fit.fitted().event, FitEvent::Reset);
            assert!(fit.fitted().trust < trusted);
        }
        let mut engine = Engine::new(slower, 5);
        let mut least = 1.0_f64;
        for i in 0..80 {
            fit.update(&[window(&mut engine, 3.0 + 0.05 * f64::from(i), CHAT)]);
            least = least.min(fit.fitted().trust);
        }
        let [gap, prefill] = errors(&fit.fitted().law, &slower, &[4.0, 7.0], CHAT);
        assert!(
            gap < 0.05 && prefill < 0.08,
            "told {told}: {gap:.3} {prefill:.3}"
        );
        assert!(
            least < 0.8 * trusted && fit.fitted().trust > least,
            "{least} {trusted}"
        );
    }
}

fn wrong_by_uniform(factor: f64) -> IterationLaw {
    IterationLaw {
        front_end_s: TRUTH.front_end_s,
        ..wrong(factor, SIGNS[0])
    }
}

#[test]
fn an_impossible_fit_is_rolled_back_and_costs_trust() {
    let floor = PhysicalFloor {
        floor_s: TRUTH.floor_s,
        per_token_s: TRUTH.per_token_s,
        per_kv_token_s: TRUTH.per_kv_token_s,
    };
    let mut fit = OnlineFit::new(&TRUTH, &PriorSpread::default(), floor, TOKEN_BUDGET);
    let mut engine = Engine::new(wrong_by_uniform(0.4), 6);
    let mut rolled_back = 0;
    for i in 0..60 {
        let event = fit.update(&[window(&mut engine, wandering(i), CHAT)]);
        rolled_back += u32::from(event == FitEvent::BelowPhysicalFloor);
        assert!(floor.allows(&fit.fitted().law), "{:?}", fit.fitted());
    }
    assert!(rolled_back > 10, "{rolled_back}");
    assert!(fit.fitted().trust < 0.1, "{:?}", fit.fitted());
}

/// Prompts of which a window sees a few, of very different lengths.
const LONG: Lengths = Lengths {
    input: 8000.0,
    output: 300.0,
    cv: 1.2,
};

/// Where the law is at the edge of what physics allows, a parameter that windows tell only together with others wanders
/// below it; what is learned of their sum is kept.
#[test]
fn a_fit_at_the_edge_of_physics_learns_on() {
    let floor = PhysicalFloor {
        floor_s: TRUTH.floor_s,
        per_token_s: TRUTH.per_token_s,
        per_kv_token_s: TRUTH.per_kv_token_s,
    };
    for (seed, signs) in SIGNS.into_iter().enumerate() {
        let prior = wrong(1.2, signs.map(|s| s.max(0.0)));
        let mut fit = OnlineFit::new(&prior, &PriorSpread::default(), floor, TOKEN_BUDGET);
        let mut engine = Engine::new(TRUTH, seed as u64);
        feed(&mut fit, &mut engine, 120, |_| 1.0, LONG);
        let fitted = fit.fitted();
        assert!(floor.allows(&fitted.law), "{fitted:?}");
        assert!(fitted.rejected <= 6, "{fitted:?}");
        let [gap, prefill] = errors(&fitted.law, &TRUTH, &[0.6, 1.0], LONG);
        assert!(gap < 0.08 && prefill < 0.1, "{gap} {prefill}");
    }
}

/// A window's mean over a few long prompts is far from the law's, however right the law is: trust was 0.65 here.
#[test]
fn what_few_samples_make_of_an_error_costs_no_trust() {
    let mut fit = fit_from(&TRUTH);
    feed(&mut fit, &mut Engine::new(TRUTH, 5), 120, |_| 0.6, LONG);
    let fitted = fit.fitted();
    assert!(fitted.gap_error > Some(0.05), "{fitted:?}");
    assert!(fitted.trust > 0.75, "{fitted:?}");
    // A law that is wrong is found out all the same, until it is learned.
    let mut fit = fit_from(&wrong_by_uniform(2.0));
    feed(&mut fit, &mut Engine::new(TRUTH, 5), 8, |_| 0.6, LONG);
    assert!(fit.fitted().trust < 0.5, "{:?}", fit.fitted());
}

#[test]
fn idle_windows_change_nothing() {
    let mut fit = fit_from(&TRUTH);
    let before = fit.fitted();
    for _ in 0..50 {
        let idle = EngineWindow {
            seconds: 15.0,
            ..EngineWindow::default()
        };
        assert_eq!(fit.update(&[idle]), FitEvent::NoUsableWindow);
    }
    assert_eq!(
        (fit.fitted().law, fit.fitted().covariance),
        (before.law, before.covariance)
    );
    assert_eq!(fit.update(&[]), FitEvent::NoUsableWindow);
}

#[test]
fn restarts_between_scrapes_give_no_window() {
    let before = EngineCounters {
        at: 10.0,
        gap: (50.0, 5000.0),
        ..EngineCounters::default()
    };
    let after = EngineCounters {
        at: 25.0,
        gap: (58.0, 6000.0),
        ..before
    };
    let w = EngineWindow::between(&before, &after).unwrap();
    assert!((w.mean_gap().unwrap() - 0.008).abs() < 1e-12);
    let restarted = EngineCounters {
        gap: (1.0, 100.0),
        ..after
    };
    assert!(EngineWindow::between(&before, &restarted).is_none());
    assert!(EngineWindow::between(&after, &before).is_none());
    assert!(
        EngineWindow::between(
            &before,
            &EngineCounters {
                at: f64::NAN,
                ..after
            }
        )
        .is_none()
    );
}

#[test]
fn draws_represent_the_covariance_and_the_pessimist_its_slow_side() {
    let mut fit = fit_from(&wrong(1.5, SIGNS[3]));
    let busy = Composition {
        tokens: 60.0,
        kv_tokens: 75_000.0,
        sequences: 60.0,
        ..Composition::default()
    };
    let wide = fit.fitted().relative_sd(&busy);
    let draws = fit.fitted().draws(400);
    let logs: Vec<f64> = draws.iter().map(|l| l.floor_s.ln()).collect();
    let mean = logs.iter().sum::<f64>() / 400.0;
    let sd = (logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 400.0).sqrt();
    assert!(
        (mean - fit.fitted().law.floor_s.ln()).abs() < 1e-9,
        "mirror images keep the mean"
    );
    assert!((sd / 1.09_f64.ln().sqrt() - 1.0).abs() < 0.05, "{sd}");
    feed(&mut fit, &mut Engine::new(TRUTH, 8), 40, wandering, CHAT);
    let fitted = fit.fitted();
    assert!(fitted.relative_sd(&busy) < 0.3 * wide);
    let mut times: Vec<f64> = fitted.draws(401).iter().map(|l| l.seconds(&busy)).collect();
    times.sort_by(f64::total_cmp);
    let slow = fitted.pessimistic(0.9, &busy).seconds(&busy);
    assert!(
        (0.92..1.01).contains(&(slow / times[361])),
        "{slow} {}",
        times[361]
    );
    assert!(fitted.pessimistic(0.1, &busy).seconds(&busy) < fitted.law.seconds(&busy));
    assert_eq!(fitted.draws(1), vec![fitted.law]);
    assert_eq!(fitted.draws(16), fit.fitted().draws(16));
}

#[test]
fn saved_state_goes_on_bit_for_bit() {
    let mut live = fit_from(&wrong(1.2, SIGNS[0]));
    let mut engine = Engine::new(TRUTH, 9);
    feed(&mut live, &mut engine, 30, wandering, CHAT);
    let mut restored: OnlineFit =
        serde_json::from_str(&serde_json::to_string(&live).unwrap()).unwrap();
    for i in 0..10 {
        let w = window(&mut engine, wandering(i), CHAT);
        live.update(&[w]);
        restored.update(&[w]);
    }
    assert_eq!(live, restored);
}

fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..100.0, 3 => 0.0..1e6, 1 => any::<f64>(), 1 => Just(0.0)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_window_breaks_the_law(
        windows in prop::collection::vec(prop::collection::vec(anything(), 17), 0..40),
        prior in prop::collection::vec(prop_oneof![4 => 0.0..1.0, 1 => any::<f64>()], 8),
        budget in anything(),
    ) {
        let law = IterationLaw {
            overhead_s: prior[0],
            floor_s: prior[1],
            per_token_s: prior[2],
            per_kv_token_s: prior[3],
            per_sequence_s: prior[4],
            per_chunk_context_s: prior[5],
            prefill_overhead_s: prior[6],
            front_end_s: prior[7],
        };
        let mut fit = OnlineFit::new(&law, &PriorSpread::default(), PhysicalFloor::default(), budget);
        for w in windows {
            let window = EngineWindow {
                seconds: w[0],
                iterations: w[1],
                prompt_tokens: w[2],
                generation_tokens: w[3],
                gap_sum_s: w[4],
                gap_count: w[5] * 100.0,
                prefill_sum_s: w[6],
                prefill_count: w[7],
                queue_sum_s: w[8],
                queue_count: w[9],
                ttft_sum_s: w[10],
                ttft_count: w[11],
                preemptions: if w[12] < 50.0 { 0.0 } else { w[12] },
                running: w[13],
                kv_tokens: w[14],
                cached_tokens: w[15],
                prompt_cv: Some(w[16]),
            };
            fit.update(&[window, window]);
            let fitted = fit.fitted();
            let l = fitted.law;
            let all = [l.overhead_s, l.floor_s, l.per_token_s, l.per_kv_token_s, l.per_sequence_s,
                       l.per_chunk_context_s, l.prefill_overhead_s, l.front_end_s, fitted.trust];
            prop_assert!(all.iter().all(|x| x.is_finite() && *x >= 0.0), "{fitted:?}");
            prop_assert!(fitted.trust <= 1.0);
            prop_assert!(fitted.covariance.iter().flatten().all(|x| x.is_finite()));
            prop_assert!(fitted.draws(4).iter().all(|l| l.floor_s.is_finite() && l.per_token_s.is_finite()));
            let text = serde_json::to_string(&fit).unwrap();
            prop_assert_eq!(&serde_json::from_str::<OnlineFit>(&text).unwrap(), &fit);
        }
    }
}
