//! Which router is better at what, on fixed fleets, so that routing alone differs.

use std::fmt::Write as _;
use std::io::{BufRead, Error};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use wva_simulations::comparison::Comparison;
use wva_simulations::result::ClassResult;
use wva_simulations::scenario::{Overrides, Scenario};

const ROUTERS: [&str; 4] = ["random", "least-queue", "prefix", "slo"];
const SEEDS: [u64; 3] = [1, 2, 3];

/// Short chats and long documents at one class, on six replicas that are alike.
const MIXED: &str = "
duration_minutes: 8
variants:
  - {name: h100, model: llama-3.1-8b, accelerator: H100, min_replicas: 6, max_replicas: 6, engine: {max_num_batched_tokens: 2048}}
classes: [{name: chat, ttft_ms: {p99: 1500, per_1k_input_tokens: 300}, itl_ms: {p99: 75}}]
traffic:
  - {model: llama-3.1-8b, class: chat, arrivals: {poisson: {rps: 40}}, shape: {input_tokens: {mean: 600, cv: 1, max: 8000}, output_tokens: 200}}
  - {model: llama-3.1-8b, class: chat, arrivals: {poisson: {rps: 5}}, shape: {input_tokens: {mean: 12000, cv: 0.8, max: 60000}, output_tokens: 100}}
fleet: {initial: {h100: 6}}
truth: {off_by_fraction: 0.2}
policies: [wva]
";

/// Chats on two types of GPU.
const TWO_TYPES: &str = "
duration_minutes: 8
variants:
  - {name: l4, model: llama-3.1-8b, accelerator: L4, min_replicas: 6, max_replicas: 6, engine: {precision: fp8, kv_precision: fp8, max_num_batched_tokens: 1024}}
  - {name: h100, model: llama-3.1-8b, accelerator: H100, min_replicas: 3, max_replicas: 3, engine: {max_num_batched_tokens: 2048}}
classes: [{name: chat, ttft_ms: {p99: 1500, per_1k_input_tokens: 300}, itl_ms: {p99: 75}}]
traffic:
  - {model: llama-3.1-8b, class: chat, arrivals: {poisson: {rps: 50}}, shape: {input_tokens: {mean: 1155, cv: 1.1, max: 16000}, output_tokens: {mean: 211, cv: 0.8, max: 2000}}}
fleet: {initial: {l4: 6, h100: 3}}
truth: {off_by_fraction: 0.2}
policies: [wva]
";

/// Conversations (see [`conversations`]) on four replicas.
const CONVERSATIONS: &str = "
variants:
  - {name: h100, model: llama-3.1-8b, accelerator: H100, min_replicas: 4, max_replicas: 4, engine: {max_num_batched_tokens: 2048}}
classes: [{name: chat, ttft_ms: {p99: 800, per_1k_input_tokens: 50}, itl_ms: {p99: 75}}]
fleet: {initial: {h100: 4}}
truth: {off_by_fraction: 0.2}
policies: [wva]
";

fn play(yaml: &str, trace: Option<&str>, router: &str, seed: u64) -> ClassResult {
    let overrides = Overrides {
        trace: trace.map(|t| ("t.jsonl", Box::new(t.as_bytes()) as Box<dyn BufRead>)),
        router: Some(router),
        seed: Some(seed),
        ..Overrides::default()
    };
    let mut open = |_: &str| Err(Error::other("no files"));
    let scenario = Scenario::parse(yaml, "routers.yaml", overrides, &mut open).expect("valid");
    let comparison = Comparison::new(&scenario).expect("a fleet");
    let result = comparison.run(&scenario.policies[0], None).expect("a run");
    assert_eq!(result.scaling_events, 0, "the fleet is fixed");
    result.classes[0].clone()
}

/// The same for all routers of [`ROUTERS`], in their order.
fn all(yaml: &str, trace: Option<&str>, seed: u64) -> [ClassResult; 4] {
    ROUTERS.map(|router| play(yaml, trace, router, seed))
}

fn p99(of: &ClassResult) -> f64 {
    of.ttft_ms.expect("first tokens").p99
}

fn mean(of: &ClassResult) -> f64 {
    of.ttft_ms.expect("first tokens").mean
}

/// Users whose every prompt repeats all they have said so far: Mooncake's format, ten minutes.
fn conversations(seed: u64) -> String {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut turns: Vec<(u64, usize, u64)> = Vec::new();
    for user in 0..900_u64 {
        let mut at = random.random_range(0..540_000_u64);
        let mut blocks = random.random_range(2..12_usize);
        for _ in 0..random.random_range(1..9) {
            turns.push((at, blocks, user));
            at += random.random_range(5_000..40_000);
            blocks += random.random_range(1..6);
        }
    }
    turns.retain(|turn| turn.0 < 600_000);
    turns.sort_unstable();
    let mut text = String::new();
    for (at, blocks, user) in turns {
        let hashes: Vec<u64> = (0..blocks as u64).map(|b| user * 1000 + b).collect();
        let input = blocks * 512 + 100;
        writeln!(
            text,
            "{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": 120, \"hash_ids\": {hashes:?}}}"
        )
        .expect("memory");
    }
    text
}

#[test]
fn predicted_latency_has_the_shortest_tail_where_prompts_differ() {
    for seed in SEEDS {
        let [random, queue, prefix, slo] = all(MIXED, None, seed);
        let tails = [&random, &queue, &prefix, &slo].map(p99);
        assert!(tails[..3].iter().all(|&t| tails[3] < 0.9 * t), "{tails:?}");
        assert!(slo.attainment >= prefix.attainment.max(queue.attainment));
    }
}

#[test]
fn predicted_latency_has_the_shortest_tail_where_gpus_differ() {
    for seed in SEEDS {
        let [random, queue, prefix, slo] = all(TWO_TYPES, None, seed);
        let tails = [&random, &queue, &prefix, &slo].map(p99);
        assert!(tails[..3].iter().all(|&t| tails[3] < 0.9 * t), "{tails:?}");
        assert!(slo.attainment >= prefix.attainment.max(queue.attainment));
    }
}

#[test]
fn knowing_prefixes_answers_conversations_sooner_and_keeps_more_promises() {
    for seed in SEEDS {
        let trace = conversations(seed);
        let [random, queue, prefix, slo] = all(CONVERSATIONS, Some(&trace), seed);
        for blind in [&random, &queue] {
            for aware in [&prefix, &slo] {
                assert!(mean(aware) < 0.9 * mean(blind), "{aware:?} {blind:?}");
                assert!(aware.prefix_hit > blind.prefix_hit);
                assert!(aware.attainment >= blind.attainment);
            }
        }
        assert!(mean(&slo) < mean(&prefix) && slo.attainment >= prefix.attainment);
    }
}
