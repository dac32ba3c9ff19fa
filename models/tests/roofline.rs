//! The roofline prior against published fits, and the physical floors against arithmetic done by hand.

use proptest::prelude::*;
use wva_models::catalogue::Catalogue;
use wva_models::iteration::Composition;
use wva_models::model::Precision;
use wva_models::roofline::{PRIOR_CV, Roofline};
use wva_models::shape::{RequestShape, ShapePoint};
use wva_models::variant::EngineSettings;

fn engine(precision: Precision) -> EngineSettings {
    EngineSettings {
        precision,
        ..EngineSettings::default()
    }
}

fn with<T>(
    model: &str,
    accelerator: &str,
    tensor_parallel: u32,
    precision: Precision,
    f: impl Fn(Roofline<'_>) -> T,
) -> T {
    let c = Catalogue::builtin();
    f(Roofline {
        model: c.model(model).expect("built in"),
        accelerator: c.accelerator(accelerator).expect("built in"),
        tensor_parallel,
        engine: &engine(precision),
    })
}

/// Parameters fitted on a published rate sweep of vLLM with Llama 3.1 8B in bf16 on an H100-class device.
#[test]
fn the_prior_is_near_a_published_fit() {
    let law = with("llama-3.1-8b", "H100", 1, Precision::Bf16, |r| r.law());
    for (name, prior, fitted) in [
        ("a", law.overhead_s, 1.9e-3),
        ("floor", law.floor_s, 5.15e-3),
        ("b", law.per_token_s, 2.28e-5),
        ("g", law.per_kv_token_s, 4.1e-8),
        ("s", law.per_sequence_s, 2.3e-5),
        ("p", law.per_chunk_context_s, 8.3e-10),
        ("e", law.prefill_overhead_s, 5.9e-4),
        ("o", law.front_end_s, 11e-3),
    ] {
        assert!(
            (prior / fitted - 1.0).abs() < 0.15,
            "{name}: {prior} against {fitted}"
        );
    }
}

/// TPOT in ms that vLLM 0.19 reached at 1024 tokens in and out, fp8, by client concurrency (AIConfigurator, NVIDIA,
/// Apache-2.0). The prior has to be within its own coefficient of variation.
#[test]
fn the_prior_is_near_measured_decode_times() {
    for (model, device, tp, concurrency, measured) in [
        ("llama-3.1-70b", "H100", 4, 4.0, 11.8),
        ("llama-3.1-70b", "H100", 4, 64.0, 19.5),
        ("llama-3.1-70b", "H100", 8, 16.0, 11.4),
        ("llama-3.1-70b", "H200", 1, 8.0, 22.6),
        ("llama-3.1-70b", "H200", 8, 64.0, 12.7),
        ("llama-3.1-70b", "B200", 1, 32.0, 19.6),
        ("llama-3.1-70b", "B200", 8, 4.0, 6.3),
        ("minimax-m2", "H200", 8, 32.0, 13.7),
        ("minimax-m2", "H200", 8, 128.0, 23.2),
        ("minimax-m2", "H200", 4, 32.0, 20.4),
    ] {
        let law = with(model, device, tp, Precision::Fp8, |r| r.law());
        let decode = law.seconds(&Composition {
            tokens: concurrency,
            kv_tokens: concurrency * 1536.0,
            sequences: concurrency,
            ..Composition::default()
        });
        // As many prompt tokens as output tokens are computed between two tokens.
        let prefill = law.per_token_s * concurrency + law.per_chunk_context_s * concurrency * 512.0;
        let tpot = (decode + prefill) * 1e3;
        assert!(
            (tpot / measured - 1.0).abs() < 0.4,
            "{model} {device} tp{tp} {concurrency}: {tpot} {measured}"
        );
    }
}

#[test]
fn floors_are_arithmetic() {
    with("llama-3.1-8b", "H100", 1, Precision::Bf16, |r| {
        let request = ShapePoint {
            input: 1000.0,
            output: 200.0,
            weight: 1.0,
        };
        let itl = (8.03e9 * 2.0 + 1100.0 * 32.0 * 2.0 * 8.0 * 128.0 * 2.0) / 3.35e12;
        assert!((r.itl_floor(&request) / itl - 1.0).abs() < 1e-12);
        let ttft = 2.0 * 8.03e9 * 600.0 / 989e12;
        assert!((r.ttft_floor(&request, 0.4) / ttft - 1.0).abs() < 1e-12);
        let shape = RequestShape::fixed(1000.0, 200.0).expect("valid");
        assert!((r.mean_itl_floor(&shape) / itl - 1.0).abs() < 1e-12);
        assert!((r.mean_ttft_floor(&shape) / (ttft / 0.6) - 1.0).abs() < 1e-12);
    });
}

/// DeepSeek-V3 in fp8 on 8 × H200: one token reads about 37 of 671 GB; every rank holds the whole compressed cache.
#[test]
fn mixtures_and_mla_are_counted_right() {
    with("deepseek-v3", "H200", 8, Precision::Fp8, |r| {
        assert!((r.model.read_share(1.0) - 37.0 / 671.0).abs() < 1e-12);
        assert!(r.model.read_share(1e4) > 0.999_999);
        let per_token = 61.0 * 576.0 * 2.0;
        assert_eq!(r.model.kv_bytes_per_token(Precision::Bf16), per_token);
        assert_eq!(r.kv_tokens(), (r.memory().kv_cache() / per_token).floor());
    });
    // Mixtral: two of eight experts a token; eight tokens touch 1 − 0.75⁸ of them.
    with("mixtral-8x7b", "H100", 2, Precision::Bf16, |r| {
        let routed = (46.7 - 12.9) / 46.7 / 0.75;
        let share = 1.0 - routed * 0.75f64.powi(8);
        assert!((r.model.read_share(8.0) - share).abs() < 1e-12);
    });
}

#[test]
fn fp8_runs_in_16_bit_where_there_are_no_fp8_units() {
    let b = |device: &str, p| with("llama-3.1-8b", device, 1, p, |r| r.law().per_token_s);
    assert!(b("H100", Precision::Fp8) < 0.51 * b("H100", Precision::Bf16));
    assert_eq!(
        b("A100-80GB", Precision::Fp8),
        b("A100-80GB", Precision::Bf16)
    );
    assert_eq!(b("H100", Precision::Int4), b("H100", Precision::Bf16));
}

#[test]
fn splitting_over_a_slow_link_or_nodes_costs() {
    let law = |device: &str, tp| with("llama-3.1-70b", device, tp, Precision::Bf16, |r| r.law());
    // PCIe against NVLink: the all-reduce eats most of what the second half of the devices brings to prefill.
    let gain = |device: &str| law(device, 4).per_token_s / law(device, 8).per_token_s;
    assert!(gain("L40S") < 1.5, "{}", gain("L40S"));
    assert!(gain("H100") > 1.6, "{}", gain("H100"));
    assert!(law("H100", 16).overhead_s > 1.5 * law("H100", 8).overhead_s);
    assert!(with("llama-3.1-70b", "H100", 16, Precision::Bf16, |r| r
        .crosses_nodes()));
}

#[test]
fn the_prior_admits_its_ignorance() {
    assert!(PRIOR_CV.iter().all(|cv| (0.3..=0.5).contains(cv)));
}

proptest! {
    /// No prior beats physics, whatever the pair: decode of one sequence takes at least the ITL floor, a prefill at least
    /// the TTFT floor; and a mixture's read share lies between active and all parameters and grows with the batch.
    #[test]
    fn the_prior_never_beats_the_floor(
        model in any::<prop::sample::Index>(), device in any::<prop::sample::Index>(), split in 0u32..5,
        input in 1.0f64..1e5, output in 1.0f64..1e4,
    ) {
        let c = Catalogue::builtin();
        let model = model.get(&c.models);
        let r = Roofline { model, accelerator: device.get(&c.accelerators), tensor_parallel: 1 << split, engine: &engine(model.precision) };
        let request = ShapePoint { input, output, weight: 1.0 };
        let law = r.law();
        let decode = Composition { tokens: 1.0, kv_tokens: input + output / 2.0, sequences: 1.0, ..Composition::default() };
        prop_assert!(law.seconds(&decode) >= r.itl_floor(&request));
        let prefill = Composition { tokens: input, chunk_context: input * input / 2.0, sequences: 1.0, any_prefill: true, ..Composition::default() };
        prop_assert!(law.seconds(&prefill) >= r.ttft_floor(&request, 0.0));
        prop_assert!(r.kv_tokens() >= 0.0);
        let active = model.active_parameters() / (model.parameters_b * 1e9);
        prop_assert!((model.read_share(1.0) - active).abs() < 1e-9);
        prop_assert!(model.read_share(output) <= model.read_share(output + 1.0) && model.read_share(1e9) <= 1.0);
    }

    /// More devices never leave less cache per replica, and never make an iteration's compute slower within a node.
    #[test]
    fn more_devices_help_within_a_node(model in any::<prop::sample::Index>(), device in any::<prop::sample::Index>(), split in 0u32..3) {
        let c = Catalogue::builtin();
        let model = model.get(&c.models);
        let settings = engine(model.precision);
        let at = |tp| Roofline { model, accelerator: device.get(&c.accelerators), tensor_parallel: tp, engine: &settings };
        let (few, many) = (at(1 << split), at(2 << split));
        prop_assert!(many.kv_tokens() >= few.kv_tokens());
        prop_assert!(many.law().floor_s < few.law().floor_s);
    }
}
