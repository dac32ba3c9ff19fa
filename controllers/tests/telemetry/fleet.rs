//! A small fleet: one model with a default and a premium class, and pods to hang evidence on.

use std::sync::Arc;

use wva_controllers::telemetry::engine::EngineReading;
use wva_controllers::telemetry::evidence::{Candidate, Evidence};
use wva_controllers::telemetry::exposition::Syntax;
use wva_controllers::telemetry::gathered::Gathered;
use wva_controllers::telemetry::memory::{GateSettings, Memory};
use wva_controllers::telemetry::reason::Source;
use wva_controllers::telemetry::targets::{
    ClassTarget, ModelTarget, Part, PodTarget, RouterTarget, Targets, VariantTarget,
};

use crate::pages::{self, Load};

pub fn pod(name: &str, variant: &str) -> PodTarget {
    PodTarget {
        namespace: "ml".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        ip: Some("127.0.0.1".into()),
        variant: variant.into(),
        serving: true,
        ..PodTarget::default()
    }
}

pub fn variant(name: &str, part: Part) -> VariantTarget {
    VariantTarget {
        name: name.into(),
        namespace: "ml".into(),
        model: "llama".into(),
        part,
        bounds: None,
    }
}

pub fn targets(pods: &[&str]) -> Targets {
    Targets {
        pods: pods.iter().map(|name| pod(name, "v")).collect(),
        variants: vec![variant("v", Part::Both)],
        models: vec![ModelTarget {
            name: "llama".into(),
            served_as: ["meta/llama".to_owned()].into(),
            default_class: "standard".into(),
            classes: vec![
                ClassTarget {
                    name: "standard".into(),
                    ttft_s: Some(0.1),
                    ..ClassTarget::default()
                },
                ClassTarget {
                    name: "premium".into(),
                    priority: Some(10),
                    ..ClassTarget::default()
                },
            ],
        }],
        routers: Vec::new(),
    }
}

pub fn router(name: &str) -> RouterTarget {
    RouterTarget {
        namespace: "ml".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        ip: Some("127.0.0.1".into()),
        ..RouterTarget::default()
    }
}

pub fn reading(load: Load) -> EngineReading {
    let page = pages::vllm("meta/llama", &[load]);
    EngineReading::of_pages([(page.as_bytes(), Syntax::Text)], None)
        .0
        .unwrap()
}

/// A load that has seen `n` requests, all of them finished.
pub fn finished(n: f64) -> Load {
    Load {
        running: 0.0,
        waiting: 0.0,
        finished: n,
        ..pages::LOAD
    }
}

pub fn candidate(source: Source, at: f64, reading: EngineReading) -> Candidate<EngineReading> {
    Candidate {
        source,
        at,
        reading: Arc::new(reading),
        notes: Vec::new(),
    }
}

/// Evidence of engines: (pod, source, time, requests finished).
pub fn heard(what: &[(&str, Source, f64, f64)]) -> Evidence {
    let mut evidence = Evidence::default();
    for &(pod, source, at, n) in what {
        evidence.engine(
            &format!("uid-{pod}"),
            candidate(source, at, reading(finished(n))),
        );
    }
    evidence
}

pub fn judge(memory: &mut Memory, targets: &Targets, evidence: Evidence, now: f64) -> Gathered {
    memory.judge(targets, evidence, &GateSettings::default(), now)
}
