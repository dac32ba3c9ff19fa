//! Generated and scaled traffic: rates, burstiness and sizes within confidence intervals.

use std::sync::Arc;

use rstest::rstest;
use wva_models::shape::{LengthFamily, LengthText, ShapeText};
use wva_models::units::Fraction;
use wva_simulations::request::{Request, RequestSource, Stream};
use wva_simulations::workload::arrivals::{ArrivalProcess, DAY, Diurnal, State};
use wva_simulations::workload::curve::{Between, Beyond, Knot, RateCurve};
use wva_simulations::workload::sizes::Sizes;
use wva_simulations::workload::statistics::Statistics;
use wva_simulations::workload::trace::{Recorded, Trace};
use wva_simulations::workload::traffic_file::Notes;
use wva_simulations::workload::{Source, Workload};

fn shape(correlation: Option<f64>) -> ShapeText {
    let length = |mean, cv| LengthText::Family {
        family: LengthFamily::Lognormal,
        mean,
        cv,
        max: None,
    };
    ShapeText {
        input_tokens: length(1000.0, 1.0),
        output_tokens: length(200.0, 0.8),
        correlation: correlation.map(|c| c.try_into().expect("a correlation")),
        prefix_hit: Fraction::ZERO,
    }
}

fn stream(class: &str) -> Stream {
    Stream {
        model: "m".to_owned(),
        class: class.to_owned(),
        prefix_hit: 0.0,
    }
}

fn drawn(arrivals: ArrivalProcess) -> Source {
    Source::Drawn {
        arrivals,
        sizes: Sizes::new(&shape(None)).expect("valid"),
    }
}

fn workload(seconds: f64, source: Source) -> Workload {
    let mut workload = Workload::new(seconds);
    workload.add(stream("c"), source);
    workload
}

fn statistics(seconds: f64, source: Source, seed: u64) -> Statistics {
    Statistics::of(workload(seconds, source).requests(seed), seconds)
}

fn constant(rate: f64, cv: f64) -> ArrivalProcess {
    ArrivalProcess::Renewal(RateCurve::constant(rate, cv).expect("valid"))
}

/// A gamma renewal process has asymptotic dispersion cv², reached in windows of many gaps.
#[rstest]
#[case(0.0, 0.0)]
#[case(0.5, 0.25)]
#[case(1.0, 1.0)]
#[case(2.0, 4.0)]
#[case(4.0, 16.0)]
fn renewal_keeps_rate_and_dispersion(#[case] cv: f64, #[case] dispersion: f64) {
    let seconds = 200_000.0;
    let found = statistics(seconds, drawn(constant(5.0, cv)), 3);
    // Standard error of the rate: cv·√(rate/seconds).
    let error = 4.0 * cv * (5.0 / seconds).sqrt() + 1e-4;
    assert!((found.mean_rps - 5.0).abs() < error, "{}", found.mean_rps);
    let at_600 = found.dispersion[3].index.expect("enough windows");
    // 333 windows: the relative standard error of a variance is about √(2/333) = 8 %.
    assert!(
        (at_600 - dispersion).abs() <= 0.35 * dispersion + 0.01,
        "{at_600}"
    );
    assert!((found.gap_cv2.expect("gaps") - cv * cv).abs() <= 0.1 * cv * cv + 1e-9);
}

#[test]
fn switching_disperses_more_in_longer_windows() {
    let states = vec![
        State {
            rate: 2.0,
            mean_stay: 300.0,
        },
        State {
            rate: 12.0,
            mean_stay: 60.0,
        },
    ];
    let process = ArrivalProcess::switching(states).expect("valid");
    assert!((process.expected(360.0) - 1320.0).abs() < 1e-9);
    let found = statistics(400_000.0, drawn(process), 5);
    assert!(
        (found.mean_rps - 11.0 / 3.0).abs() < 0.25,
        "{}",
        found.mean_rps
    );
    let index: Vec<f64> = found.dispersion.iter().filter_map(|d| d.index).collect();
    assert!(index.windows(2).all(|w| w[1] > w[0]), "{index:?}");
    // σ² = 10²·(5/6)(1/6), decay 1/300 + 1/60 = 0.02/s: I(t) = 1 + 2σ²/(λβ)·(1 − (1 − e^{−βt})/(βt)).
    let theory = |t: f64| {
        let (variance, decay) = (100.0 * 5.0 / 36.0, 0.02 * t);
        1.0 + 2.0 * variance / (11.0 / 3.0) / 0.02 * (1.0 - (1.0 - (-decay).exp()) / decay)
    };
    for d in &found.dispersion[..3] {
        let (found, theory) = (d.index.expect("enough"), theory(d.window_seconds));
        assert!((found / theory - 1.0).abs() < 0.15, "{found} {theory}");
    }
}

