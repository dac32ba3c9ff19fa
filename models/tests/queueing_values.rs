//! Queueing models against published and independently computed values, to relative 1e-6 or better.
//!
//! Where a published value has fewer digits than that, the reference was computed from the cited
//! formula in 40- to 60-digit arithmetic.

use rstest::rstest;
use wva_models::queueing::birth_death::BirthDeath;
use wva_models::queueing::burstiness::{Hayward, index_of_dispersion, kingman_wait};
use wva_models::queueing::erlang::{Mmc, erlang_b, erlang_c};
use wva_models::queueing::mg1::{Mg1, ServiceTime};
use wva_models::queueing::mm1k::Mm1k;

#[track_caller]
fn close(actual: f64, expected: f64, relative: f64) {
    let error = (actual - expected).abs();
    assert!(
        error <= relative * expected.abs(),
        "{actual:.17} differs from {expected:.17} by {:.1e}",
        error / expected.abs()
    );
}

/// Kleinrock vol. 1 §3.6, by the defining sum of ρ^k in 40 digits; the last five rows sit where the
/// closed form cancels or overflows.
#[rstest]
#[case(0.5, 5, 0.015_873_015_873_015_873, 0.904_761_904_761_904_8)]
#[case(0.8, 10, 0.023_492_857_579_905_606, 2.966_314_266_484_153_4)]
#[case(1.0, 10, 0.090_909_090_909_090_91, 5.0)]
#[case(0.9, 20, 0.013_651_386_354_174_415, 6.419_887_979_061_036)]
#[case(2.0, 5, 0.507_936_507_936_507_9, 4.095_238_095_238_095)]
#[case(0.999_999, 10_000, 9.949_088_391_146_916e-5, 4_991.665_009_726_93)]
#[case(1.000_000_1, 1_000, 9.990_509_498_801_2e-4, 500.008_349_999_581_1)]
#[case(1.01, 10_000, 0.009_900_990_099_009_901, 9_900.0)]
#[case(0.9999, 10_000, 5.818_968_102_508_313e-5, 4_180.031_955_681_368)]
#[case(1.3, 10_000, 0.230_769_230_769_230_77, 9_996.666_666_666_666)]
fn mm1k(#[case] load: f64, #[case] capacity: usize, #[case] blocking: f64, #[case] mean: f64) {
    let queue = Mm1k::new(load, 1.0, capacity).unwrap();
    close(queue.blocking(), blocking, 1e-11);
    close(queue.mean_in_system(), mean, 1e-11);
    close(queue.throughput(), load * (1.0 - blocking), 1e-11);
    close(queue.mean_residence(), mean / queue.throughput(), 1e-11);
    let total: f64 = (0..=capacity).map(|k| queue.probability(k)).sum();
    close(total, 1.0, 1e-11);
}

#[test]
fn mm1k_without_arrivals_is_empty() {
    let queue = Mm1k::new(0.0, 2.0, 3).unwrap();
    assert_eq!(
        (
            queue.probability(0),
            queue.probability(1),
            queue.probability(4)
        ),
        (1.0, 0.0, 0.0)
    );
    assert_eq!(
        (
            queue.mean_in_system(),
            queue.throughput(),
            queue.mean_wait()
        ),
        (0.0, 0.0, 0.0)
    );
    assert_eq!(queue.mean_residence(), 0.5);
}

/// Product form of μ = min(k, 3), in exact fractions of 148.
#[test]
fn state_dependent_chain() {
    let mut chain = BirthDeath::new();
    let equilibrium = chain.solve(1.0, &[1.0, 2.0, 3.0, 3.0, 3.0]).unwrap();
    for (k, numerator) in [54.0, 54.0, 27.0, 9.0, 3.0, 1.0].into_iter().enumerate() {
        close(equilibrium.probabilities()[k], numerator / 148.0, 1e-14);
    }
    close(equilibrium.mean_in_system(), 152.0 / 148.0, 1e-14);
    close(equilibrium.throughput(), 147.0 / 148.0, 1e-14);
    close(equilibrium.blocking(), 1.0 / 148.0, 1e-14);
    let delays = equilibrium.mean_delays(3).unwrap();
    close(delays.service, 1.0, 1e-14);
    close(delays.wait, 0.034_013_605_442_176_87, 1e-14);
    close(delays.residence, 152.0 / 147.0, 1e-14);
}

