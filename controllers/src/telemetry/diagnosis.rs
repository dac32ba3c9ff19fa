//! What `doctor` says of the inputs: present? fresh? labelled? and what to do, in one sentence.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::gathered::{CountedBy, Gathered, Outcome, PodTelemetry, StreamTelemetry};
use super::gpu::Verdict;
use super::reason::{Missing, Note, Reason};
use super::targets::Targets;

/// One input of the autoscaler and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Which input: `source`, `engine-metrics`, `arrivals`, `shape`, `gpu`, `names`.
    pub input: String,
    /// Whose, e.g. a variant, a model and class, a source.
    pub subject: String,
    /// There is something of it.
    pub present: bool,
    /// It is recent.
    pub fresh: bool,
    /// It can be told whose it is.
    pub labelled: bool,
    /// Stable code of what is wrong or odd; absent when all is well.
    pub code: Option<String>,
    /// What was seen.
    pub detail: String,
    /// What to do, one sentence; absent when there is nothing to do.
    pub fix: Option<String>,
}

impl Fact {
    fn well(input: &str, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            input: input.to_owned(),
            subject: subject.into(),
            present: true,
            fresh: true,
            labelled: true,
            code: None,
            detail: detail.into(),
            fix: None,
        }
    }

    fn because(mut self, missing: &Missing) -> Self {
        let reason = missing.reason;
        self.present = matches!(
            reason,
            Reason::Stale | Reason::Absurd | Reason::PartialFleet
        );
        self.fresh = false;
        self.labelled = !matches!(reason, Reason::NoClassLabel | Reason::NotInPrometheus);
        self.code = Some(reason.as_str().to_owned());
        self.detail = match missing.age {
            Some(age) => format!("{} ({age:.0} s old)", missing.detail)
                .trim()
                .to_owned(),
            None => missing.detail.clone(),
        };
        self.fix = Some(reason.fix().to_owned());
        self
    }

    fn odd(mut self, code: &str, fix: &str) -> Self {
        self.code = Some(code.to_owned());
        self.fix = Some(fix.to_owned());
        self
    }
}

/// Every input and how it stands, sources first.
#[must_use]
pub fn diagnose(targets: &Targets, gathered: &Gathered) -> Vec<Fact> {
    let serving: BTreeSet<&str> = targets
        .pods
        .iter()
        .filter(|p| p.serving)
        .map(|p| p.uid.as_str())
        .collect();
    let mut facts = sources(gathered);
    facts.extend(targets.variants.iter().map(|v| {
        let pods: Vec<&PodTelemetry> = gathered
            .pods
            .iter()
            .filter(|p| p.variant == v.name)
            .collect();
        engine_metrics(&serving, &v.name, &pods)
    }));
    for stream in &gathered.streams {
        facts.push(arrivals(stream));
        facts.extend(shape(stream));
    }
    facts.extend(gpus(gathered));
    for (name, place) in &gathered.unclaimed {
        let mut fact = Fact::well("names", name.clone(), format!("seen at {place}"));
        fact.labelled = false;
        facts.push(fact.odd(
            "unclaimed-model",
            "Add the name to the model's served_as, or the model to the catalogue.",
        ));
    }
    facts
}

fn sources(gathered: &Gathered) -> Vec<Fact> {
    let configured: Vec<_> = gathered
        .sources
        .iter()
        .filter(|(_, s)| s.configured)
        .collect();
    if configured.is_empty() {
        let missing = Missing::new(Reason::NoSource, "");
        return vec![Fact::well("source", "all", "").because(&missing)];
    }
    let fact = |(name, health): (&String, &super::gathered::SourceHealth)| {
        let failing = health
            .last_error
            .as_ref()
            .filter(|_| health.last_failure > health.last_success);
        let detail = format!(
            "{} series, {:.3} s",
            health.series,
            health.latency_s.unwrap_or(0.0)
        );
        let fact = Fact::well("source", name, detail);
        match (failing, health.warnings.first(), health.clock_skew_s) {
            (Some(missing), _, _) => fact.because(missing),
            (None, Some(warning), _) => {
                let mut fact = fact.odd("warning", "Read the warning; answers may be partial.");
                fact.detail = warning.clone();
                fact
            }
            (None, None, Some(skew)) if skew.abs() > 5.0 => {
                let mut fact =
                    fact.odd("clock-ahead", "Synchronise the clocks (NTP) of the nodes.");
                fact.detail = format!("its clock differs from ours by {skew:.1} s");
                fact
            }
            _ => fact,
        }
    };
    configured.into_iter().map(fact).collect()
}