#[test]
fn a_day_has_its_mean_and_its_peak() {
    let diurnal = Diurnal {
        mean_rate: 4.0,
        peak_to_mean: 2.5,
        peak_hour: 15.0,
        weekend_to_weekday: None,
        cv: 1.0,
    };
    let curve = diurnal.curve().expect("valid");
    assert!((curve.expected(DAY) / DAY - 4.0).abs() < 1e-6);
    assert!((curve.rate(15.0 * 3600.0) - 10.0).abs() < 1e-6);
    assert!((0..288).all(|i| curve.rate(f64::from(i) * 300.0) <= 10.0 + 1e-9));
    let week = Diurnal {
        weekend_to_weekday: Some(0.4),
        ..diurnal
    }
    .curve()
    .expect("valid");
    assert!((week.expected(7.0 * DAY) / (7.0 * DAY) - 4.0).abs() < 1e-6);
    let ratio = week.rate(5.0 * DAY + 54_000.0) / week.rate(54_000.0);
    assert!((ratio - 0.4).abs() < 1e-9);
    let hourly = statistics(DAY, drawn(ArrivalProcess::Renewal(curve)), 1);
    assert!((hourly.mean_rps - 4.0).abs() < 0.05, "{}", hourly.mean_rps);
}

#[test]
fn arrivals_follow_a_ramp() {
    let knot = |at, rate| Knot { at, rate, cv: 2.0 };
    let knots = vec![knot(0.0, 0.0), knot(5000.0, 20.0), knot(5001.0, 0.0)];
    let ramp = RateCurve::new(knots, Between::Joined, Beyond::Lasts).expect("valid");
    let workload = workload(10_000.0, drawn(ArrivalProcess::Renewal(ramp)));
    let times: Vec<f64> = workload.requests(1).map(|r| r.at.seconds()).collect();
    assert!(
        (times.len() as f64 - 50_010.0).abs() < 2000.0,
        "{}",
        times.len()
    );
    let early = times.iter().filter(|&&t| t < 2500.0).count() as f64;
    assert!((early / times.len() as f64 - 0.25).abs() < 0.02);
    assert!(times.iter().all(|&t| t < 5001.0));
}

#[test]
fn sizes_have_their_means_and_their_correlation() {
    for (correlation, least, most) in [(None, -0.05, 0.05), (Some(0.8), 0.6, 0.85)] {
        let source = Source::Drawn {
            arrivals: constant(10.0, 1.0),
            sizes: Sizes::new(&shape(correlation)).expect("valid"),
        };
        let requests: Vec<Request> = workload(3000.0, source).requests(4).collect();
        let n = requests.len() as f64;
        let mean = |f: &dyn Fn(&Request) -> f64| requests.iter().map(f).sum::<f64>() / n;
        let (input, output) = (
            mean(&|r| f64::from(r.input)),
            mean(&|r| f64::from(r.output)),
        );
        assert!((input / 1000.0 - 1.0).abs() < 0.03, "{input}");
        assert!((output / 200.0 - 1.0).abs() < 0.03, "{output}");
        let (x, y) = (
            mean(&|r| f64::from(r.input).ln()),
            mean(&|r| f64::from(r.output).ln()),
        );
        let (dx, dy) = (
            |r: &Request| f64::from(r.input).ln() - x,
            |r: &Request| f64::from(r.output).ln() - y,
        );
        let found =
            mean(&|r| dx(r) * dy(r)) / (mean(&|r| dx(r).powi(2)) * mean(&|r| dy(r).powi(2))).sqrt();
        assert!((least..most).contains(&found), "{found}");
    }
}