/// Gross et al. §2.3–2.4, by the recursion in 40 digits.
#[rstest]
#[case(2, 1.6, 0.329_896_907_216_494_85, 0.711_111_111_111_111_1)]
#[case(5, 4.0, 0.199_066_874_027_993_78, 0.554_112_554_112_554_1)]
#[case(10, 8.0, 0.121_661_064_252_951_5, 0.409_180_150_796_443_5)]
#[case(20, 16.0, 0.064_410_924_781_569_91, 0.256_077_793_839_057_9)]
#[case(100, 90.0, 0.026_957_380_464_359_215, 0.216_940_480_906_366_4)]
#[case(1_000, 950.0, 0.003_649_293_688_942_41, 0.068_253_415_377_141_42)]
#[case(10_000, 9_900.0, 0.002_858_126_738_856_586_4, 0.222_776_928_864_148_24)]
fn erlang(#[case] servers: usize, #[case] load: f64, #[case] loss: f64, #[case] delay: f64) {
    close(erlang_b(servers, load).unwrap(), loss, 1e-11);
    close(
        erlang_c(servers, load).unwrap().stable().unwrap(),
        delay,
        1e-10,
    );
}

/// Erlang B is the last probability of a Poisson distribution cut off at c: an independent route.
#[test]
fn erlang_b_is_a_truncated_poisson() {
    use statrs::distribution::{Discrete, DiscreteCDF, Poisson};
    for (servers, load) in [(3, 0.7), (12, 15.0), (60, 40.0)] {
        let poisson = Poisson::new(load).unwrap();
        let expected = poisson.pmf(servers) / poisson.cdf(servers);
        close(erlang_b(servers as usize, load).unwrap(), expected, 1e-10);
    }
}

/// Exponential waits given that there is one, Gross et al. §2.3; Allen §5.3 for the last line.
#[test]
fn percentiles_of_mm1_and_mm10() {
    let single = Mmc::new(0.8, 1.0, 1).unwrap().stable().unwrap();
    close(
        single.wait_quantile(0.95).unwrap(),
        13.862_943_611_198_906,
        1e-13,
    );
    close(single.mean_wait(), 4.0, 1e-13);
    assert_eq!(single.wait_quantile(0.2).unwrap(), 0.0);
    let ten = Mmc::new(8.0, 1.0, 10).unwrap().stable().unwrap();
    close(
        ten.wait_quantile(0.95).unwrap(),
        1.051_066_260_066_368_4,
        1e-12,
    );
    close(
        ten.wait_quantile(0.99).unwrap(),
        1.855_785_216_283_418_5,
        1e-12,
    );
    close(ten.wait_survival(1.855_785_216_283_418_5), 0.01, 1e-12);
    close(
        ten.allen_cunneen_wait(4.0, 1.0).unwrap(),
        0.511_475_188_495_554_4,
        1e-12,
    );
}

/// Pollaczek–Khinchine at ρ = 0.8 and E\[S\] = 1: (1 + c_s²)·2; Kingman agrees where c_a² = 1.
#[rstest]
#[case(ServiceTime::deterministic(1.0).unwrap(), 2.0)]
#[case(ServiceTime::exponential(1.0).unwrap(), 4.0)]
#[case(ServiceTime::gamma(1.0, 4.0).unwrap(), 10.0)]
#[case(ServiceTime::empirical([(0.0, 0.8), (5.0, 0.2)]).unwrap(), 10.0)]
fn pollaczek_khinchine(#[case] service: ServiceTime, #[case] expected: f64) {
    let queue = Mg1::new(0.8, &service).unwrap().stable().unwrap();
    close(queue.mean_wait(), expected, 1e-13);
    close(queue.mean_residence(), expected + 1.0, 1e-13);
    let kingman = kingman_wait(0.8, 1.0, 1.0, service.scv())
        .unwrap()
        .stable()
        .unwrap();
    close(kingman, expected, 1e-13);
}

