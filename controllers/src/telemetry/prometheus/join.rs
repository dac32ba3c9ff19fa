//! From the answers of one batch to readings per pod, per endpoint picker, per model and per GPU.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::answer::{self, Labels, Vector};
use super::owners::{Owners, Scraped, choose};
use super::{Answers, Signal};
use crate::telemetry::engine::{EngineReader, EngineReading, Facet, Quantity, field, histogram};
use crate::telemetry::evidence::{Candidate, Evidence, RouterEvidence};
use crate::telemetry::exposition::{LabelSet, number};
use crate::telemetry::gathered::SourceHealth;
use crate::telemetry::gpu::{Gpu, GpuReader};
use crate::telemetry::reason::{Missing, Note, Reason, Source};
use crate::telemetry::router::{self, RouterReader};
use crate::telemetry::tally::Tally;
use crate::telemetry::targets::Targets;

/// What a batch of answers came to.
#[derive(Debug, Default)]
pub(super) struct Digest {
    pub engines: Vec<(String, Candidate<EngineReading>)>,
    pub failures: Vec<(String, Missing)>,
    pub routers: BTreeMap<String, RouterEvidence>,
    pub shapes: BTreeMap<(String, String), Tally>,
    pub gpus: Vec<Gpu>,
    pub series: u64,
    pub warnings: Vec<String>,
    pub error: Option<Missing>,
}

impl Digest {
    /// Notes how the batch went.
    pub fn report(&mut self, now: f64, health: &mut SourceHealth) {
        health.series = self.series;
        health.warnings = std::mem::take(&mut self.warnings);
        match self.error.take() {
            Some(missing) => (health.last_failure, health.last_error) = (Some(now), Some(missing)),
            None => health.last_success = Some(now),
        }
    }

    /// Adds all that was found to the evidence.
    pub fn hand_over(self, evidence: &mut Evidence) {
        for (uid, candidate) in self.engines {
            evidence.engine(&uid, candidate);
        }
        for (uid, missing) in self.failures {
            evidence.failure(&uid, Source::Prometheus, missing);
        }
        for (origin, router) in self.routers {
            let known = evidence.routers.entry(origin).or_default();
            known.namespace = known.namespace.take().or(router.namespace);
            known.candidates.extend(router.candidates);
        }
        evidence.shapes.extend(self.shapes);
        evidence.gpus.extend(self.gpus);
    }
}

/// Notes that nothing is known of any pod, for `missing`.
pub(super) fn nothing(targets: &Targets, missing: &Missing, evidence: &mut Evidence) {
    for pod in &targets.pods {
        evidence.failure(&pod.uid, Source::Prometheus, missing.clone());
    }
}

/// Joins the answers to the targets.
pub(super) fn digest(targets: &Targets, answers: &Answers, now: f64) -> Digest {
    let mut out = Digest::default();
    let mut vectors: BTreeMap<Signal, Vector<'_>> = BTreeMap::new();
    for (signal, body) in &answers.bodies {
        match body
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|b| answer::vector(b))
        {
            Ok(vector) => {
                out.series += vector.series.len() as u64;
                out.warnings.extend(
                    vector
                        .warnings
                        .iter()
                        .map(|w| format!("{}: {w}", signal.as_str())),
                );
                vectors.insert(*signal, vector);
            }
            Err(missing) => {
                let detail = format!("{}: {}", signal.as_str(), missing.detail);
                out.error = Some(Missing { detail, ..missing });
            }
        }
    }
    out.warnings.sort_unstable();
    out.warnings.dedup();
    let owners = Owners::new(targets);
    let asked = answers.bodies.iter().any(|(s, _)| *s == Signal::Engines);
    match (
        vectors.get(&Signal::Heartbeats),
        vectors.get(&Signal::Engines),
    ) {
        (Some(beats), Some(engines)) => {
            join_engines(targets, &owners, beats, engines, now, &mut out)
        }
        _ if asked => {
            let missing = out
                .error
                .clone()
                .unwrap_or_else(|| Missing::new(Reason::PrometheusError, ""));
            out.failures = targets
                .pods
                .iter()
                .map(|p| (p.uid.clone(), missing.clone()))
                .collect();
        }
        _ => {}
    }
    if let (Some(beats), Some(routers)) = (
        vectors.get(&Signal::RouterHeartbeats),
        vectors.get(&Signal::Routers),
    ) {
        out.routers = join_routers(targets, beats, routers);
    }
    if let Some(shapes) = vectors.get(&Signal::Shapes) {
        out.shapes = join_shapes(shapes);
    }
    if let Some(gpus) = vectors.get(&Signal::Gpus) {
        let mut reader = GpuReader::default();
        for s in &gpus.series {
            reader.take(
                &s.metric.label("__name__").unwrap_or_default(),
                &s.metric,
                s.number(),
            );
        }
        out.gpus = reader.finish();
    }
    out
}

