//! Forecasts: the q-quantile must cover a share q of the outcomes on streams that differ in kind, the point forecast
//! must not lose to naive rules, and nothing that is observed may break it.
#![allow(clippy::unwrap_used)]

use std::f64::consts::TAU;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal, Poisson};
use wva_models::forecast::{Basis, ForecastSettings, Forecaster};

const SLOT: f64 = 15.0;
const OUTCOME: usize = 4;

/// Counts per slot of a Poisson process whose rate is `rate(t)` times a lognormal of variation `cv` that wanders with a
/// correlation time of `correlation` seconds.
fn counts(days: f64, rate: impl Fn(f64) -> f64, cv: f64, correlation: f64, seed: u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let normal = Normal::new(0.0, 1.0).unwrap();
    let keep = (-SLOT / correlation).exp();
    let sigma = (1.0 + cv * cv).ln().sqrt();
    let mut x = 0.0;
    (0..(days * 86_400.0 / SLOT) as usize)
        .map(|i| {
            x = keep * x + (1.0 - keep * keep).sqrt() * normal.sample(&mut rng);
            let wander = (sigma * x - sigma * sigma / 2.0).exp();
            let mean = rate((i as f64 + 0.5) * SLOT) * wander * SLOT;
            Poisson::new(mean).unwrap().sample(&mut rng)
        })
        .collect()
}

struct Scores {
    /// Share of outcomes at or below the quantile, per probability asked.
    coverage: Vec<f64>,
    /// Mean absolute error over the mean outcome: ours, the last minute's rate, the last five minutes' rate.
    error: [f64; 3],
    basis: Basis,
}

fn score(counts: &[f64], ahead: usize, probabilities: &[f64]) -> Scores {
    let mut forecaster = Forecaster::new(ForecastSettings::default());
    forecaster.observe(0.0, 0.0);
    let mean = |c: &[f64]| c.iter().sum::<f64>() / (c.len() as f64 * SLOT);
    let mut covered = vec![0.0; probabilities.len()];
    let (mut error, mut total, mut n) = ([0.0; 3], 0.0, 0.0);
    let mut basis = Basis::Learning;
    for i in 0..counts.len() {
        forecaster.observe((i + 1) as f64 * SLOT, counts[i]);
        if i < 480 || i + ahead + OUTCOME >= counts.len() {
            continue;
        }
        let outcome = mean(&counts[i + 1 + ahead..=i + ahead + OUTCOME]);
        let f = forecaster.forecast(ahead as f64 * SLOT).unwrap();
        for (c, &p) in covered.iter_mut().zip(probabilities) {
            *c += f64::from(u8::from(outcome <= f.quantile(p)));
        }
        let guesses = [f.mean, mean(&counts[i - 3..=i]), mean(&counts[i - 19..=i])];
        for (e, g) in error.iter_mut().zip(guesses) {
            *e += (outcome - g).abs();
        }
        (total, n, basis) = (total + outcome, n + 1.0, f.basis);
    }
    Scores {
        coverage: covered.iter().map(|c| c / n).collect(),
        error: error.map(|e| e / total),
        basis,
    }
}

fn day(t: f64) -> f64 {
    10.0 * (1.0 + 0.5 * (t / 86_400.0 * TAU).sin())
}

fn step(t: f64) -> f64 {
    if (t / 7200.0) as u32 & 1 == 0 {
        4.0
    } else {
        12.0
    }
}

fn saw(t: f64) -> f64 {
    2.0 + 8.0 * (1.0 - (2.0 * (t / 3600.0).fract() - 1.0).abs())
}

#[test]
fn quantiles_cover_what_they_say() {
    let streams = [
        ("poisson", counts(1.0, |_| 5.0, 0.0, 60.0, 1)),
        ("sparse", counts(1.0, |_| 0.05, 0.0, 60.0, 2)),
        ("diurnal with bursts", counts(2.0, day, 0.4, 120.0, 3)),
        ("fast bursts", counts(1.0, |_| 8.0, 0.8, 10.0, 4)),
        ("steps", counts(2.0, step, 0.2, 60.0, 5)),
        ("ramps", counts(1.0, saw, 0.1, 60.0, 6)),
    ];
    let probabilities = [0.1, 0.5, 0.8, 0.9, 0.95, 0.99];
    for (name, counts) in streams {
        for ahead in [0, 4, 8, 12, 20] {
            let scores = score(&counts, ahead, &probabilities);
            for (p, c) in probabilities.iter().zip(&scores.coverage) {
                assert!(
                    (c - p).abs() < 0.05,
                    "{name}, {ahead} slots: {c:.3} for {p}"
                );
            }
            assert!(
                scores.coverage[4] > 0.93 && scores.coverage[5] > 0.97,
                "{name}: {:?}",
                scores.coverage
            );
        }
    }
}

