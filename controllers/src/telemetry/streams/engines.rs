//! What the engines of one model show together.

use std::collections::{BTreeMap, BTreeSet};

use super::super::engine::EngineReading;
use super::super::evidence::Evidence;
use super::super::ledger::Showing;
use super::super::reason::Source;
use super::super::selection::Accepted;
use super::super::tally::Tally;
use super::super::targets::{ModelTarget, Part, PodTarget, Targets};
use super::Contribution;

/// A short prompt, tokens: what is taken where none was seen.
const SHORT: f64 = 50.0;

/// What the engines of one model show.
pub(super) struct Engines {
    pub contribution: Contribution,
    /// UIDs of pods that should show something.
    pub expected: Vec<String>,
    names: BTreeMap<String, String>,
    pub source: Source,
    pub shape: Option<Tally>,
    /// Tokens per second that those expected can do at most.
    tokens_per_s: f64,
}

impl Engines {
    pub fn of(
        targets: &Targets,
        evidence: &Evidence,
        pods: &BTreeMap<String, &Accepted>,
        model: &ModelTarget,
    ) -> Self {
        let mut out = Self {
            contribution: Contribution::default(),
            expected: Vec::new(),
            names: BTreeMap::new(),
            source: Source::Pod,
            shape: None,
            tokens_per_s: 0.0,
        };
        let serving: Vec<&str> = targets
            .variants
            .iter()
            .filter(|v| v.model == model.name && v.part != Part::Prefill)
            .map(|v| v.name.as_str())
            .collect();
        let mut served: BTreeSet<(String, String)> = BTreeSet::new();
        let of_model = |p: &&PodTarget| serving.contains(&p.variant.as_str());
        for pod in targets.pods.iter().filter(of_model) {
            out.names
                .insert(pod.uid.clone(), format!("{}/{}", pod.namespace, pod.name));
            if pod.serving {
                out.expected.push(pod.uid.clone());
                let bounds = targets.variant(&pod.variant).and_then(|v| v.bounds);
                out.tokens_per_s += bounds.unwrap_or_default().tokens_per_second;
            }
            if let Some(accepted) = pods.get(&pod.uid) {
                out.source = accepted.source;
                out.contribution.add(pod, accepted);
                let names = accepted.reading.models.iter();
                served.extend(names.map(|m| (pod.namespace.clone(), m.clone())));
            }
        }
        for shape in served.iter().filter_map(|key| evidence.shapes.get(key)) {
            out.shape.get_or_insert_default().add(shape);
        }
        out
    }

    /// Requests per second that they could have got at most, by the prompts seen so far.
    pub fn most(&self, seen: &Tally) -> f64 {
        let mean = seen.input.sum / seen.input.count;
        let mean = if mean.is_finite() { mean } else { SHORT };
        self.tokens_per_s / mean.max(SHORT)
    }

    pub fn name(&self, uid: &String) -> String {
        self.names.get(uid).unwrap_or(uid).clone()
    }
}

impl Contribution {
    fn add(&mut self, pod: &PodTarget, accepted: &Accepted) {
        let r = &accepted.reading;
        self.named = true;
        self.heard = Some(self.heard.map_or(accepted.at, |h| h.max(accepted.at)));
        self.running += r.running.unwrap_or(0.0) + r.waiting.unwrap_or(0.0);
        self.showing.push(Showing {
            origin: pod.uid.clone(),
            at: accepted.at,
            tally: tally(r),
            started_at: r.started_at,
            born: pod.started_at,
            leaps: accepted.leaps,
        });
    }
}

/// The counters of one engine.
fn tally(r: &EngineReading) -> Tally {
    let (cached, prompted) = match (r.cached_tokens, r.prefix_hits, r.prefix_queries) {
        (Some(cached), _, _) => (cached, r.prompt_tokens),
        (None, Some(hits), Some(queries)) => (hits, queries),
        _ => (0.0, 0.0),
    };
    Tally {
        arrivals: r.seen_requests(),
        cached,
        prompted,
        input: r.input_tokens.clone(),
        output: r.output_tokens.clone(),
        ttft: r.ttft.clone(),
        tpot: r.tpot.clone(),
        ..Tally::default()
    }
}
