//! The catalogue: built-in entries, short texts, every error with its place and remedy, and hostile input.

use proptest::prelude::*;
use wva_models::catalogue::{Catalogue, CatalogueError};
use wva_models::model::Precision;
use wva_models::service_class::{Promise, Statistic};
use wva_models::shape::RequestShape;
use wva_models::variant::Role;

fn parse(yaml: &str) -> Result<Catalogue, CatalogueError> {
    Catalogue::parse(yaml, "fleet.yaml")
}

/// The message of the error that `yaml` gives.
fn error(yaml: &str) -> String {
    parse(yaml).expect_err(yaml).to_string()
}

fn assert_error(yaml: &str, place: &str, words: &[&str]) {
    let message = error(yaml);
    assert!(
        message.starts_with(place),
        "{message}\nshould start with {place}"
    );
    for word in words {
        assert!(message.contains(word), "{message}\nshould contain {word}");
    }
}

const FULL: &str = "
accelerators:
  - name: H100
    price_per_hour_usd: 2.5
  - {name: Mine, memory_gb: 48, bandwidth_tb_s: 1, bf16_tflops: 200, price_per_hour_usd: 1}
models:
  - {name: tiny, parameters_b: 1.5, layers: 16, hidden_size: 2048, kv_heads: 8, head_dim: 64, max_context_tokens: 8192}
variants:
  - {model: llama-3.1-8b, accelerator: H100}
  - name: seventy
    model: llama-3.3-70b
    accelerator: H100
    tensor_parallel: 4
    engine: {precision: fp8, max_num_seqs: 128}
    min_replicas: 1
    max_replicas: 8
    start_up_seconds: 240
  - {model: tiny, accelerator: Mine, role: prefill}
  - {model: tiny, accelerator: Mine, role: decode, price_per_hour_usd: 0.9}
classes:
  - {name: chat, priority: 10, ttft_ms: {p99: 500, per_1k_input_tokens: 200}, itl_ms: {mean: 40}, e2e_ms: {p99.9: 60000}}
  - {name: nightly, deadline_seconds: 3600}
stock: {H100: 16, mine: 4}
";

#[test]
fn the_builtin_catalogue_is_rich_and_sourced() {
    let c = Catalogue::builtin();
    assert!(c.accelerators.len() >= 15, "{}", c.accelerators.len());
    assert!(c.models.len() >= 20, "{}", c.models.len());
    assert!(c.accelerators.iter().all(|a| !a.source.is_empty()));
    assert!(
        c.models
            .iter()
            .all(|m| !m.source.is_empty() && m.attention_heads.is_some())
    );
    assert!(c.variants.is_empty() && c.classes.is_empty() && c.stock.is_empty());
    for m in &c.models {
        assert!(m.active_parameters() <= m.parameters_b * 1e9, "{}", m.name);
        assert_eq!(
            m.active_parameters_b.is_some(),
            m.experts.is_some(),
            "{}",
            m.name
        );
    }
}

/// Per layer: attention projections and a gated MLP make up most of a dense model, so its parameters must exceed what the
/// attention alone needs. Catches figures copied to the wrong row.
#[test]
fn builtin_figures_are_consistent() {
    for m in &Catalogue::builtin().models {
        let attention = f64::from(m.layers) * 2.0 * m.attention_width() * f64::from(m.hidden_size);
        assert!(attention < m.parameters_b * 1e9, "{}", m.name);
        assert!(m.kv_bytes_per_token(Precision::Bf16) < 3e6, "{}", m.name);
    }
}

#[test]
fn names_match_as_people_and_labels_spell_them() {
    let c = Catalogue::builtin();
    for (name, canonical) in [
        ("h100", "H100"),
        ("NVIDIA-H100-80GB-HBM3", "H100"),
        ("NVIDIA-H100-NVL", "H100-NVL"),
        ("NVIDIA-A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla-T4", "T4"),
        ("tpu-v5-lite-podslice", "TPU-v5e"),
        ("AMD_Instinct_MI300X_OAM", "MI300X"),
    ] {
        assert_eq!(
            c.accelerator(name).map(|a| a.name.as_str()),
            Some(canonical),
            "{name}"
        );
    }
    for (name, canonical) in [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct", "llama-3.1-70b"),
        ("meta-llama/Llama-2-70b-chat-hf", "llama-2-70b"),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", "qwen3-235b-a22b"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1"),
        ("openai/gpt-oss-120b", "gpt-oss-120b"),
        ("google/gemma-3-27b-it", "gemma-3-27b"),
        ("MiniMaxAI/MiniMax-M2.5", "minimax-m2"),
    ] {
        assert_eq!(
            c.model(name).map(|m| m.name.as_str()),
            Some(canonical),
            "{name}"
        );
    }
    assert!(c.accelerator("H10").is_none() && c.model("llama").is_none());
}