#[test]
fn the_same_seed_gives_the_same_requests_and_streams_do_not_disturb_each_other() {
    let mut two = workload(500.0, drawn(constant(5.0, 1.5)));
    let one: Vec<Request> = two.requests(9).collect();
    assert_eq!(one, two.requests(9).collect::<Vec<_>>());
    assert_ne!(one, two.requests(10).collect::<Vec<_>>());
    two.add(stream("d"), drawn(constant(7.0, 1.0)));
    let both: Vec<Request> = two.requests(9).collect();
    assert!(both.is_sorted_by_key(|r| r.at));
    assert_eq!(
        one,
        both.into_iter()
            .filter(|r| r.stream == 0)
            .collect::<Vec<_>>()
    );
    assert_eq!(two.streams().len(), 2);
    two.add(stream("c"), drawn(constant(1.0, 1.0)));
    assert_eq!(
        two.streams().len(),
        2,
        "several sources may feed one stream"
    );
}

/// Recorded traffic with a rate that wanders between 2 and 10 every two minutes.
fn bursty_trace(seconds: f64) -> Trace {
    let states = vec![
        State {
            rate: 2.0,
            mean_stay: 120.0,
        },
        State {
            rate: 10.0,
            mean_stay: 120.0,
        },
    ];
    let source = drawn(ArrivalProcess::switching(states).expect("valid"));
    let generated = workload(seconds, source);
    let recorded = generated.requests(11).map(|r| Recorded {
        at: r.at.0,
        input: r.input,
        output: r.output,
        hash_ids: Some([1, u64::from(r.input)].into()),
    });
    Trace::new(recorded.collect(), Notes::default())
}

/// Scaling multiplies the rate, and in windows of minutes the excess of the dispersion over 1.
#[rstest]
#[case(0.25)]
#[case(0.7)]
#[case(1.0)]
#[case(2.5)]
#[case(6.0)]
fn scaling_a_trace_keeps_its_burstiness(#[case] factor: f64) {
    let seconds = 40_000.0;
    let trace = Arc::new(bursty_trace(seconds));
    let source = |factor| Source::Recorded {
        trace: trace.clone(),
        factor,
    };
    let before = statistics(seconds, source(1.0), 1);
    let after = statistics(seconds, source(1.0).scaled(factor).expect("valid"), 1);
    assert!((after.mean_rps / before.mean_rps / factor - 1.0).abs() < 0.02);
    let excess = |s: &Statistics| s.dispersion[2].index.expect("enough") - 1.0;
    let ratio = excess(&after) / excess(&before) / factor;
    // Copies moved by up to 30 s agree less at 60 s than one trace with itself.
    assert!((0.6..1.15).contains(&ratio), "{ratio}");
    let (a, b) = (
        after.shape.expect("requests"),
        before.shape.expect("requests"),
    );
    assert!((a.mean_input() / b.mean_input() - 1.0).abs() < 0.03);
}

#[test]
fn an_unscaled_trace_is_played_as_it_is_and_copies_have_their_own_prefixes() {
    let trace = Arc::new(bursty_trace(2000.0));
    let play = |factor| {
        let source = Source::Recorded {
            trace: trace.clone(),
            factor,
        };
        workload(3000.0, source).requests(2).collect::<Vec<_>>()
    };
    let once = play(1.0);
    assert_eq!(once.len(), trace.recorded().len());
    assert!(
        once.iter()
            .zip(trace.recorded())
            .all(|(a, b)| a.at.0 == b.at && a.hash_ids == b.hash_ids)
    );
    let twice = play(2.0);
    assert_eq!(twice.len(), 2 * once.len());
    let shared = twice
        .iter()
        .filter(|r| r.hash_ids.as_ref().is_some_and(|h| h[0] == 1))
        .count();
    assert_eq!(shared, once.len());
}

#[test]
fn a_workload_ends_when_it_should() {
    let trace = Arc::new(bursty_trace(2000.0));
    let mut workload = Workload::new(1000.0);
    workload.add(stream("c"), Source::Recorded { trace, factor: 1.0 });
    workload.add(stream("d"), drawn(constant(3.0, 1.0)));
    assert!(workload.requests(1).all(|r| r.at.seconds() < 1000.0));
    let count = workload.requests(1).count() as f64;
    assert!((count - workload.expected()).abs() < 250.0);
}
