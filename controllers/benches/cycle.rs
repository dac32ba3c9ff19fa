//! A steady cycle over many variants: from the index to the effects, of which there are none.

use std::hint::black_box;

use divan::Bencher;
use kube::core::DynamicObject;
use serde::Deserialize as _;
use serde_json::json;
use wva_controllers::cycle::drain::Followers;
use wva_controllers::cycle::memory::Memory;
use wva_controllers::cycle::{Inputs, run};
use wva_controllers::index::fleet::{Base, Fleet, StockSource};
use wva_controllers::index::{Index, Kind};
use wva_controllers::snapshot;
use wva_controllers::telemetry::gathered::CountedBy;
use wva_controllers::telemetry::{Gathered, Outcome, Sampled, Source, StreamTelemetry};
use wva_models::catalogue::Catalogue;
use wva_optimizer::snapshot::{Histogram, StreamSample};
use wva_optimizer::step::Settings;

/// Variants of one model, on as many accelerators.
const VARIANTS: usize = 4;
const ACCELERATORS: [&str; VARIANTS] = ["L4", "L40S", "A100-80GB", "H100"];
/// Pods of one variant.
const PODS: usize = 5;
const START: f64 = 1_790_000_000.0;

fn main() {
    divan::main();
}

fn base() -> Base {
    Base {
        catalogue: Catalogue::builtin(),
        instance: None,
        default_accelerator: None,
        default_class: None,
        stock: StockSource::Auto,
    }
}

fn apply(index: &mut Index, kind: Kind, value: serde_json::Value) {
    let object = DynamicObject::deserialize(value).expect("an object");
    index.apply(kind, &object);
}

fn index(variants: usize) -> Index {
    let mut index = Index::default();
    for i in 0..variants {
        let (namespace, name) = (format!("ns-{}", i / 100), format!("v-{i}"));
        apply(
            &mut index,
            Kind::VariantAutoscaling,
            json!({
            "metadata": {"name": name, "namespace": namespace, "labels": {
                "inference.optimization/acceleratorName": ACCELERATORS[i % VARIANTS]}},
            "spec": {"modelID": format!("acme/model-{}-8b", i / VARIANTS), "minReplicas": 0, "maxReplicas": 40}}),
        );
        apply(
            &mut index,
            Kind::Deployment,
            json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": PODS, "template": {"spec": {"containers": [
                {"name": "vllm", "args": ["--max-num-seqs=128"], "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}}},
            "status": {"replicas": PODS}}),
        );
        for p in 0..PODS {
            apply(
                &mut index,
                Kind::Pod,
                json!({
                "metadata": {"name": format!("{name}-{p}"), "namespace": namespace, "uid": format!("{name}-{p}"),
                    "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"pod-template-hash": "h"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-h"), "uid": "r", "controller": true}]},
                "spec": {"nodeName": "n"},
                "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}}),
            );
        }
    }
    index
}

/// The same with nodes that have so many devices of each kind: what is limited couples all models.
fn coupled_index(variants: usize, devices: usize) -> Index {
    let mut index = index(variants);
    for product in [
        "NVIDIA-L4",
        "NVIDIA-L40S",
        "NVIDIA-A100-SXM4-80GB",
        "NVIDIA-H100-80GB-HBM3",
    ] {
        apply(
            &mut index,
            Kind::Node,
            json!({
            "metadata": {"name": product.to_lowercase(), "labels": {"nvidia.com/gpu.product": product}},
            "status": {"allocatable": {"nvidia.com/gpu": devices.to_string()},
                "conditions": [{"type": "Ready", "status": "True"}]}}),
        );
    }
    index
}

