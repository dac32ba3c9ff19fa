//! Request shapes: exact means, nearly exact second moments, and texts that never panic.

use proptest::prelude::*;
use wva_models::shape::{CumulativeHistogram, Length, RequestShape, ShapeText};

fn close(a: f64, b: f64, relative: f64) -> bool {
    (a - b).abs() <= relative * a.abs().max(b.abs()).max(1e-300)
}

fn weights_sum_to_one(shape: &RequestShape) -> bool {
    close(shape.mean_of(|_| 1.0), 1.0, 1e-9)
}

#[test]
fn lognormal_keeps_mean_and_second_moment() {
    let shape = RequestShape::lognormal((1155.0, 1.2), (211.0, 0.9), None).expect("valid");
    assert!(close(shape.mean_input(), 1155.0, 1e-9));
    assert!(close(shape.mean_output(), 211.0, 1e-9));
    let square = |mean: f64, cv: f64| mean * mean * (1.0 + cv * cv);
    assert!(
        close(shape.mean_square_input(), square(1155.0, 1.2), 0.05),
        "{}",
        shape.mean_square_input() / square(1155.0, 1.2)
    );
    assert!(
        close(shape.mean_square_output(), square(211.0, 0.9), 0.05),
        "{}",
        shape.mean_square_output() / square(211.0, 0.9)
    );
    assert!(shape.points().len() <= 64);
}

#[test]
fn quantiles_of_lognormal_are_textbook() {
    // Median of a lognormal is mean / sqrt(1 + cv²).
    let length = Length::lognormal(1000.0, 1.0, None).expect("valid");
    assert!(close(length.quantile(0.5), 1000.0 / 2f64.sqrt(), 1e-9));
    let shape = RequestShape::lognormal((1000.0, 1.0), (100.0, 1.0), None).expect("valid");
    assert!(close(shape.input_quantile(0.5), 707.0, 0.3));
    // exp(μ + 2.326 σ): μ = ln 1000 − ln 2 / 2, σ² = ln 2.
    assert!(
        close(shape.input_quantile(0.99), 4905.0, 0.25),
        "{}",
        shape.input_quantile(0.99)
    );
}

#[test]
fn the_mean_holds_after_the_cut() {
    for length in [
        Length::lognormal(3000.0, 1.5, Some(8192.0)),
        Length::gamma(3000.0, 1.5, Some(8192.0)),
    ] {
        let length = length.expect("valid");
        assert!(close(length.mean(), 3000.0, 1e-6), "{}", length.mean());
        assert_eq!(length.quantile(0.999_999), 8192.0);
    }
}

#[test]
fn gamma_with_cv_one_is_exponential() {
    let length = Length::gamma(500.0, 1.0, None).expect("valid");
    assert!(close(length.quantile(0.5), 500.0 * 2f64.ln(), 1e-3));
    assert!(close(length.mean(), 500.0, 1e-9));
}

#[test]
fn uniform_has_its_moments() {
    let length = Length::uniform(500.0, 1500.0).expect("valid");
    let shape = RequestShape::independent(&length, &Length::fixed(1.0).expect("valid"), 0.0)
        .expect("valid");
    assert!(close(shape.mean_input(), 1000.0, 1e-9));
    assert!(close(shape.mean_square_input(), 13.0e6 / 12.0, 0.005));
}

#[test]
fn correlation_lengthens_the_answers_of_long_prompts() {
    let input = Length::lognormal(1000.0, 1.0, None).expect("valid");
    let output = Length::lognormal(200.0, 1.0, None).expect("valid");
    let cross = |rho: f64| {
        let shape = RequestShape::correlated(&input, &output, rho, 0.0).expect("valid");
        assert!(close(shape.mean_input(), 1000.0, 1e-9));
        assert!(close(shape.mean_output(), 200.0, 1e-9));
        shape.mean_of(|p| p.input * p.output)
    };
    // E[nm] of a bivariate lognormal: E[n]E[m]·e^{ρσ²}, σ² = ln 2.
    for rho in [-0.5, 0.0, 0.5, 0.9] {
        let exact = 2e5 * (rho * 2f64.ln()).exp();
        assert!(
            close(cross(rho), exact, 0.05),
            "{rho}: {} {exact}",
            cross(rho)
        );
    }
}

#[test]
fn a_mix_averages_by_weight() {
    let a = RequestShape::fixed(100.0, 10.0)
        .expect("valid")
        .with_prefix_hit(0.5)
        .expect("valid");
    let b = RequestShape::fixed(300.0, 30.0).expect("valid");
    let mix = RequestShape::mix(&[(1.0, &a), (3.0, &b)]).expect("valid");
    assert!(close(mix.mean_input(), 250.0, 1e-12));
    // 50 of 1000 input tokens hit.
    assert!(close(mix.prefix_hit(), 0.05, 1e-12));
    assert!(RequestShape::mix(&[(0.0, &a)]).is_err());
    assert!(RequestShape::mix(&[(f64::NAN, &a)]).is_err());
}