#[test]
fn a_file_adds_aliases() {
    let c = parse("models: [{name: llama-3.1-8b, aliases: [our-chat-model]}]\nvariants: []")
        .expect("valid");
    assert_eq!(
        c.model("Our-Chat-Model").map(|m| m.name.as_str()),
        Some("llama-3.1-8b")
    );
    let c = parse("accelerators: [{name: H100, aliases: [pool-a]}]").expect("valid");
    assert_eq!(
        c.accelerator("NVIDIA-H100-80GB-HBM3")
            .map(|a| a.name.as_str()),
        Some("H100")
    );
    assert_eq!(
        c.accelerator("pool-a").map(|a| a.name.as_str()),
        Some("H100")
    );
}

/// No two entries answer to one name.
#[test]
fn builtin_names_are_unambiguous() {
    let c = Catalogue::builtin();
    for a in &c.accelerators {
        for name in std::iter::once(&a.name).chain(&a.aliases) {
            assert_eq!(
                c.accelerator(name).map(|x| &x.name),
                Some(&a.name),
                "{name}"
            );
        }
    }
    for m in &c.models {
        for name in std::iter::once(&m.name).chain(&m.aliases) {
            assert_eq!(c.model(name).map(|x| &x.name), Some(&m.name), "{name}");
        }
    }
}

#[test]
fn a_users_file_changes_only_what_it_names() {
    let c = parse(FULL).expect("valid");
    let h100 = c.accelerator("H100").expect("built in");
    assert_eq!(h100.price_per_hour_usd.map(f64::from), Some(2.5));
    assert_eq!(h100.bandwidth_tb_s, 3.35);
    assert_eq!(c.accelerator("Mine").map(|a| a.memory_gb), Some(48.0));
    assert_eq!(
        c.stock.get("Mine"),
        Some(&4),
        "the stock uses the catalogue's spelling"
    );
    let seventy = c.variant("seventy").expect("in the file");
    assert_eq!(
        (seventy.tensor_parallel, seventy.engine.max_num_seqs),
        (4, 128)
    );
    assert_eq!(seventy.engine.max_num_batched_tokens, 8192);
    assert_eq!(c.price_per_replica(seventy).get(), 10.0);
    let decode = c.variant("tiny-mine-decode").expect("generated");
    assert_eq!(
        (decode.role, c.price_per_replica(decode).get()),
        (Role::Decode, 0.9)
    );
    assert_eq!(c.variants_of("TINY").count(), 2);
    let chat = c.class("chat").expect("in the file");
    let slo = chat.slo().expect("interactive");
    let ttft = slo.ttft.expect("given");
    assert_eq!(ttft.statistic, Statistic::Quantile(0.99));
    assert!((ttft.limit_for(2000.0) - 0.9).abs() < 1e-12);
    assert_eq!(slo.itl.expect("given").statistic, Statistic::Mean);
    assert!(
        matches!(c.class("nightly").expect("in the file").promise, Promise::Batch { deadline } if deadline.get() == 3600.0)
    );
}

#[test]
fn a_variant_needs_only_model_and_accelerator() {
    let short = |model: &str, accelerator: &str| {
        let c = parse(&format!(
            "variants: [{{model: {model}, accelerator: {accelerator}}}]"
        ))
        .expect("valid");
        let v = c.variants[0].clone();
        (v.name, v.tensor_parallel, v.engine.precision)
    };
    let is = |name: &str, tp, precision| (name.to_owned(), tp, precision);
    assert_eq!(
        short("llama-3.1-8b", "H100"),
        is("llama-3.1-8b-h100", 1, Precision::Bf16)
    );
    assert_eq!(
        short("meta-llama/Llama-3.1-8B-Instruct", "nvidia-l4"),
        is("llama-3.1-8b-l4-tp2", 2, Precision::Bf16)
    );
    assert_eq!(
        short("llama-3.3-70b", "h100"),
        is("llama-3.3-70b-h100-tp4", 4, Precision::Bf16)
    );
    assert_eq!(
        short("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", "h100"),
        is("llama-3.3-70b-h100-tp2-fp8", 2, Precision::Fp8),
        "the id says fp8"
    );
    assert_eq!(
        short("gpt-oss-120b", "h100"),
        is("gpt-oss-120b-h100", 1, Precision::Int4)
    );
    assert_eq!(
        short("deepseek-r1", "h200"),
        is("deepseek-r1-h200-tp8", 8, Precision::Fp8)
    );
    assert_eq!(
        short("llama-3.1-405b", "h100"),
        is("llama-3.1-405b-h100-tp16", 16, Precision::Bf16)
    );
}