/// The forms in which DistServe (Zhong et al., OSDI 2024, §3) states the mean prefill latency of equal
/// prompts, a pass of D seconds at R requests per second: alone, D + RD²/(2(1 − RD)); shared among
/// chips, D/K; in two pipeline stages, a stage being free again after D/2.
#[test]
fn distserve_prefill_forms_are_md1() {
    let (rate, pass, speedup) = (1.5, 0.4, 1.7);
    let mean_wait = |service: f64| {
        let service = ServiceTime::deterministic(service).unwrap();
        Mg1::new(rate, &service)
            .unwrap()
            .stable()
            .unwrap()
            .mean_wait()
    };
    let load = rate * pass;
    close(mean_wait(pass), load * pass / (2.0 * (1.0 - load)), 1e-13);
    let shared = load * pass / (2.0 * speedup * (speedup - load));
    close(mean_wait(pass / speedup), shared, 1e-13);
    close(
        mean_wait(pass / 2.0),
        load * pass / (4.0 * (2.0 - load)),
        1e-13,
    );
}

/// M/D/1 waits from Erlang's exact finite sum (1 − ρ)Σ_{k≤t} (ρ(k−t))^k e^{−ρ(k−t)}/k! (Gross et al.
/// §5.1), solved in 60 digits. The hardest case for a Fourier method: kinks at 1, 2, ….
#[rstest]
#[case(0.5, [2.050_638_407_302_648, 3.336_255_957_002_204, 5.168_385_030_961_704])]
#[case(0.8, [6.620_324_996_840_724, 10.355_886_791_994_953, 15.700_268_194_066_434])]
#[case(0.9, [14.128_673_830_202_128, 21.898_237_349_540_11, 33.013_969_743_119_3])]
fn md1_percentiles(#[case] load: f64, #[case] expected: [f64; 3]) {
    let service = ServiceTime::deterministic(1.0).unwrap();
    let queue = Mg1::new(load, &service).unwrap().stable().unwrap();
    for (level, expected) in [0.95, 0.99, 0.999].into_iter().zip(expected) {
        close(queue.wait_quantile(level).unwrap(), expected, 2e-7);
    }
}

/// The same sum as a distribution function, within and beyond the first service times.
#[test]
fn md1_distribution() {
    let service = ServiceTime::deterministic(1.0).unwrap();
    let queue = Mg1::new(0.8, &service).unwrap().stable().unwrap();
    let expected = [
        (0.5, 0.298_364_939_528_254_06),
        (1.0, 0.445_108_185_698_492_5),
        (2.5, 0.704_852_353_491_619),
        (7.0, 0.957_545_086_187_032_2),
    ];
    for (time, probability) in expected {
        close(queue.wait_cdf(time), probability, 1e-7);
    }
    close(queue.wait_cdf(0.0), 0.2, 1e-15);
    assert_eq!(queue.wait_cdf(-1.0), 0.0);
    assert_eq!(queue.wait_cdf(f64::INFINITY), 1.0);
    assert_eq!(queue.wait_quantile(0.2).unwrap(), 0.0);
}

/// M/M/1: the wait is exponential, P(W > t) = ρe^{−(μ−λ)t}, and so is its asymptote. The sojourn
/// percentile is that of an exponential of rate μ − λ: 14.97866 at ρ = 0.8.
#[test]
fn mm1_as_mg1() {
    let service = ServiceTime::exponential(1.0).unwrap();
    for load in [0.05, 0.5, 0.8, 0.95, 0.99] {
        let queue = Mg1::new(load, &service).unwrap().stable().unwrap();
        close(queue.tail().decay, 1.0 - load, 1e-11);
        close(queue.tail().constant, load, 1e-11);
        for time in [0.01, 0.7, 3.0, 20.0, 300.0] {
            let expected = load * (-(1.0 - load) * time).exp();
            let error = (queue.wait_survival(time) - expected).abs();
            assert!(error <= 1e-8 * expected + 1e-10, "{load} {time} {error:e}");
        }
    }
    let queue = Mg1::new(0.8, &service).unwrap().stable().unwrap();
    close(
        queue.wait_quantile(0.95).unwrap(),
        13.862_943_611_198_906,
        1e-8,
    );
    close(
        20.0_f64.ln() / queue.tail().decay,
        14.978_661_367_769_955,
        1e-11,
    );
}

/// M/E₂/1 at ρ = 0.8, by partial fractions of its rational transform in 60 digits.
#[test]
fn erlang_service_as_mg1() {
    let service = ServiceTime::gamma(1.0, 0.5).unwrap();
    let queue = Mg1::new(0.8, &service).unwrap().stable().unwrap();
    let expected = [
        (0.5, 0.711_974_498_221_645_2),
        (1.0, 0.624_302_571_859_978_2),
        (4.0, 0.275_470_450_292_507_3),
        (10.0, 0.053_430_434_747_697_16),
    ];
    for (time, survival) in expected {
        close(queue.wait_survival(time), survival, 1e-8);
    }
    close(
        queue.wait_quantile(0.95).unwrap(),
        10.242_756_527_978_25,
        1e-7,
    );
    close(
        queue.wait_quantile(0.99).unwrap(),
        16.130_583_192_304_995,
        1e-7,
    );
}

