//! A plausible day: two variants, three streams, four policies.

use wva_models::catalogue::Catalogue;
use wva_optimizer::decision::{Decision, Reason};
use wva_simulations::result::{
    ClassPoint, ClassResult, LatencySummary, RunResult, TimelinePoint, VariantPoint, VariantResult,
};

const CATALOGUE: &str = "
models:
  - name: llama-3.1-8b
  - name: qwen3-32b
variants:
  - {name: 8b-l4, model: llama-3.1-8b, accelerator: L4, start_up_seconds: 90, engine: {precision: fp8, kv_precision: fp8}}
  - {name: 32b-h100, model: qwen3-32b, accelerator: H100, start_up_seconds: 150, max_replicas: 8, engine: {precision: fp8}}
accelerators:
  - {name: L4, price_per_hour_usd: 0.81}
  - {name: H100, price_per_hour_usd: 6.88}
stock: {L4: 24, H100: 8}
classes:
  - {name: premium, priority: 10, ttft_ms: {p99: 1000, per_1k_input_tokens: 300}, itl_ms: {p99: 75}}
  - {name: standard, priority: 0, ttft_ms: {p95: 3000}, itl_ms: {p95: 120}}
  - {name: nightly, priority: -1, deadline_seconds: 7200}
";

/// The sample's catalogue.
pub fn catalogue() -> Catalogue {
    Catalogue::parse(CATALOGUE, "sample").expect("a valid catalogue")
}

/// Four policies: `wva` $200 attains, `static` $320 attains, `hpa-queue` $180 and `keda-slo` $260 do not.
pub fn day() -> Vec<RunResult> {
    [
        ("wva", 200.0, 0.995),
        ("static", 320.0, 0.999),
        ("hpa-queue", 180.0, 0.93),
        ("keda-slo", 260.0, 0.97),
    ]
    .map(|(name, cost, attainment)| run(name, cost, attainment))
    .into()
}

fn run(policy: &str, cost_usd: f64, attainment: f64) -> RunResult {
    let streams = [
        ("premium", "llama-3.1-8b"),
        ("standard", "qwen3-32b"),
        ("nightly", "qwen3-32b"),
    ];
    RunResult {
        policy: policy.to_owned(),
        seed: 7,
        duration_s: 86_400.0,
        cost_usd,
        gpu_hours: 61.25,
        energy_kwh: Some(17.3),
        attainment,
        requests: 300_000,
        missed: (300_000.0 * (1.0 - attainment)) as u64,
        failed: 12,
        shed: 0,
        unfinished: 1,
        mean_replicas: 6.6,
        max_replicas: 14,
        scaling_events: 96,
        classes: streams.map(|(c, m)| class(c, m, attainment)).into(),
        variants: vec![
            variant("8b-l4", "llama-3.1-8b", "L4", 0.81),
            variant("32b-h100", "qwen3-32b", "H100", 6.88),
        ],
        timeline_step_s: 60.0,
        timeline: (1..=1440).map(point).collect(),
        decisions: (0..240_u32).map(decision).collect(),
    }
}

fn summary(p50: f64) -> Option<LatencySummary> {
    Some(LatencySummary {
        p50,
        p90: 2.0 * p50,
        p95: 2.6 * p50,
        p99: 4.0 * p50,
        mean: 1.2 * p50,
    })
}

fn class(class: &str, model: &str, attainment: f64) -> ClassResult {
    ClassResult {
        class: class.to_owned(),
        model: model.to_owned(),
        attainment,
        requests: 100_000,
        missed: (100_000.0 * (1.0 - attainment)) as u64,
        failed: 4,
        shed: 0,
        prefix_hit: Some(0.1),
        ttft_ms: summary(180.0),
        itl_ms: summary(16.0),
        gap_ms: summary(15.0),
        e2e_ms: summary(4000.0),
    }
}

fn variant(variant: &str, model: &str, accelerator: &str, price: f64) -> VariantResult {
    VariantResult {
        variant: variant.to_owned(),
        model: model.to_owned(),
        accelerator: accelerator.to_owned(),
        price_per_hour_usd: price,
        cost_usd: 100.0,
        gpu_hours: 30.0,
        mean_replicas: 3.3,
        max_replicas: 7,
        finished: 100_000,
        preemptions: 3,
        busy: 0.71,
    }
}

/// A tide with ripples; nothing happens in the class's last stream before 03:00.
fn point(minute: u32) -> TimelinePoint {
    let day = f64::from(minute) / 1440.0 * std::f64::consts::TAU;
    let ripple = f64::from(minute * 7919 % 97) / 97.0;
    let load = 1.0 - 0.7 * day.cos() + 0.3 * ripple;
    let replicas = (2.0 + 3.0 * load) as u32;
    let moving = u32::from(minute % 40 < 3);
    let held = VariantPoint {
        desired: replicas + moving,
        ready: replicas,
        starting: moving,
        pending: u32::from(minute % 360 < 2),
        draining: u32::from(minute % 50 < 4),
    };
    let requests = ClassPoint {
        demand_rps: 2.0 * load,
        output_tokens_per_s: 400.0 * load,
        ttft_p50_ms: Some(150.0 + 80.0 * load),
        ttft_p99_ms: Some(400.0 + 500.0 * ripple * load),
        itl_p50_ms: Some(14.0 + 3.0 * load),
        itl_p99_ms: Some(30.0 + 20.0 * ripple),
        attained: 100,
        missed: u64::from(minute.is_multiple_of(97)) * 5,
        held: u64::from(minute.is_multiple_of(200)) * 2,
    };
    let idle = ClassPoint {
        demand_rps: 0.0,
        ttft_p50_ms: None,
        ttft_p99_ms: None,
        itl_p50_ms: None,
        itl_p99_ms: None,
        ..requests
    };
    TimelinePoint {
        at_s: 60.0 * f64::from(minute),
        cost_per_hour_usd: 7.7 * f64::from(replicas),
        variants: vec![held, held],
        classes: vec![
            requests,
            requests,
            if minute < 180 { idle } else { requests },
        ],
    }
}

fn decision(i: u32) -> Decision {
    let from = 2 + i % 5;
    Decision {
        variant: if i.is_multiple_of(2) {
            "8b-l4"
        } else {
            "32b-h100"
        }
        .to_owned(),
        model: if i.is_multiple_of(2) {
            "llama-3.1-8b"
        } else {
            "qwen3-32b"
        }
        .to_owned(),
        accelerator: "L4".to_owned(),
        at: 360.0 * f64::from(i),
        current: from,
        planned: from + 1,
        target: if i.is_multiple_of(3) {
            from - 1
        } else {
            from + 1
        },
        reasons: vec![Reason {
            code: "demand-up".to_owned(),
            text: "forecast 12.4 requests/s in 2 min, 9 % above now".to_owned(),
        }],
    }
}
