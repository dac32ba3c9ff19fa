//! Windows: burstiness against processes whose index is known, distributions against what was put in, and nonsense.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Gamma, LogNormal, Poisson};
use wva_models::windows::{CounterWindow, RecentHistogram, Scraped, dispersion};

/// A window fed every 15 s with `rate(t)` per second, Poisson within a slot.
fn fed(slots: u32, seed: u64, mut rate: impl FnMut(f64, &mut StdRng) -> f64) -> CounterWindow {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut window = CounterWindow::new(1e6, 1 << 20);
    let mut total = 0.0;
    window.observe(0.0, 0.0);
    for i in 1..=slots {
        let t = f64::from(i) * 15.0;
        let mean = rate(t, &mut rng) * 15.0;
        total += Poisson::new(mean.max(1e-9)).unwrap().sample(&mut rng);
        window.observe(t, total);
    }
    window
}

#[test]
fn poisson_has_index_one_whatever_its_trend() {
    let flat = dispersion(&fed(4000, 1, |_, _| 6.0).slots(15.0), 150.0).unwrap();
    assert!((flat.index - 1.0).abs() < 0.07, "{flat:?}");
    let day =
        |t: f64, _: &mut StdRng| 6.0 * (1.0 + 0.6 * (t / 86_400.0 * std::f64::consts::TAU).sin());
    for scale in [15.0, 60.0] {
        let diurnal = dispersion(&fed(8000, 2, day).slots(scale), 150.0).unwrap();
        assert!((diurnal.index - 1.0).abs() < 0.12, "{diurnal:?}");
    }
    let steps = |t: f64, _: &mut StdRng| {
        if (t / 3600.0) as u32 & 1 == 0 {
            4.0
        } else {
            12.0
        }
    };
    let steps = dispersion(&fed(4000, 3, steps).slots(15.0), 150.0).unwrap();
    assert!(steps.index < 1.4, "{steps:?}");
}

#[test]
fn a_gamma_mixed_rate_has_the_index_of_theory() {
    // N | r ~ Poisson(r τ), r ~ Gamma with variance v per slot: I = 1 + v τ / E r = 1 + 4 · 15 / 8.
    let gamma = Gamma::new(16.0, 0.5).unwrap();
    let window = fed(20_000, 4, |_, rng| gamma.sample(rng));
    let measured = dispersion(&window.slots(15.0), 150.0).unwrap();
    assert!((measured.index / 8.5 - 1.0).abs() < 0.08, "{measured:?}");
    assert!((measured.at(7.5) / 4.75 - 1.0).abs() < 0.08);
    assert!(measured.at(1e9) <= measured.at(60.0));
}

#[test]
fn evenly_spaced_arrivals_have_index_zero() {
    let mut window = CounterWindow::new(1e6, 1000);
    for i in 0..100 {
        window.observe(f64::from(i) * 15.0, f64::from(i) * 30.0);
    }
    assert_eq!(dispersion(&window.slots(15.0), 150.0).unwrap().index, 0.0);
    assert!(dispersion(&window.slots(15.0)[..7], 150.0).is_none());
}

const BOUNDS: [f64; 12] = [
    1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
];

#[derive(Default)]
struct Source {
    counts: Vec<f64>,
    count: f64,
    sum: f64,
}

impl Source {
    fn add(&mut self, value: f64) {
        self.counts.resize(BOUNDS.len(), 0.0);
        for (c, b) in self.counts.iter_mut().zip(BOUNDS) {
            *c += f64::from(u8::from(value <= b));
        }
        self.count += 1.0;
        self.sum += value;
    }

    fn scraped(&self) -> Scraped<'_> {
        Scraped {
            bounds: &BOUNDS,
            counts: &self.counts,
            count: self.count,
            sum: self.sum,
        }
    }
}