fn engine_metrics(serving: &BTreeSet<&str>, variant: &str, pods: &[&PodTelemetry]) -> Fact {
    let serving: Vec<_> = pods
        .iter()
        .filter(|p| serving.contains(p.uid.as_str()))
        .collect();
    let missing: Vec<_> = serving
        .iter()
        .filter_map(|p| Some((p, p.outcome.missing()?)))
        .collect();
    let heard = serving.len() - missing.len();
    let fact = Fact::well(
        "engine-metrics",
        variant,
        format!("{heard} of {} pods", serving.len()),
    );
    // The most frequent reason, the first of its pods named.
    let mut by_reason: BTreeMap<Reason, usize> = BTreeMap::new();
    missing
        .iter()
        .for_each(|(_, m)| *by_reason.entry(m.reason).or_default() += 1);
    if let Some((&reason, _)) = by_reason.iter().max_by_key(|(_, n)| **n)
        && let Some((pod, missing)) = missing.iter().find(|(_, m)| m.reason == reason)
    {
        let seen = fact.detail.clone();
        let mut fact = fact.because(missing);
        fact.present |= heard > 0;
        fact.detail = format!("{seen}; {}/{}: {}", pod.namespace, pod.name, fact.detail);
        return fact;
    }
    let notes = |note: Note| {
        pods.iter()
            .any(|p| matches!(&p.outcome, Outcome::Sample(s) if s.notes.contains(&note)))
    };
    if notes(Note::EngineMismatch) {
        let mut fact = fact.odd(
            Note::EngineMismatch.as_str(),
            "Correct the label llm-d.ai/engine-type of the pods.",
        );
        fact.labelled = false;
        return fact;
    }
    if notes(Note::NameMismatch) {
        let mut fact = fact.odd(
            Note::NameMismatch.as_str(),
            "Add the served name to the model's served_as.",
        );
        fact.labelled = false;
        return fact;
    }
    if notes(Note::Duplicated) {
        return fact.odd(
            Note::Duplicated.as_str(),
            "Remove one of the scrape jobs that cover the same pods.",
        );
    }
    fact
}

fn arrivals(stream: &StreamTelemetry) -> Fact {
    let subject = format!("{}/{}", stream.model, stream.class);
    let fact = Fact::well("arrivals", subject, "");
    match &stream.outcome {
        Outcome::Missing(missing) => fact.because(missing),
        Outcome::Sample(s) if stream.counted_by == Some(CountedBy::Engines) => {
            let mut fact = fact.odd(
                Note::LowerBound.as_str(),
                "Scrape the endpoint picker too, so that refused and held requests count.",
            );
            fact.detail = format!(
                "{:.0} counted at the engines, {:.0} s old",
                s.value.arrivals, s.age
            );
            fact
        }
        Outcome::Sample(s) => Fact {
            detail: format!(
                "{:.0} counted by the endpoint picker, {:.0} s old",
                s.value.arrivals, s.age
            ),
            ..fact
        },
    }
}

fn shape(stream: &StreamTelemetry) -> Option<Fact> {
    let sample = stream.outcome.sample()?;
    let subject = format!("{}/{}", stream.model, stream.class);
    let (input, output) = (&sample.input_tokens, &sample.output_tokens);
    if !input.bounds.is_empty() && !output.bounds.is_empty() {
        let detail = format!(
            "{:.0} requests with their length",
            input.count.min(output.count)
        );
        return Some(Fact::well("shape", subject, detail));
    }
    let mut fact = Fact::well("shape", subject, "no histogram of request lengths yet");
    fact.present = false;
    Some(fact.odd(
        "no-shape",
        "Let the engine export its token histograms (SGLang: --prompt-tokens-buckets, --generation-tokens-buckets) or scrape the endpoint picker.",
    ))
}

fn gpus(gathered: &Gathered) -> Vec<Fact> {
    let bad = gathered.gpus.iter().filter_map(|g| {
        let (code, fix) = match g.verdict {
            Verdict::Sound => return None,
            Verdict::FatalXid(_) => (
                "gpu-fatal-xid",
                "Drain the node and reset or replace the GPU.",
            ),
            Verdict::Idle => (
                "gpu-idle-under-load",
                "See whether the engine hangs; restart the pod.",
            ),
        };
        let detail = format!("{} on {}, verdict {:?}", g.gpu.uuid, g.gpu.node, g.verdict);
        Some(Fact::well("gpu", g.variant.clone(), detail).odd(code, fix))
    });
    bad.collect()
}