#[test]
fn the_published_kv_capacity_is_near() {
    // vLLM, Llama 3.1 8B, 80 GB device: about 437,000 tokens.
    let c = parse("variants: [{model: llama-3.1-8b, accelerator: H100}]").expect("valid");
    let tokens = c.replica_model(&c.variants[0]).limits.kv_tokens;
    assert!((tokens / 437_000.0 - 1.0).abs() < 0.03, "{tokens}");
}

#[test]
fn measured_laws_and_capacities_win() {
    let c = parse(
        "variants: [{model: llama-3.1-8b, accelerator: H100, engine: {kv_cache_tokens: 437000}, law: {overhead_s: 1.9e-3, \
         floor_s: 5.15e-3, per_token_s: 2.28e-5, per_kv_token_s: 4.1e-8, per_sequence_s: 2.3e-5, per_chunk_context_s: 8.3e-10, \
         prefill_overhead_s: 5.9e-4, front_end_s: 11e-3}}]",
    )
    .expect("valid");
    let replica = c.replica_model(&c.variants[0]);
    assert_eq!(replica.law.floor_s, 5.15e-3);
    assert_eq!(replica.limits.kv_tokens, 437_000.0);
}

#[test]
fn models_without_variants_are_offered_wherever_they_fit() {
    let c = parse("models: [{name: llama-3.1-8b}]").expect("valid");
    assert!(c.variants.len() >= 10, "{}", c.variants.len());
    assert!(
        c.variants
            .iter()
            .all(|v| c.price_per_replica(v).get() > 0.0)
    );
    let names = |yaml: &str| -> Vec<String> {
        parse(yaml)
            .expect("valid")
            .variants
            .into_iter()
            .map(|v| v.name)
            .collect()
    };
    assert_eq!(
        names("models: [{name: llama-3.1-8b}]\nstock: {L4: 8, H100: 4, T4: 0}"),
        ["llama-3.1-8b-l4-tp2", "llama-3.1-8b-h100"]
    );
    assert_eq!(
        names("models: [{name: llama-3.1-8b}]\naccelerators: [{name: H200}]"),
        ["llama-3.1-8b-h200"]
    );
    assert_eq!(
        names("models: [{name: llama-3.1-8b}]\nvariants: []"),
        [""; 0]
    );
    assert_error(
        "models: [{name: llama-3.1-8b}]\nstock: {GB200: 8}",
        "fleet.yaml:",
        &["no accelerator with a price", "llama-3.1-8b"],
    );
}

#[test]
fn round_trips() {
    for catalogue in [
        parse(FULL).expect("valid"),
        Catalogue::builtin(),
        parse("models: [{name: phi-4}]").expect("valid"),
    ] {
        let yaml = catalogue.to_yaml();
        assert_eq!(
            parse(&yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}")),
            catalogue
        );
    }
}

#[test]
fn unknown_names_offer_the_nearest() {
    assert_error(
        "variants:\n  - model: llama-3.1-8b\n    accelerator: H10O\n",
        "fleet.yaml:3:18: unknown accelerator `H10O`; did you mean `H100`?",
        &[],
    );
    assert_error(
        "variants: [{model: lama-3.1-8b, accelerator: H100}]",
        "fleet.yaml:1:20: unknown model",
        &["did you mean `llama-3.1-8b`?"],
    );
    assert_error(
        "variants: [{model: abacus, accelerator: H100}]",
        "fleet.yaml:1:20",
        &["known are deepseek-r1, "],
    );
    assert_error(
        "stock:\n  H300: 4\n",
        "fleet.yaml:2:9: unknown accelerator",
        &["`H100`"],
    );
    let c = parse(FULL).expect("valid");
    let place = wva_models::catalogue::Place::file("x.yaml");
    assert!(
        c.unknown_class(place.clone(), "chatt".into())
            .to_string()
            .contains("did you mean `chat`?")
    );
    assert!(
        c.unknown_variant(place, "sevnty".into())
            .to_string()
            .contains("did you mean `seventy`?")
    );
}