#[test]
fn buckets_partition_the_requests() {
    let shape = RequestShape::lognormal((1000.0, 1.0), (100.0, 1.0), None).expect("valid");
    let buckets = shape.buckets(&[500.0, 2000.0, 1e9]);
    assert_eq!(buckets.len(), 3, "the interval above 10⁹ is empty");
    assert!(close(buckets.iter().map(|b| b.share).sum(), 1.0, 1e-12));
    let mean: f64 = buckets.iter().map(|b| b.share * b.shape.mean_input()).sum();
    assert!(close(mean, shape.mean_input(), 1e-12));
    for b in &buckets {
        assert!(
            b.shape
                .points()
                .iter()
                .all(|p| p.input > b.above && p.input <= b.up_to)
        );
    }
}

#[test]
fn a_histogram_keeps_its_exact_mean() {
    let bounds = [
        1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0,
    ];
    let counts = [
        0.0, 0.0, 0.0, 1.0, 3.0, 20.0, 60.0, 150.0, 400.0, 700.0, 900.0, 990.0,
    ];
    let input = CumulativeHistogram {
        bounds: &bounds,
        counts: &counts,
        count: 1000.0,
        sum: 912_345.0,
    };
    let output = CumulativeHistogram {
        sum: 700_000.0,
        ..input
    };
    let shape = RequestShape::from_histograms(&input, &output, 0.1).expect("valid");
    assert!(close(shape.mean_input(), 912.345, 1e-9));
    assert!(close(shape.mean_output(), 700.0, 1e-9));
    assert!(shape.points().len() <= 64 && weights_sum_to_one(&shape));
    // About 40 % of the requests are below 500.
    assert!((300.0..700.0).contains(&shape.input_quantile(0.45)));
}

#[test]
fn absurd_histograms_are_refused() {
    let good = CumulativeHistogram {
        bounds: &[1.0, 10.0],
        counts: &[1.0, 2.0],
        count: 2.0,
        sum: 8.0,
    };
    for bad in [
        CumulativeHistogram { count: 0.0, ..good },
        CumulativeHistogram {
            sum: f64::NAN,
            ..good
        },
        CumulativeHistogram {
            counts: &[2.0, 1.0],
            ..good
        },
        CumulativeHistogram {
            counts: &[1.0],
            ..good
        },
        CumulativeHistogram {
            bounds: &[10.0, 1.0],
            ..good
        },
        CumulativeHistogram {
            bounds: &[1.0, f64::INFINITY],
            ..good
        },
        CumulativeHistogram { count: 1.0, ..good },
    ] {
        assert!(
            RequestShape::from_histograms(&bad, &good, 0.0).is_err(),
            "{bad:?}"
        );
    }
}

fn text(yaml: &str) -> Result<RequestShape, String> {
    serde_saphyr::from_str::<ShapeText>(yaml)
        .map_err(|e| e.to_string())?
        .shape()
        .map_err(|e| e.to_string())
}

#[test]
fn reads_every_form() {
    let shape = text("{input_tokens: {mean: 1155, cv: 1.2}, output_tokens: {mean: 211, cv: 0.9}, prefix_hit: 0.2}").expect("valid");
    assert!(close(shape.mean_input(), 1155.0, 1e-9));
    assert_eq!(shape.prefix_hit(), 0.2);
    let shape = text("{input_tokens: 100, output_tokens: {uniform: [10, 30]}}").expect("valid");
    assert!(close(shape.mean_output(), 20.0, 1e-9));
    let shape = text("{input_tokens: {mean: 100, cv: 1, family: gamma, max: 4096}, output_tokens: {mean: 7.5}, correlation: 0.5}").expect("valid");
    assert!(close(shape.mean_output(), 7.5, 1e-9));
}

#[test]
fn texts_survive_a_round_trip() {
    for yaml in [
        "{input_tokens: {mean: 1155, cv: 1.2}, output_tokens: {mean: 211, cv: 0.9, max: 1000}, prefix_hit: 0.2}",
        "{input_tokens: 100, output_tokens: {uniform: [10, 30]}, correlation: -0.5}",
        "{input_tokens: {mean: 100, cv: 1, family: gamma}, output_tokens: 3}",
    ] {
        let first: ShapeText = serde_saphyr::from_str(yaml).expect("valid");
        let again = serde_saphyr::to_string(&first).expect("serialises");
        assert_eq!(
            serde_saphyr::from_str::<ShapeText>(&again).expect("valid"),
            first,
            "{again}"
        );
    }
}