/// Prompts are `longer` times as long as usual, and differ by model.
fn gathered(fleet: &Fleet, now: f64, longer: f64) -> Gathered {
    let total = (now - START) * 0.5 + 1000.0;
    let histogram = |bounds: [f64; 3], mean: f64| Histogram {
        bounds: bounds.to_vec(),
        counts: [0.2, 0.6, 1.0].map(|share| share * total).to_vec(),
        count: total,
        sum: mean * total,
    };
    let streams = snapshot::targets(fleet)
        .models
        .into_iter()
        .enumerate()
        .map(|(i, model)| StreamTelemetry {
            outcome: Outcome::Sample(Sampled {
                value: StreamSample {
                    model: model.name.clone(),
                    class: model.default_class.clone(),
                    at: now,
                    arrivals: total,
                    input_tokens: histogram(
                        [200.0, 800.0, 4000.0],
                        longer * (600.0 + 0.1 * i as f64),
                    ),
                    output_tokens: histogram([50.0, 300.0, 1000.0], 250.0),
                    met: total,
                    ..StreamSample::default()
                },
                source: Source::Push,
                age: 0.0,
                notes: Vec::new(),
            }),
            model: model.name,
            class: model.default_class,
            counted_by: Some(CountedBy::Router),
            absent: Vec::new(),
        });
    Gathered {
        at: now,
        streams: streams.collect(),
        ..Gathered::default()
    }
}

fn cycle(fleet: &Fleet, base: &Base, settings: &Settings, memory: Memory, now: f64) -> Memory {
    observed(fleet, base, settings, memory, now, 1.0)
}

fn observed(
    fleet: &Fleet,
    base: &Base,
    settings: &Settings,
    memory: Memory,
    now: f64,
    longer: f64,
) -> Memory {
    let gathered = gathered(fleet, now, longer);
    let inputs = Inputs {
        fleet,
        gathered: &gathered,
        known: &base.catalogue,
        settings,
        written: &[],
        followers: &Followers::default(),
        now,
    };
    run(&inputs, memory).memory
}

/// From objects to the fleet.
#[divan::bench(args = [1_000, 10_000], sample_count = 5)]
fn fleet(bencher: Bencher<'_, '_>, variants: usize) {
    let (index, base) = (index(variants), base());
    bencher.bench_local(|| black_box(index.fleet(&base)));
}

/// The memory after three cycles, and when the last was.
fn begun(fleet: &Fleet, base: &Base, settings: &Settings) -> (Memory, f64) {
    (1..=3).fold((Memory::default(), START), |(memory, _), i| {
        let now = START + 15.0 * f64::from(i);
        (cycle(fleet, base, settings, memory, now), now)
    })
}

/// Times cycles in which nothing changes, telemetry of pods left out.
fn unchanged(bencher: Bencher<'_, '_>, fleet: &Fleet, base: &Base) {
    let settings = Settings::default();
    let (mut memory, mut now) = begun(fleet, base, &settings);
    bencher.bench_local(|| {
        now += 15.0;
        memory = cycle(fleet, base, &settings, std::mem::take(&mut memory), now);
    });
}

/// Models that have nothing to do with each other.
#[divan::bench(args = [1_000, 10_000], sample_count = 3, sample_size = 1)]
fn steady_cycle(bencher: Bencher<'_, '_>, variants: usize) {
    let base = base();
    unchanged(bencher, &index(variants).fleet(&base), &base);
}

/// Models that share devices which are limited, though not scarce.
#[divan::bench(args = [400, 1_000, 4_000], sample_count = 3, sample_size = 1)]
fn coupled_cycle(bencher: Bencher<'_, '_>, variants: usize) {
    let base = base();
    let fleet = coupled_index(variants, 10 * variants).fleet(&base);
    assert_eq!(fleet.stock.len(), ACCELERATORS.len(), "{:?}", fleet.stock);
    unchanged(bencher, &fleet, &base);
}

/// A cycle in which every capacity's inputs have moved: after an hour, prompts are half as long again. At most as many
/// as stated are found anew.
#[divan::bench(args = [(1_000, 512), (1_000, usize::MAX)], sample_count = 1, sample_size = 1)]
fn moved_cycle(bencher: Bencher<'_, '_>, (variants, refreshes): (usize, usize)) {
    let (index, base) = (index(variants), base());
    let mut settings = Settings::default();
    settings.planner.capacity_refreshes = refreshes;
    let fleet = index.fleet(&base);
    let (mut memory, mut now) = begun(&fleet, &base, &settings);
    let mut longer = 1.0;
    bencher.bench_local(|| {
        now += 3600.0;
        longer *= 1.5;
        let before = std::mem::take(&mut memory);
        memory = observed(&fleet, &base, &settings, before, now, longer);
    });
}