#[test]
fn impossible_numbers_are_named() {
    let price = |p: &str| format!("accelerators:\n  - name: H100\n    price_per_hour_usd: {p}\n");
    for bad in ["-3", ".nan", ".inf"] {
        assert_error(
            &price(bad),
            "fleet.yaml:3:25: a price in $/h must be",
            &["price_per_hour_usd"],
        );
    }
    assert_error(&price("1e300"), "fleet.yaml:2:11", &["at most 10⁹"]);
    for bad in ["0", "-1", ".nan"] {
        assert_error(
            &format!("accelerators: [{{name: H100, memory_gb: {bad}}}]"),
            "fleet.yaml:1:40: must be a number above 0",
            &["memory_gb"],
        );
    }
    assert_error(
        "variants: [{model: phi-4, accelerator: H100, engine: {gpu_memory_utilization: 1.5}}]",
        "fleet.yaml:1:",
        &["between 0 and 1, not 1.5"],
    );
    assert_error(
        "variants: [{model: phi-4, accelerator: H100, engine: {max_num_seqs: 0}}]",
        "fleet.yaml:1:",
        &["max_num_seqs"],
    );
    assert_error(
        "variants: [{model: phi-4, accelerator: H100, tensor_parallel: 0}]",
        "fleet.yaml:1:",
        &["tensor_parallel"],
    );
    assert_error(
        "variants: [{model: phi-4, accelerator: H100, start_up_seconds: -1}]",
        "fleet.yaml:1:",
        &["at least 0, not -1"],
    );
    assert_error(
        "models: [{name: phi-4, active_parameters_b: 99}]",
        "fleet.yaml:1:17",
        &["at most parameters_b, not 99"],
    );
    assert_error(
        "models: [{name: phi-4, experts: {total: 8, per_token: 9}}]",
        "fleet.yaml:1:17",
        &["experts.per_token"],
    );
    let law = "overhead_s: 0.002, floor_s: 0.005, per_token_s: -1, per_kv_token_s: 0, per_sequence_s: 0, per_chunk_context_s: 0, prefill_overhead_s: 0, front_end_s: 0";
    assert_error(
        &format!("variants: [{{model: phi-4, accelerator: H100, law: {{{law}}}}}]"),
        "fleet.yaml:1:",
        &["law.per_token_s", "not -1"],
    );
    let dead = law
        .replace("0.002", "0")
        .replace("0.005", "0")
        .replace("-1", "0");
    assert_error(
        &format!("variants: [{{model: phi-4, accelerator: H100, law: {{{dead}}}}}]"),
        "fleet.yaml:1:",
        &["above 0 s"],
    );
}

#[test]
fn contradictions_are_named() {
    assert_error(
        "variants:\n  - {model: phi-4, accelerator: H100, min_replicas: 5, max_replicas: 2}\n",
        "fleet.yaml:2:",
        &["min_replicas 5 above max_replicas 2"],
    );
    assert_error(
        "classes:\n  - {name: x, deadline_seconds: 60, itl_ms: {mean: 3}}\n",
        "fleet.yaml:2:5",
        &["a deadline and latency bounds"],
    );
    assert_error(
        "classes: [{name: x, deadline_seconds: 0}]",
        "fleet.yaml:1:",
        &["above 0 seconds"],
    );
    assert_error("classes: [{name: ''}]", "fleet.yaml:1:", &["needs a name"]);
    assert_error(
        "variants: [{model: phi-4, accelerator: H100, role: prefill}]",
        "fleet.yaml: ",
        &["no decode variant"],
    );
    assert_error(
        "variants: [{model: phi-4, accelerator: H100, role: decode}]",
        "fleet.yaml: ",
        &["no prefill variant"],
    );
}