#[test]
fn the_point_forecast_beats_the_last_value_and_is_near_the_better_naive_rule() {
    let streams = [
        ("poisson", counts(1.0, |_| 5.0, 0.0, 60.0, 11)),
        ("diurnal with bursts", counts(2.0, day, 0.4, 120.0, 12)),
        ("steps", counts(1.0, step, 0.2, 60.0, 13)),
        ("ramps", counts(1.0, saw, 0.1, 60.0, 14)),
    ];
    for (name, counts) in streams {
        for ahead in [4, 16] {
            let [ours, last, average] = score(&counts, ahead, &[]).error;
            assert!(
                ours < last * 0.99,
                "{name}, {ahead}: {ours:.3} against the last minute's {last:.3}"
            );
            assert!(
                ours < average * 1.06,
                "{name}, {ahead}: {ours:.3} against five minutes' {average:.3}"
            );
        }
    }
}

#[test]
fn a_ramp_is_seen_as_a_trend_and_a_second_day_as_a_season() {
    let ramp = counts(0.1, |t| 20.0 + t / 30.0, 0.0, 60.0, 21);
    let scores = score(&ramp, 20, &[0.5]);
    assert_eq!(scores.basis, Basis::Trend);
    assert!(
        scores.error[0] < 0.6 * scores.error[2],
        "{:?}",
        scores.error
    );
    let sharp = |t: f64| 40.0 * (1.0 + 0.9 * (t / 86_400.0 * TAU * 6.0).sin());
    let seasonal = counts(3.0, sharp, 0.0, 60.0, 22);
    assert_eq!(score(&seasonal, 32, &[0.5]).basis, Basis::Season);
}

#[test]
fn a_step_is_followed_within_two_slots() {
    let mut forecaster = Forecaster::new(ForecastSettings::default());
    forecaster.observe(0.0, 0.0);
    let mut at = 0.0;
    let mut play = |forecaster: &mut Forecaster, slots: u32, count: f64| {
        for i in 0..slots {
            at += SLOT;
            // Deviations as Poisson's.
            let wobble = if i % 2 == 0 {
                count.sqrt()
            } else {
                -count.sqrt()
            };
            forecaster.observe(at, count + wobble);
        }
    };
    play(&mut forecaster, 100, 60.0);
    play(&mut forecaster, 1, 140.0);
    let level = forecaster.forecast(0.0).unwrap().mean;
    assert!(level > 7.5, "{level}");
    play(&mut forecaster, 1, 140.0);
    let level = forecaster.forecast(0.0).unwrap().mean;
    assert!((8.0..11.0).contains(&level), "{level}");
}

#[test]
fn before_it_has_learnt_the_band_is_wide_and_says_so() {
    let mut f = Forecaster::new(ForecastSettings::default());
    assert!(f.forecast(60.0).is_none());
    for i in 0..8 {
        f.observe(f64::from(i) * SLOT, 75.0);
    }
    let forecast = f.forecast(120.0).unwrap();
    assert_eq!(forecast.basis, Basis::Learning);
    assert!((forecast.mean - 5.0).abs() < 1e-9);
    assert!(
        forecast.quantile(0.95) > 6.4 && forecast.quantile(0.05) < 3.6,
        "{forecast:?}"
    );
    assert!(f.forecast(3600.0).unwrap().quantile(0.95) > forecast.quantile(0.95) * 1.1);
}

/// Three a second, and eighteen for a minute after random pauses of eight minutes in the mean.
fn surges(hours: f64, seed: u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut surging = 0;
    (0..(hours * 3600.0 / SLOT) as usize)
        .map(|_| {
            if surging == 0 && rng.random::<f64>() < SLOT / 480.0 {
                surging = 4;
            }
            let rate = if surging > 0 { 18.0 } else { 3.0 };
            surging = usize::saturating_sub(surging, 1);
            Poisson::new(rate * SLOT).unwrap().sample(&mut rng)
        })
        .collect()
}