#[test]
fn a_lognormal_comes_back_with_its_mean_and_quantiles() {
    let mut rng = StdRng::seed_from_u64(5);
    let law = LogNormal::new(6.0, 0.8).unwrap();
    let (mut source, mut recent) = (Source::default(), RecentHistogram::new(600.0));
    source.add(1.0);
    recent.observe(0.0, &source.scraped());
    for i in 1..=200 {
        (0..100).for_each(|_| source.add(law.sample(&mut rng)));
        assert!(recent.observe(f64::from(i) * 15.0, &source.scraped()));
    }
    let mean = (6.0_f64 + 0.32).exp();
    assert!((recent.mean().unwrap() / mean - 1.0).abs() < 0.03);
    let points = recent.quantile_points(64);
    let average = points.iter().sum::<f64>() / 64.0;
    assert!((average / recent.mean().unwrap() - 1.0).abs() < 1e-9);
    for (i, z) in [(10, -0.977_f64), (32, 0.0195), (57, 1.272)] {
        let exact = (6.0 + 0.8 * z).exp();
        assert!(
            (points[i] / exact - 1.0).abs() < 0.15,
            "{i}: {} {exact}",
            points[i]
        );
    }
    let second = |p: &[f64]| p.iter().map(|x| x * x).sum::<f64>() / p.len() as f64;
    let ratio = second(&points) / (12.0_f64 + 1.28).exp();
    assert!((0.8..1.1).contains(&ratio), "second moment {ratio}");
}

#[test]
fn old_observations_fade_and_a_restart_loses_nothing_else() {
    let (mut source, mut recent) = (Source::default(), RecentHistogram::new(60.0));
    source.add(100.0);
    recent.observe(0.0, &source.scraped());
    (0..100).for_each(|_| source.add(100.0));
    recent.observe(15.0, &source.scraped());
    assert_eq!(recent.mean(), Some(100.0));
    assert!(
        !recent.observe(15.0, &source.scraped()),
        "the same time twice"
    );
    let mut restarted = Source::default();
    (0..30).for_each(|_| restarted.add(1000.0));
    assert!(recent.observe(615.0, &restarted.scraped()));
    assert!(
        (recent.mean().unwrap() - 997.1).abs() < 2.0,
        "{:?}",
        recent.mean()
    );
    assert!((recent.weight() - 30.1).abs() < 0.1);
}

#[test]
fn malformed_histograms_are_refused() {
    let mut recent = RecentHistogram::new(60.0);
    let case = |bounds: &'static [f64], counts: &'static [f64], count, sum| Scraped {
        bounds,
        counts,
        count,
        sum,
    };
    for bad in [
        case(&[], &[], 0.0, 0.0),
        case(&[f64::INFINITY], &[1.0], 1.0, 1.0),
        case(&[2.0, 1.0], &[1.0, 1.0], 1.0, 1.0),
        case(&[1.0, 2.0], &[1.0], 1.0, 1.0),
        case(&[1.0], &[f64::NAN], 1.0, 1.0),
        case(&[1.0], &[1.0], f64::NAN, 1.0),
        case(&[1.0], &[1.0], 1.0, -1.0),
    ] {
        assert!(!recent.observe(1.0, &bad), "{bad:?}");
    }
    assert_eq!(
        (recent.mean(), recent.quantile_points(8)),
        (None, Vec::new())
    );
}

fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..1e6,
        2 => -1e6..1e6,
        1 => any::<f64>(),
        1 => Just(f64::NAN),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn counters_never_give_nonsense(samples in prop::collection::vec((anything(), anything()), 0..60)) {
        let mut window = CounterWindow::new(1800.0, 128);
        for (at, value) in samples {
            window.observe(at, value);
            let now = window.newest().unwrap_or(0.0);
            for seconds in [0.0, 15.0, 1e4] {
                let rate = window.rate(now, seconds);
                prop_assert!(rate.is_none_or(|r| r >= 0.0 && !r.is_nan()));
            }
            let index = dispersion(&window.slots(15.0), 150.0);
            prop_assert!(index.is_none_or(|d| d.index >= 0.0 && d.index.is_finite() && d.at(30.0).is_finite()));
        }
    }

    #[test]
    fn histograms_never_give_nonsense(
        samples in prop::collection::vec((anything(), prop::collection::vec(anything(), 3), anything(), anything()), 0..40)
    ) {
        let mut recent = RecentHistogram::new(300.0);
        let mut rng = StdRng::seed_from_u64(6);
        for (at, counts, count, sum) in samples {
            let bounds = [1.0, 10.0, if rng.random::<f64>() < 0.9 { 100.0 } else { 200.0 }];
            recent.observe(at, &Scraped { bounds: &bounds, counts: &counts, count, sum });
            prop_assert!(recent.mean().is_none_or(|m| m >= 0.0 && !m.is_nan()));
            let points = recent.quantile_points(16);
            prop_assert!(points.iter().all(|p| *p >= 0.0 && !p.is_nan()), "{points:?}");
            prop_assert!(points.windows(2).all(|w| w[0] <= w[1]), "{points:?}");
        }
    }
}