#[test]
fn parallelism_and_memory_are_checked() {
    assert_error(
        "variants: [{model: llama-3.1-8b, accelerator: H100, tensor_parallel: 3}]",
        "fleet.yaml:1:70: tensor_parallel 3 does not divide the heads of llama-3.1-8b",
        &["possible are 1, 2, 4, 8, 16"],
    );
    // 140 GB of weights on one device that lets 77 be used: 141.2 + 5 − 77.3.
    assert_error(
        "variants: [{model: llama-3.3-70b, accelerator: H100, tensor_parallel: 1}]",
        "fleet.yaml:1:",
        &[
            "does not fit H100",
            "68.8 GB a device are missing",
            "tensor_parallel 4 fits",
        ],
    );
    assert_error(
        "variants: [{model: llama-3.1-405b, accelerator: L4}]",
        "fleet.yaml:1:",
        &["tensor_parallel 16", "no tensor_parallel up to 16 fits"],
    );
}

#[test]
fn duplicates_are_refused() {
    let twice =
        "variants:\n  - {model: phi-4, accelerator: H100}\n  - {model: phi-4, accelerator: h100}\n";
    assert_error(
        twice,
        "fleet.yaml:3:5: variant `phi-4-h100` is there twice",
        &["another `name`"],
    );
    assert_error(
        "classes: [{name: a}, {name: a}]",
        "fleet.yaml:1:22: class `a` is there twice",
        &[],
    );
    assert_error(
        "accelerators: [{name: H100}, {name: NVIDIA-H100-80GB-HBM3}]",
        "fleet.yaml:1:37: accelerator `H100` is there twice",
        &[],
    );
    assert_error(
        "models: [{name: phi-4}, {name: microsoft/phi-4}]",
        "fleet.yaml:1:32: model `phi-4` is there twice",
        &[],
    );
    assert_error(
        "stock: {H100: 1, h100: 2}",
        "fleet.yaml:1:",
        &["stock `H100` is there twice"],
    );
    assert_error(
        "stock: {}\nstock: {}\n",
        "fleet.yaml:2:1: duplicate mapping key",
        &[],
    );
}

#[test]
fn missing_figures_and_prices_say_what_to_add() {
    assert_error(
        "accelerators: [{name: H10O, memory_gb: 80}]",
        "fleet.yaml:1:23: accelerator `H10O` is not built in",
        &["bandwidth_tb_s, bf16_tflops", "did you mean `H100`?"],
    );
    assert_error(
        "models: [{name: fresh}]",
        "fleet.yaml:1:17",
        &["parameters_b, layers, hidden_size, kv_heads, head_dim, max_context_tokens"],
    );
    assert_error(
        "variants: [{model: phi-4, accelerator: GB200}]",
        "fleet.yaml:1:12",
        &["no price of GB200 is known", "price_per_hour_usd"],
    );
    assert!(parse("variants: [{model: phi-4, accelerator: GB200, price_per_hour_usd: 9}]").is_ok());
    assert!(parse("accelerators: [{name: GB200, price_per_hour_usd: 9}]\nvariants: [{model: phi-4, accelerator: GB200}]").is_ok());
}

#[test]
fn bounds_need_a_known_statistic() {
    let bound = |b: &str| format!("classes:\n  - name: chat\n    ttft_ms: {b}\n");
    assert_error(
        &bound("500"),
        "fleet.yaml:3:",
        &["a statistic and milliseconds, such as {p99: 500}", "500"],
    );
    assert_error(
        &bound("{q99: 500}"),
        "fleet.yaml:3:14: unknown statistic `q99`",
        &["p50, p95, p99"],
    );
    assert_error(
        &bound("{p100: 500}"),
        "fleet.yaml:3:14",
        &["unknown statistic `p100`"],
    );
    assert_error(
        &bound("{p-5: 500}"),
        "fleet.yaml:3:14",
        &["unknown statistic"],
    );
    assert_error(
        &bound("{p99: -5}"),
        "fleet.yaml:3:",
        &["`p99` must be a number of milliseconds above 0, not -5"],
    );
    assert_error(&bound("{p99: .nan}"), "fleet.yaml:3:", &["not NaN"]);
    assert_error(
        &bound("{per_1k_input_tokens: 5}"),
        "fleet.yaml:3:",
        &["exactly one statistic"],
    );
    assert_error(
        &bound("{p99: 5, mean: 3}"),
        "fleet.yaml:3:",
        &["exactly one statistic"],
    );
}

