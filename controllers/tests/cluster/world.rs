//! A small world for cycles: a fleet from YAML, traffic at a steady rate, and time that passes.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::DynamicObject;
use serde_json::json;
use wva_controllers::api::keys::{DELETION_COST, LEAVES_FIRST};
use wva_controllers::cycle::drain::Followers;
use wva_controllers::cycle::effects::{Effect, Written};
use wva_controllers::cycle::memory::Memory;
use wva_controllers::cycle::{Inputs, Outcome, run};
use wva_controllers::index::fleet::Base;
use wva_controllers::index::{Index, Key, Kind};
use wva_controllers::snapshot;
use wva_controllers::telemetry::gathered::CountedBy;
use wva_controllers::telemetry::{
    Gathered, Missing, Outcome as Telemetry, Reason, Sampled, Source, StreamTelemetry,
};
use wva_optimizer::snapshot::{Histogram, StreamSample};
use wva_optimizer::step::Settings;

use crate::fixtures::{base, object, objects};

pub const START: f64 = 1_790_000_000.0;
pub const CYCLE: f64 = 15.0;

pub struct World {
    pub index: Index,
    pub base: Base,
    pub settings: Settings,
    pub memory: Memory,
    pub now: f64,
    /// Requests per second of every model.
    pub rate: f64,
    /// Why nothing is known of the traffic, if nothing is.
    pub missing: Option<Reason>,
    pub written: Vec<Written>,
    pub followers: Followers,
    /// Pods that are to go first.
    pub first: BTreeSet<String>,
    arrived: BTreeMap<String, f64>,
    autoscalings: BTreeMap<Key, DynamicObject>,
}

impl World {
    pub fn new(yaml: &str) -> Self {
        let mut index = Index::default();
        let mut autoscalings = BTreeMap::new();
        for (kind, object) in objects(yaml) {
            index.apply(kind, &object);
            if kind == Kind::VariantAutoscaling {
                autoscalings.insert(Key::of(&object), object);
            }
        }
        Self {
            index,
            base: base(),
            settings: Settings::default(),
            memory: Memory::default(),
            now: START,
            rate: 1.0,
            missing: None,
            written: Vec::new(),
            followers: Followers::default(),
            first: BTreeSet::new(),
            arrived: BTreeMap::new(),
            autoscalings,
        }
    }

    pub fn apply(&mut self, value: serde_json::Value) -> DynamicObject {
        let (kind, object) = object(value);
        self.index.apply(kind, &object);
        object
    }

    pub fn delete(&mut self, kind: Kind, namespace: &str, name: &str) {
        self.index.delete(kind, &Key::new(namespace, name));
    }