fn join_engines(
    targets: &Targets,
    owners: &Owners<'_>,
    beats: &Vector<'_>,
    engines: &Vector<'_>,
    now: f64,
    out: &mut Digest,
) {
    let chosen = choose(beats, |l| Some(owners.of(l)?.uid.clone()));
    let mut readers: BTreeMap<&str, BTreeMap<String, EngineReader>> = BTreeMap::new();
    for s in &engines.series {
        let Some(field) = s.metric.label("__name__").and_then(|n| field(&n)) else {
            continue;
        };
        let Some(pod) = owners.of(&s.metric) else {
            continue;
        };
        let Scraped { instance, job } = Scraped::of(&s.metric);
        let read = chosen
            .get(&pod.uid)
            .and_then(|(instances, _)| instances.get(&instance));
        if read.is_some_and(|(_, chosen)| *chosen == job) {
            let reader = readers
                .entry(&pod.uid)
                .or_default()
                .entry(instance)
                .or_default();
            reader.take(field, &s.metric, s.number());
        }
    }
    for pod in &targets.pods {
        let reading = readers.remove(pod.uid.as_str()).and_then(|instances| {
            let mut readings = instances.into_values().filter_map(|r| r.finish(pod.engine));
            let mut first = readings.next()?;
            readings.for_each(|r| first.join(r));
            Some(first)
        });
        let Some((reading, (instances, several))) = reading.zip(chosen.get(&pod.uid)) else {
            out.failures
                .push((pod.uid.clone(), Missing::new(Reason::NotInPrometheus, "")));
            continue;
        };
        // As old as its oldest part.
        let at = instances
            .values()
            .map(|(at, _)| *at)
            .fold(f64::INFINITY, f64::min);
        out.engines.push((
            pod.uid.clone(),
            Candidate {
                source: Source::Prometheus,
                at: if at.is_finite() { at } else { now },
                reading: Arc::new(reading),
                notes: if *several {
                    vec![Note::Duplicated]
                } else {
                    Vec::new()
                },
            },
        ));
    }
}

fn join_routers(
    targets: &Targets,
    beats: &Vector<'_>,
    routers: &Vector<'_>,
) -> BTreeMap<String, RouterEvidence> {
    let place = |l: &Labels<'_>| -> (Option<String>, String) {
        let namespace = l
            .label("exported_namespace")
            .or_else(|| l.label("namespace"))
            .map(Cow::into_owned);
        let pod = l
            .label("exported_pod")
            .or_else(|| l.label("pod"))
            .or_else(|| l.label("instance"));
        (namespace, pod.unwrap_or_default().into_owned())
    };
    let owner = |l: &Labels<'_>| -> String {
        let (namespace, pod) = place(l);
        let namespace = namespace.unwrap_or_default();
        let known = targets
            .routers
            .iter()
            .find(|r| r.name == pod && r.namespace == namespace);
        known.map_or_else(|| format!("{namespace}/{pod}"), |r| r.uid.clone())
    };
    let chosen = choose(beats, |l| Some(owner(l)));
    let mut readers: BTreeMap<String, (Option<String>, RouterReader)> = BTreeMap::new();
    for s in &routers.series {
        let Some(field) = s.metric.label("__name__").and_then(|n| router::field(&n)) else {
            continue;
        };
        let origin = owner(&s.metric);
        let Scraped { instance, job } = Scraped::of(&s.metric);
        let read = chosen
            .get(&origin)
            .and_then(|(instances, _)| instances.get(&instance));
        if read.is_some_and(|(_, chosen)| *chosen == job) {
            let (_, reader) = readers
                .entry(origin)
                .or_insert_with(|| (place(&s.metric).0, RouterReader::default()));
            reader.take(field, &s.metric, s.number());
        }
    }
    let evidence = readers
        .into_iter()
        .filter_map(|(origin, (namespace, reader))| {
            let (instances, several) = chosen.get(&origin)?;
            let candidate = Candidate {
                source: Source::Prometheus,
                at: instances.values().map(|(at, _)| *at).reduce(f64::min)?,
                reading: Arc::new(reader.finish()?),
                notes: if *several {
                    vec![Note::Duplicated]
                } else {
                    Vec::new()
                },
            };
            let candidates = vec![candidate];
            Some((
                origin,
                RouterEvidence {
                    namespace,
                    candidates,
                },
            ))
        });
    evidence.collect()
}

/// Histograms per (namespace, served name).
fn join_shapes(shapes: &Vector<'_>) -> BTreeMap<(String, String), Tally> {
    type Parts = BTreeMap<Quantity, (Vec<(f64, f64)>, f64, f64)>;
    let mut by_model: BTreeMap<(String, String), Parts> = BTreeMap::new();
    for s in &shapes.series {
        let Some(field) = s.metric.label("__name__").and_then(|n| field(&n)) else {
            continue;
        };
        let text = |name| s.metric.label(name).unwrap_or_default().into_owned();
        let parts = by_model
            .entry((text("namespace"), text("model_name")))
            .or_default();
        let (buckets, count, sum) = parts.entry(field.quantity).or_default();
        match (field.facet, s.metric.label("le").and_then(|le| number(&le))) {
            (Facet::Bucket, Some(le)) => buckets.push((le, s.number())),
            (Facet::Bucket, None) => {}
            (Facet::Value, _) => *count += s.number(),
            (Facet::Sum, _) => *sum += s.number(),
        }
    }
    let tally = |mut parts: Parts| {
        let mut of = |quantity| {
            let (buckets, count, sum) = parts.remove(&quantity).unwrap_or_default();
            histogram(buckets, count, sum)
        };
        Tally {
            input: of(Quantity::InputTokens),
            output: of(Quantity::OutputTokens),
            ttft: of(Quantity::Ttft),
            tpot: of(Quantity::Tpot),
            ..Tally::default()
        }
    };
    by_model
        .into_iter()
        .map(|(key, parts)| (key, tally(parts)))
        .collect()
}