#[test]
fn statistics_read_back_as_written() {
    for text in ["mean", "p50", "p95", "p99", "p99.9", "p99.99"] {
        assert_eq!(text.parse::<Statistic>().expect("valid").to_string(), text);
    }
}

#[test]
fn unknown_keys_are_refused_with_the_line() {
    assert_error(
        "variants:\n  - model: phi-4\n    acelerator: H100\n",
        "fleet.yaml:3:5: unknown field `acelerator`",
        &["accelerator", "in `acelerator: H100`"],
    );
    assert_error(
        "vriants: []",
        "fleet.yaml:1:1: unknown field `vriants`",
        &["variants"],
    );
    assert_error("variants: [", "fleet.yaml:1:", &[]);
    assert_error("- a", "fleet.yaml:1:1", &[]);
    assert!(parse("").is_ok(), "an empty file is the built-in catalogue");
}

#[test]
fn objectives_below_the_floor_are_refused_with_the_floor() {
    let shape = RequestShape::fixed(4000.0, 200.0).expect("valid");
    let check = |bounds: &str| {
        let yaml = format!(
            "variants: [{{model: llama-3.1-8b, accelerator: H100}}]\nclasses: [{{name: chat, {bounds}}}]"
        );
        let c = parse(&yaml).expect("valid");
        c.check_floor(&c.classes[0], "llama-3.1-8b", &shape, "fleet.yaml")
    };
    // 2 · 8.03e9 · 4000 / 989e12 = 65.0 ms; (16.06e9 + 4100 · 131072) / 3.35e12 = 4.95 ms.
    for (bounds, words) in [
        (
            "ttft_ms: {p99: 60}",
            "TTFT p99 ≤ 60.0 ms, but no variant of llama-3.1-8b can go below 65.0 ms",
        ),
        ("ttft_ms: {mean: 60}", "TTFT mean ≤ 60.0 ms"),
        ("ttft_ms: {p99: 30, per_1k_input_tokens: 8}", "TTFT p99"),
        ("itl_ms: {mean: 4.9}", "below 5.0 ms"),
        (
            "e2e_ms: {p50: 1000}",
            "end-to-end latency p50 ≤ 1000.0 ms, but no variant of llama-3.1-8b can go below 1050.9",
        ),
    ] {
        let message = check(bounds).expect_err(bounds).to_string();
        assert!(message.contains(words), "{message}");
        assert!(message.contains("llama-3.1-8b-h100"), "{message}");
    }
    for bounds in [
        "ttft_ms: {p99: 66}",
        "ttft_ms: {p99: 30, per_1k_input_tokens: 9}",
        "itl_ms: {mean: 5}",
        "e2e_ms: {p50: 1100}",
        "deadline_seconds: 1",
        "priority: 3",
    ] {
        assert_eq!(check(bounds), Ok(()), "{bounds}");
    }
}

#[test]
fn hostile_input_is_bounded() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..12 {
        bomb.push_str(&format!(
            "a{i}: &a{i} [{}]\n",
            vec![format!("*a{}", i - 1); 10].join(",")
        ));
    }
    assert!(parse(&bomb).is_err());
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&"{a: ".repeat(10_000)).is_err());
    assert!(matches!(
        parse(&" ".repeat(9 << 20)),
        Err(CatalogueError::TooLarge { .. })
    ));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(yaml in any::<String>()) {
        let _ = parse(&yaml);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    /// Cuts, doubles and replaces pieces of a valid file; a result that is accepted can be used.
    #[test]
    fn mutations_of_a_valid_file_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..30, 0usize..8), 1..5),
    ) {
        let pieces = ["", "-1", ".nan", "1e308", "0", "18446744073709551615", "H200", ": {"];
        let mut text: Vec<char> = FULL.chars().collect();
        for (at, length, piece) in edits {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, pieces[piece].chars());
        }
        if let Ok(c) = parse(&text.into_iter().collect::<String>()) {
            let shape = RequestShape::fixed(1000.0, 100.0).expect("valid");
            for v in &c.variants {
                let replica = c.replica_model(v);
                prop_assert!(replica.limits.kv_tokens >= 0.0 && replica.law.floor_s.is_finite());
                prop_assert!(c.price_per_replica(v).get().is_finite());
            }
            for class in &c.classes {
                let _ = c.check_floor(class, "tiny", &shape, "fleet.yaml");
            }
            prop_assert_eq!(parse(&c.to_yaml()).expect("reads back"), c);
        }
    }
}
