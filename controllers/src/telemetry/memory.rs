//! From evidence to what was gathered: the pure half of telemetry, with all that is remembered between cycles.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::gathered::{EngineFacts, Gathered, GpuTelemetry, Outcome, PodTelemetry};
use super::reason::Note;
use super::selection::{Accepted, PodMemory};
use super::streams::{Limits, Streams, unclaimed};
use super::targets::{PodTarget, Targets};

/// When telemetry is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateSettings {
    /// Greatest age of a sample that is used, seconds.
    pub stale_after_seconds: f64,
    /// Greatest share of a model's pods that may be missing before arrivals counted at the engines are held back.
    pub absent_share: f64,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            stale_after_seconds: 90.0,
            absent_share: 0.25,
        }
    }
}

/// What is remembered between cycles.
#[derive(Debug, Default)]
pub struct Memory {
    pods: BTreeMap<String, PodMemory>,
    streams: Streams,
}

impl Memory {
    /// Judges the evidence of one cycle at `now`, seconds since the Unix epoch.
    pub fn judge(
        &mut self,
        targets: &Targets,
        mut evidence: Evidence,
        gates: &GateSettings,
        now: f64,
    ) -> Gathered {
        evidence.spread_pushes();
        let known: BTreeSet<&str> = targets.pods.iter().map(|p| p.uid.as_str()).collect();
        self.pods.retain(|uid, _| known.contains(uid.as_str()));
        let pods: Vec<PodTelemetry> = targets
            .pods
            .iter()
            .map(|pod| self.pod(targets, pod, &evidence, gates, now))
            .collect();
        let believed: BTreeMap<String, &Accepted> = pods
            .iter()
            .filter(|p| p.outcome.sample().is_some())
            .filter_map(|p| Some((p.uid.clone(), self.pods.get(&p.uid)?.accepted()?)))
            .collect();
        let limits = Limits {
            stale_after: gates.stale_after_seconds,
            absent_share: gates.absent_share,
        };
        Gathered {
            at: now,
            streams: self
                .streams
                .gather(targets, &evidence, &believed, limits, now),
            unclaimed: unclaimed(targets, &evidence, &believed),
            gpus: gpus(targets, &evidence, &believed),
            sources: evidence.sources,
            pods,
        }
    }

    fn pod(
        &mut self,
        targets: &Targets,
        pod: &PodTarget,
        evidence: &Evidence,
        gates: &GateSettings,
        now: f64,
    ) -> PodTelemetry {
        let variant = targets.variant(&pod.variant);
        let memory = self.pods.entry(pod.uid.clone()).or_default();
        let mut outcome = memory.choose(
            pod,
            &variant.and_then(|v| v.bounds).unwrap_or_default(),
            evidence.engines.get(&pod.uid).map_or(&[], Vec::as_slice),
            evidence.failures.get(&pod.uid).map_or(&[], Vec::as_slice),
            now,
            gates.stale_after_seconds,
        );
        let reading = memory.accepted().map(|a| &*a.reading);
        let model = variant.and_then(|v| targets.model(&v.model));
        if let (Outcome::Sample(sampled), Some(model), Some(reading)) =
            (&mut outcome, model, reading)
            && !reading.models.is_empty()
            && !reading.models.iter().any(|m| model.is_served_as(m))
        {
            sampled.notes.push(Note::NameMismatch);
        }
        PodTelemetry {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            variant: pod.variant.clone(),
            outcome,
            engine: reading.map(|r| EngineFacts {
                dialect: r.dialect,
                engines: r.engines,
                models: r.models.clone(),
                kv_tokens: r.kv_tokens,
                lora: r.lora.clone(),
            }),
        }
    }
}

/// GPUs joined to the pods of the targets by namespace and name.
fn gpus(
    targets: &Targets,
    evidence: &Evidence,
    believed: &BTreeMap<String, &Accepted>,
) -> Vec<GpuTelemetry> {
    let by_name: BTreeMap<(&str, &str), &PodTarget> = targets
        .pods
        .iter()
        .map(|p| ((p.namespace.as_str(), p.name.as_str()), p))
        .collect();
    evidence
        .gpus
        .iter()
        .filter_map(|gpu| {
            let pod = by_name.get(&(gpu.namespace.as_deref()?, gpu.pod.as_deref()?))?;
            let running = believed.get(&pod.uid).and_then(|a| a.reading.running);
            Some(GpuTelemetry {
                variant: pod.variant.clone(),
                verdict: gpu.verdict(running.is_some_and(|r| r > 0.0)),
                gpu: gpu.clone(),
            })
        })
        .collect()
}