/// Root of ρ(e^s − 1) = s and (1 − ρ)/(ρe^s − 1), in 40 digits (Asmussen §XIII.5).
#[rstest]
#[case(0.5, 1.256_431_208_626_169_7, 0.660_998_639_794_489_7)]
#[case(0.8, 0.430_842_209_784_259, 0.866_392_676_568_624)]
#[case(0.9, 0.207_146_502_944_249_96, 0.933_301_575_432_953_8)]
fn cramer_root_of_md1(#[case] load: f64, #[case] decay: f64, #[case] constant: f64) {
    let service = ServiceTime::deterministic(1.0).unwrap();
    let tail = Mg1::new(load, &service).unwrap().stable().unwrap().tail();
    close(tail.decay, decay, 1e-12);
    close(tail.constant, constant, 1e-11);
}

/// A lognormal below a cap keeps its partial moments: E[S; S ≤ c] = e^{m+σ²/2}Φ((ln c − m)/σ − σ).
#[rstest]
#[case(0.3, 10.0)]
#[case(1.0, 8.0)]
#[case(1.0, 1e9)]
#[case(2.0, 500.0)]
fn truncated_lognormal_moments(#[case] spread: f64, #[case] cap: f64) {
    use statrs::distribution::{ContinuousCDF, Normal};
    let location = -0.5;
    let service = ServiceTime::truncated_lognormal(location, spread, cap, 64).unwrap();
    let normal = Normal::new(0.0, 1.0).unwrap();
    let top = (cap.ln() - location) / spread;
    let moment = |order: f64| {
        let free = (order * location + order * order * spread * spread / 2.0).exp();
        free * normal.cdf(top - order * spread) / normal.cdf(top)
    };
    close(service.mean(), moment(1.0), 1e-9);
    close(service.second_moment(), moment(2.0), 1e-9);
}

/// Quadrature points are a means, not a model: more of them hardly move a percentile.
#[test]
fn lognormal_percentile_does_not_depend_on_the_points() {
    let p99 = |points| {
        let service = ServiceTime::truncated_lognormal(-1.0, 0.8, 20.0, points).unwrap();
        let queue = Mg1::new(0.7 / service.mean(), &service)
            .unwrap()
            .stable()
            .unwrap();
        queue.wait_quantile(0.99).unwrap()
    };
    let reference = p99(512);
    close(p99(32), reference, 1e-3);
    close(p99(64), reference, 1e-4);
}

/// Pairs of arrivals, each pair Poisson, into exponential servers without limit: cut equations give
/// the number in system, whose variance over mean is Hayward's z exactly (I = 2 for pairs).
#[test]
fn hayward_peakedness_of_paired_arrivals() {
    let (pair_rate, states) = (3.0, 120);
    let mut weights = vec![1.0_f64];
    for k in 1..states {
        let below = if k >= 2 { weights[k - 2] } else { 0.0 };
        weights.push(pair_rate * (weights[k - 1] + below) / k as f64);
    }
    let total: f64 = weights.iter().sum();
    let moment = |order| {
        let terms = weights
            .iter()
            .enumerate()
            .map(|(k, w)| (k as f64).powi(order) * w);
        terms.sum::<f64>() / total
    };
    let mean = moment(1);
    let hayward = Hayward::new(2.0).unwrap();
    close(
        (moment(2) - mean * mean) / mean,
        hayward.peakedness(),
        1e-10,
    );
    close(hayward.arrival_rate(6.0), 4.0, 1e-15);
    close(hayward.service_rate(4, |k| k.min(5.0)), 5.0 / 1.5, 1e-15);
    assert_eq!(hayward.capacity(30), 20);
}

#[test]
fn dispersion_of_counts() {
    assert_eq!(index_of_dispersion([4, 4, 4]), Some(0.0));
    close(
        index_of_dispersion([2, 4, 6, 8]).unwrap(),
        20.0 / 3.0 / 5.0,
        1e-15,
    );
    assert_eq!(index_of_dispersion([7]), None);
    assert_eq!(index_of_dispersion([0, 0, 0]), None);
}