    /// A Deployment with these replicas, all of them ready.
    pub fn deploy(&mut self, name: &str, accelerator: &str, replicas: u32) {
        self.apply(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "llm-d", "uid": name,
                "labels": {"inference.optimization/acceleratorName": accelerator}},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                {"name": "vllm", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}}},
            "status": {"replicas": replicas}}));
        for i in 0..60 {
            let pod = format!("{name}-{i}");
            if i >= replicas {
                self.delete(Kind::Pod, "llm-d", &pod);
                continue;
            }
            self.pod(&pod);
        }
    }

    /// A ready pod of a Deployment, as its name says.
    fn pod(&mut self, pod: &str) {
        let (name, _) = pod.rsplit_once('-').expect("a name and a number");
        let cost = self.first.contains(pod).then(|| LEAVES_FIRST.to_string());
        let annotations: BTreeMap<&str, String> =
            cost.map(|cost| (DELETION_COST, cost)).into_iter().collect();
        self.apply(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod, "namespace": "llm-d", "uid": pod, "annotations": annotations,
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"pod-template-hash": "h"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-h"), "uid": "r", "controller": true}]},
            "spec": {"nodeName": "n"},
            "status": {"phase": "Running", "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": "True"}]}}));
    }

    fn cost(&mut self, pod: &str, first: bool) {
        match first {
            true => self.first.insert(pod.to_owned()),
            false => self.first.remove(pod),
        };
        self.pod(pod);
    }

    /// One cycle, `CYCLE` seconds later.
    pub fn step(&mut self) -> Outcome {
        self.now += CYCLE;
        let fleet = self.index.fleet(&self.base);
        let gathered = self.gather(&fleet);
        let inputs = Inputs {
            fleet: &fleet,
            gathered: &gathered,
            known: &self.base.catalogue,
            settings: &self.settings,
            written: &std::mem::take(&mut self.written),
            followers: &self.followers,
            now: self.now,
        };
        let outcome = run(&inputs, std::mem::take(&mut self.memory));
        self.memory = outcome.memory.clone();
        outcome
    }

    /// Cycles in which scales and statuses are written as asked, until `count` have passed; the last outcome.
    pub fn live(&mut self, count: usize) -> Outcome {
        let mut last = None;
        for _ in 0..count {
            let outcome = self.step();
            outcome.effects.iter().for_each(|e| self.write(e));
            last = Some(outcome);
        }
        last.expect("at least one cycle")
    }

    pub fn write(&mut self, effect: &Effect) {
        use wva_controllers::cycle::effects::WriteOutcome;
        let done = |variant: &Key, scale| Written {
            variant: variant.clone(),
            scale,
            outcome: WriteOutcome::Done,
        };
        match effect {
            Effect::Scale {
                variant,
                target,
                to,
                ..
            } => {
                let accelerator = self.accelerator(&target.name);
                self.deploy(&target.name, &accelerator, *to);
                self.written.push(done(variant, Some(*to)));
            }
            Effect::Status {
                variant, status, ..
            } => {
                self.set_status(variant, status);
                self.written.push(done(variant, None));
            }
            Effect::Cost { pod, first, .. } => self.cost(pod, *first),
            Effect::Event { .. } | Effect::Keep { .. } => {}
        }
    }

    fn accelerator(&self, target: &str) -> String {
        let fleet = self.index.fleet(&self.base);
        let view = fleet.variants.iter().find(|v| v.target.name == target);
        view.and_then(|v| v.accelerator.clone()).unwrap_or_default()
    }

    fn set_status(
        &mut self,
        variant: &Key,
        status: &wva_controllers::api::VariantAutoscalingStatus,
    ) {
        let mut object = self.autoscalings[variant].clone();
        object.data["status"] = serde_json::to_value(status).expect("serialises");
        self.index.apply(Kind::VariantAutoscaling, &object);
    }

    fn gather(&mut self, fleet: &wva_controllers::index::Fleet) -> Gathered {
        let targets = snapshot::targets(fleet);
        let mut gathered = Gathered {
            at: self.now,
            ..Gathered::default()
        };
        for model in &targets.models {
            let total = self.arrived.entry(model.name.clone()).or_insert(1000.0);
            *total += self.rate * CYCLE;
            let outcome = match self.missing {
                Some(reason) => Telemetry::Missing(Missing::new(reason, "")),
                None => Telemetry::Sample(Sampled {
                    value: sample(&model.name, &model.default_class, *total, self.now),
                    source: Source::Push,
                    age: 0.0,
                    notes: Vec::new(),
                }),
            };
            gathered.streams.push(StreamTelemetry {
                model: model.name.clone(),
                class: model.default_class.clone(),
                outcome,
                counted_by: Some(CountedBy::Router),
                absent: Vec::new(),
            });
        }
        gathered
    }
}

/// Prompts of some 700 tokens, answers of some 250.
fn sample(model: &str, class: &str, total: f64, now: f64) -> StreamSample {
    let histogram = |bounds: [f64; 4], mean: f64| Histogram {
        bounds: bounds.to_vec(),
        counts: [0.1, 0.5, 0.9, 1.0]
            .map(|share| (share * total).round())
            .to_vec(),
        count: total,
        sum: mean * total,
    };
    StreamSample {
        model: model.to_owned(),
        class: class.to_owned(),
        at: now,
        arrivals: total,
        input_tokens: histogram([200.0, 500.0, 1000.0, 4000.0], 700.0),
        output_tokens: histogram([50.0, 200.0, 400.0, 1000.0], 250.0),
        ttft: histogram([0.1, 0.5, 1.0, 1.4], 0.4),
        tpot: histogram([0.01, 0.03, 0.05, 0.1], 0.02),
        met: total,
        ..StreamSample::default()
    }
}
