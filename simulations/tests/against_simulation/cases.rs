//! Engines and request shapes on which models are held against the simulator.

use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_models::latency::Arrivals;
use wva_models::shape::{Length, RequestShape, ShapePoint};
use wva_models::variant::Role;

/// One engine, its requests, and how they come.
pub struct Case {
    pub name: &'static str,
    pub model: ReplicaModel,
    pub role: Role,
    pub shape: RequestShape,
    pub arrivals: Arrivals,
}

/// An 80 GB H100 with an 8B model, as fitted to a public sweep of vLLM.
pub fn h100() -> ReplicaModel {
    ReplicaModel {
        law: IterationLaw {
            overhead_s: 1.9e-3,
            floor_s: 5.15e-3,
            per_token_s: 2.28e-5,
            per_kv_token_s: 4.1e-8,
            per_sequence_s: 2.3e-5,
            per_chunk_context_s: 8.3e-10,
            prefill_overhead_s: 5.9e-4,
            front_end_s: 11e-3,
        },
        limits: EngineLimits {
            token_budget: 8192.0,
            max_sequences: 512.0,
            kv_tokens: 437_000.0,
        },
    }
}

/// A 48 GB L40S with the same model: a quarter of the bandwidth, a third of the compute, less KV cache.
pub fn l40s() -> ReplicaModel {
    let fast = h100();
    ReplicaModel {
        law: IterationLaw {
            floor_s: 2.3e-2,
            per_token_s: 7e-5,
            per_kv_token_s: 2.2e-7,
            per_chunk_context_s: 3e-9,
            ..fast.law
        },
        limits: EngineLimits {
            token_budget: 2048.0,
            max_sequences: 256.0,
            kv_tokens: 190_000.0,
        },
    }
}

/// Lognormal lengths by (mean, coefficient of variation); a coefficient of 0 is a fixed length.
pub fn lognormal(input: (f64, f64), output: (f64, f64)) -> RequestShape {
    RequestShape::lognormal(input, output, None).expect("a valid shape")
}

/// Uniform lengths on [½, 1½] × the mean.
pub fn uniform(input: f64, output: f64) -> RequestShape {
    let around = |mean: f64| Length::uniform(0.5 * mean, 1.5 * mean).expect("a valid length");
    RequestShape::independent(&around(input), &around(output), 0.0).expect("a valid shape")
}

fn poisson(name: &'static str, model: ReplicaModel, shape: RequestShape) -> Case {
    Case {
        name,
        model,
        role: Role::Both,
        shape,
        arrivals: Arrivals::Poisson,
    }
}

/// Shapes of chat, retrieval, reasoning and summaries, on two engines and in every role.
pub fn batching() -> Vec<Case> {
    let chat = || lognormal((1155.0, 1.0), (211.0, 0.8));
    // Answers of a few tokens, some of which a single prompt stalls.
    let code = || {
        RequestShape::lognormal((2048.0, 0.9), (28.0, 1.5), Some(8192.0)).expect("a valid shape")
    };
    vec![
        poisson("chat 1155/211", h100(), chat()),
        poisson("512/512", h100(), lognormal((512.0, 1.0), (512.0, 1.0))),
        poisson("64/1024", h100(), lognormal((64.0, 0.5), (1024.0, 0.7))),
        poisson("4096/256", h100(), lognormal((4096.0, 0.8), (256.0, 0.8))),
        poisson("1024/64", h100(), lognormal((1024.0, 0.5), (64.0, 0.5))),
        poisson("L40S chat", l40s(), chat()),
        poisson("code 2048/28", h100(), code()),
        poisson("L40S code 2048/28", l40s(), code()),
        poisson(
            "256/256 fixed",
            h100(),
            lognormal((256.0, 0.0), (256.0, 0.0)),
        ),
        poisson("2048/2048", h100(), lognormal((2048.0, 0.3), (2048.0, 0.3))),
        Case {
            role: Role::Decode,
            ..poisson("decode 1155/211", h100(), chat())
        },
        Case {
            role: Role::Prefill,
            ..poisson("prefill 1155", h100(), lognormal((1155.0, 1.0), (1.0, 0.0)))
        },
        Case {
            arrivals: Arrivals::Dispersion(4.0),
            ..poisson("chat, bursty", h100(), chat())
        },
        Case {
            arrivals: Arrivals::Even,
            ..poisson("512/512 even", h100(), uniform(512.0, 512.0))
        },
    ]
}

/// Beyond what the model promises: very long heavy-tailed prompts, and engines that the KV cache limits.
pub fn hard() -> Vec<Case> {
    vec![
        poisson(
            "12000/340",
            h100(),
            RequestShape::lognormal((12000.0, 1.3), (340.0, 0.7), Some(131_072.0))
                .expect("a valid shape"),
        ),
        poisson(
            "30000/300",
            h100(),
            RequestShape::lognormal((30000.0, 0.6), (300.0, 0.7), Some(131_072.0))
                .expect("a valid shape"),
        ),
        poisson(
            "L40S 6000/300",
            l40s(),
            lognormal((6000.0, 1.0), (300.0, 0.8)),
        ),
        poisson(
            "L40S 900/1800",
            l40s(),
            lognormal((900.0, 1.3), (1800.0, 1.0)),
        ),
    ]
}

/// The domain of the birth–death chain: prompts small against what is generated, or none.
pub fn small_prompts() -> Vec<Case> {
    vec![
        poisson("64/1024", h100(), lognormal((64.0, 0.5), (1024.0, 0.7))),
        poisson(
            "128/512 fixed",
            h100(),
            lognormal((128.0, 0.0), (512.0, 0.0)),
        ),
        poisson("256/2048", h100(), lognormal((256.0, 0.5), (2048.0, 0.5))),
        poisson("L40S 64/512", l40s(), lognormal((64.0, 0.5), (512.0, 0.5))),
        Case {
            role: Role::Decode,
            ..poisson(
                "decode 1155/211",
                h100(),
                lognormal((1155.0, 1.0), (211.0, 0.8)),
            )
        },
    ]
}

/// Lognormal prompts in 400 equally likely lengths: of 64, the longest are so far apart that p99 falls in between.
fn prompts(mean: f64, cv: f64) -> RequestShape {
    let length = Length::lognormal(mean, cv, None).expect("a valid length");
    let quantiles = (0..400).map(|i| length.quantile((f64::from(i) + 0.5) / 400.0));
    let points = quantiles.map(|input| ShapePoint {
        input,
        output: 1.0,
        weight: 1.0,
    });
    RequestShape::new(points.collect(), 0.0).expect("a valid shape")
}

/// The domain of M/G/1: prefill replicas whose prompts take half the token budget and more.
pub fn long_prompts() -> Vec<Case> {
    let prefill = |name, model, shape| Case {
        role: Role::Prefill,
        ..poisson(name, model, shape)
    };
    vec![
        prefill("prefill 8192 fixed", h100(), prompts(8192.0, 0.0)),
        prefill("prefill 12000", h100(), prompts(12_000.0, 0.5)),
        prefill("prefill 5000", h100(), prompts(5000.0, 0.7)),
        prefill("L40S prefill 6000", l40s(), prompts(6000.0, 0.7)),
        prefill("L40S prefill 2000", l40s(), prompts(2000.0, 0.5)),
    ]
}