#[test]
fn says_what_is_wrong() {
    for (yaml, words) in [
        (
            "{input_tokens: -5, output_tokens: 3}",
            "tokens of a request shape must be between 1 and 10⁹ tokens, not -5",
        ),
        ("{input_tokens: .nan, output_tokens: 3}", ".nan"),
        (
            "{input_tokens: {mean: 10, cv: .nan}, output_tokens: 3}",
            "between 0 and 20",
        ),
        (
            "{input_tokens: {mean: 9000, cv: 1, max: 8192}, output_tokens: 3}",
            "must be less than max (8192)",
        ),
        (
            "{input_tokens: {uniform: [30, 10]}, output_tokens: 3}",
            "must be less than its high end (10)",
        ),
        (
            "{input_tokens: {uniform: [30, 10], mean: 3}, output_tokens: 3}",
            "a length is a number",
        ),
        (
            "{input_tokens: {mean: 30, max: 3}, output_tokens: 3}",
            "coefficient of variation",
        ),
        (
            "{input_tokens: {mean: 30, cvv: 3}, output_tokens: 3}",
            "unknown field `cvv`",
        ),
        (
            "{input_tokens: long, output_tokens: 3}",
            "a number of tokens",
        ),
        (
            "{input_tokens: 3, output_tokens: 3, prefix_hit: 1.5}",
            "between 0 and 1",
        ),
        (
            "{input_tokens: 3, output_tokens: 3, correlation: 2}",
            "between -1 and 1",
        ),
        ("{input_tokens: 3}", "missing field `output_tokens`"),
    ] {
        let error = text(yaml).expect_err(yaml);
        assert!(error.contains(words), "{yaml}: {error}");
        assert!(error.contains("line 1"), "{yaml}: {error}");
    }
}

proptest! {
    #[test]
    fn compression_keeps_means_and_nearly_second_moments(
        samples in prop::collection::vec((1.0f64..1e5, 1.0f64..1e4), 1..400),
        limit in 48usize..128,
    ) {
        let shape = RequestShape::empirical(&samples, 0.3, limit).expect("valid");
        let n = samples.len() as f64;
        let mean = |f: &dyn Fn(&(f64, f64)) -> f64| samples.iter().map(f).sum::<f64>() / n;
        prop_assert!(shape.points().len() <= limit);
        prop_assert!(weights_sum_to_one(&shape));
        prop_assert!(close(shape.mean_input(), mean(&|s| s.0), 1e-9));
        prop_assert!(close(shape.mean_output(), mean(&|s| s.1), 1e-9));
        prop_assert!(close(shape.mean_square_input(), mean(&|s| s.0 * s.0), 0.04));
        prop_assert!(close(shape.mean_square_output(), mean(&|s| s.1 * s.1), 0.04));
        prop_assert!(close(shape.mean_of(|p| p.input * p.output), mean(&|s| s.0 * s.1), 0.04));
    }

    #[test]
    fn distributions_keep_their_mean(
        mean in 2.0f64..50_000.0, cv in 0.0f64..3.0, gamma in any::<bool>(), factor in 1.5f64..20.0, cut in any::<bool>(),
    ) {
        let max = cut.then_some(mean * factor);
        let length = if gamma { Length::gamma(mean, cv, max) } else { Length::lognormal(mean, cv, max) }.expect("valid");
        let shape = RequestShape::independent(&length, &Length::fixed(5.0).expect("valid"), 0.0).expect("valid");
        prop_assert!(weights_sum_to_one(&shape));
        prop_assert!(close(shape.mean_input(), mean, 1e-6), "{} {mean}", shape.mean_input());
        prop_assert!(max.is_none_or(|m| shape.points().iter().all(|p| p.input <= m * (1.0 + 1e-9))));
    }

    #[test]
    fn texts_never_panic(yaml in ".{0,200}") {
        let _ = text(&yaml);
    }
}

#[test]
fn extreme_but_legal_distributions_stay_finite() {
    for (mean, cv, max) in [
        (1.0, 20.0, None),
        (1e9, 20.0, None),
        (1e9, 0.002, None),
        (8191.0, 20.0, Some(8192.0)),
        (2.0, 20.0, Some(1e9)),
        (1.0, 1.0, Some(1.5)),
    ] {
        for length in [
            Length::lognormal(mean, cv, max),
            Length::gamma(mean, cv, max),
        ] {
            let length = length.expect("valid");
            let shape = RequestShape::independent(&length, &length, 0.0).expect("valid");
            assert!(shape.mean_square_input().is_finite(), "{length:?}");
            assert!(
                close(shape.mean_input(), length.mean(), 1e-6),
                "{length:?} {}",
                shape.mean_input()
            );
            assert!(length.quantile(0.5) >= 1.0 && length.quantile(0.0).is_finite());
        }
    }
    let huge = RequestShape::empirical(&vec![(1e300, 1.0); 100], 0.0, 64).expect("finite");
    assert!(close(huge.mean_input(), 1e300, 1e-9));
}