#[test]
fn a_surge_is_not_expected_on_top_of_a_surge() {
    let counts = surges(12.0, 9);
    let mut f = Forecaster::new(ForecastSettings::default());
    f.observe(0.0, 0.0);
    let ahead = 7;
    let (mut calm, mut surge) = ((0.0, 0.0), (0.0, 0.0, 0.0));
    for i in 0..counts.len() - ahead - OUTCOME {
        f.observe((i + 1) as f64 * SLOT, counts[i]);
        if i < 480 {
            continue;
        }
        let outcome = counts[i + 1 + ahead..=i + ahead + OUTCOME]
            .iter()
            .sum::<f64>()
            / (OUTCOME as f64 * SLOT);
        let forecast = f.forecast(ahead as f64 * SLOT).unwrap();
        let (high, covered) = (
            forecast.quantile(0.95),
            f64::from(u8::from(outcome <= forecast.quantile(0.95))),
        );
        if forecast.mean > 9.0 {
            surge = (surge.0 + 1.0, surge.1 + covered, surge.2 + high);
        } else if forecast.mean < 4.0 {
            calm = (calm.0 + 1.0, calm.1 + covered);
        }
    }
    let (n, covered, high) = surge;
    assert!(n > 100.0 && covered / n > 0.93, "{surge:?}");
    assert!(high / n < 27.0, "{} where at most 18 come", high / n);
    assert!((calm.1 / calm.0 - 0.95).abs() < 0.04, "{calm:?}");
}

#[test]
fn gaps_duplicates_and_a_reset_clock_do_no_harm() {
    let mut f = Forecaster::new(ForecastSettings::default());
    f.observe(0.0, 1e9);
    for i in 1..200 {
        let t = f64::from(i) * 15.0;
        f.observe(t, 75.0);
        f.observe(t, 0.0);
        f.observe(f64::NAN, 1.0);
        f.observe(t - 20.0, -5.0);
    }
    f.observe(3285.0, 75.0 * 20.0);
    assert!((f.forecast(60.0).unwrap().mean - 5.0).abs() < 0.01);
    f.observe(1e9, 5.0 * (1e9 - 3285.0));
    assert!((f.forecast(60.0).unwrap().level - 5.0).abs() < 0.01);
    f.observe(0.0, 7.0);
    for i in 1..20 {
        f.observe(f64::from(i) * 15.0, 30.0);
    }
    assert!((f.forecast(60.0).unwrap().mean - 2.0).abs() < 0.01);
}

#[test]
fn saved_state_goes_on_bit_for_bit() {
    let counts = counts(0.3, day, 0.4, 60.0, 31);
    let mut live = Forecaster::new(ForecastSettings::default());
    for (i, c) in counts.iter().enumerate() {
        live.observe(i as f64 * SLOT, *c);
        if i % 400 == 0 {
            let text = serde_json::to_string(&live).unwrap();
            let restored: Forecaster = serde_json::from_str(&text).unwrap();
            assert_eq!(restored, live);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn nothing_observed_breaks_it(
        steps in prop::collection::vec((prop_oneof![8 => 0.0..60.0, 1 => -1e5..1e5, 1 => any::<f64>()],
                                        prop_oneof![8 => 0.0..1e4, 1 => any::<f64>()]), 0..300),
        horizon in prop_oneof![0.0..1e4, any::<f64>()],
    ) {
        let mut f = Forecaster::new(ForecastSettings::default());
        let mut at = 0.0;
        for (gap, count) in steps {
            at += gap;
            f.observe(at, count);
            if !at.is_finite() { at = 0.0; }
            if let Some(forecast) = f.forecast(horizon) {
                let mut before = 0.0;
                prop_assert!(forecast.mean.is_finite() && forecast.mean >= 0.0);
                for q in [0.001, 0.01, 0.3, 0.5, 0.9, 0.95, 0.999] {
                    let value = forecast.quantile(q);
                    prop_assert!(value.is_finite() && value >= before, "{q}: {value} after {before}");
                    before = value;
                }
            }
        }
    }
}
