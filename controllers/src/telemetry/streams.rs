//! Offered traffic per (model, class), from whoever knows it best.
//!
//! An endpoint picker sees what is offered, and its class. The engines see only what reached them, and no class: their
//! count stands in for the model's default class where no picker is heard, or what one claims cannot be (`streams::doubt`),
//! and says so. Prefill pods are left out, because each of their requests comes to a decode pod too.

mod doubt;
mod engines;
mod routed;
mod whole;

use std::collections::BTreeMap;

use wva_optimizer::snapshot::{DueWork, Histogram, StreamSample};

use super::evidence::Evidence;
use super::gathered::{CountedBy, Outcome, Sampled, StreamTelemetry};
use super::ledger::{Emitted, Growth, Showing, Side};
use super::reason::{Missing, Note, Reason, Source};
use super::selection::Accepted;
use super::tally::Tally;
use super::targets::{ClassTarget, ModelTarget, Targets};
use doubt::{Belief, Doubt, FAR, SLACK};
use engines::Engines;
use routed::{Routed, model_of};
use whole::Whole;

/// Sources of endpoint pickers' counts, the one preferred first.
const SOURCES: [Source; 3] = Source::ALL;
/// The side of the engines, after those of the pickers.
const ENGINES: usize = SOURCES.len();

/// What one origin shows of one stream, with its gauges.
#[derive(Debug, Clone, Default)]
struct Contribution {
    showing: Vec<Showing>,
    held: f64,
    running: f64,
    backlog: Vec<DueWork>,
    /// Newest time at which the side was heard at all.
    heard: Option<f64>,
    /// Whether any of its origins knows this stream.
    named: bool,
}

#[derive(Debug, Default)]
struct Stream {
    /// Endpoint pickers, by source.
    sides: [Side; 3],
    emitted: Emitted<4>,
    counted: Option<(CountedBy, Source)>,
}

/// What is remembered of the engines of one model.
#[derive(Debug, Default)]
struct ModelEngines {
    side: Side,
    /// Shapes of the whole model as Prometheus last showed them.
    whole: Whole,
    /// Requests as the engines saw them, for shapes that pickers do not report.
    seen: Tally,
    /// Whether pickers are believed, by source.
    doubts: [Doubt; 3],
    /// When it was looked at last, and of what time the engines spoke then.
    looked: (Option<f64>, Option<f64>),
}

/// What is remembered of all streams between cycles.
#[derive(Debug, Default)]
pub struct Streams {
    streams: BTreeMap<(String, String), Stream>,
    models: BTreeMap<String, ModelEngines>,
}

/// Limits that streams are held against.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Greatest age of a sample, seconds.
    pub stale_after: f64,
    /// Greatest share of a model's pods that may be missing from the engines' sum.
    pub absent_share: f64,
}

impl Streams {
    /// The telemetry of every (model, class) of the targets. `pods` are the readings believed in this cycle, by UID.
    pub fn gather(
        &mut self,
        targets: &Targets,
        evidence: &Evidence,
        pods: &BTreeMap<String, &Accepted>,
        limits: Limits,
        now: f64,
    ) -> Vec<StreamTelemetry> {
        self.forget(targets);
        let mut out = Vec::new();
        for model in &targets.models {
            let routed = Routed::of(targets, evidence, model, limits, now);
            let engines = Engines::of(targets, evidence, pods, model);
            let memory = self.models.entry(model.name.clone()).or_default();
            let growth = memory.observe(&engines, limits, now);
            let beliefs = memory.beliefs(&routed, &engines, &growth, limits, now);
            for class in &model.classes {
                let cycle = Cycle {
                    model,
                    class,
                    pickers: SOURCES.map(|source| routed.of_class(&class.name, source)),
                    beliefs,
                    engines: &engines,
                    growth: &growth,
                    seen: &memory.seen,
                    limits,
                    now,
                };
                let stream = self.streams.entry((model.name.clone(), class.name.clone()));
                out.push(stream.or_default().telemetry(&cycle));
            }
        }
        out
    }

    fn forget(&mut self, targets: &Targets) {
        self.models.retain(|name, _| targets.model(name).is_some());
        self.streams.retain(|(model, class), _| {
            let model = targets.model(model);
            model.is_some_and(|m| m.classes.iter().any(|c| c.name == *class))
        });
    }
}

impl ModelEngines {
    /// What the engines counted since the last cycle. Where their own histograms were not read, shapes are those of the
    /// whole model.
    fn observe(&mut self, engines: &Engines, limits: Limits, now: f64) -> Growth {
        let elapsed = self.looked.0.map_or(0.0, |looked| now - looked);
        let mut growth = self
            .side
            .observe(&engines.contribution.showing, &engines.expected, now);
        if let Some(whole) = &engines.shape
            && growth.tally.input.bounds.is_empty()
        {
            let most = engines.most(&self.seen) * elapsed.max(1.0);
            let most = FAR * growth.tally.arrivals.max(most) + SLACK;
            let grown = self.whole.grow(whole, most, limits.stale_after, now);
            let t = &mut growth.tally;
            (t.input, t.output, t.ttft, t.tpot) =
                (grown.input, grown.output, grown.ttft, grown.tpot);
        }
        self.seen.add(&growth.tally);
        growth
    }

    /// Whether what pickers claim can be, by source.
    fn beliefs(
        &mut self,
        routed: &Routed,
        engines: &Engines,
        growth: &Growth,
        limits: Limits,
        now: f64,
    ) -> [Belief; 3] {
        let (looked, spoke) = std::mem::replace(&mut self.looked, (Some(now), growth.at));
        let elapsed = looked.map_or(0.0, |looked| now - looked);
        // Engines that say nothing new say nothing against anybody.
        let known = growth.at > spoke && !partial(engines, growth, limits);
        let most = || engines.most(&self.seen) * elapsed;
        let got = if known { growth.tally.arrivals } else { most() };
        let got = (!engines.expected.is_empty()).then_some(got);
        let patience = limits.stale_after / 3.0;
        let mut doubts = self.doubts.iter_mut();
        SOURCES.map(|source| match doubts.next() {
            Some(doubt) => doubt.look(&routed.sent(source), got, patience, now),
            None => Belief::Believed,
        })
    }
}

/// Whether too many pods are missing for the engines' sum to mean anything.
fn partial(engines: &Engines, growth: &Growth, limits: Limits) -> bool {
    growth.absent.len() as f64 > limits.absent_share * engines.expected.len() as f64
}

/// All that one stream's telemetry is made of.
struct Cycle<'a> {
    model: &'a ModelTarget,
    class: &'a ClassTarget,
    /// By source, in the order of preference.
    pickers: [Contribution; 3],
    beliefs: [Belief; 3],
    engines: &'a Engines,
    growth: &'a Growth,
    seen: &'a Tally,
    limits: Limits,
    now: f64,
}

impl Cycle<'_> {
    fn is_default(&self) -> bool {
        self.class.name == self.model.default_class
    }

    fn is_fresh(&self, at: Option<f64>) -> bool {
        at.is_some_and(|at| self.now - at <= self.limits.stale_after)
    }

    fn contribution(&self, side: usize) -> &Contribution {
        self.pickers.get(side).unwrap_or(&self.engines.contribution)
    }

    /// What pickers and engines counted, by side, judged by the class's bounds.
    fn judged(&self, pickers: &[Growth]) -> [Tally; 4] {
        std::array::from_fn(|i| {
            let mut tally = match pickers.get(i) {
                Some(growth) => growth.tally.clone(),
                None if self.is_default() => self.growth.tally.clone(),
                None => Tally::default(),
            };
            tally.judge(self.class);
            tally
        })
    }

    fn too_partial(&self) -> bool {
        partial(self.engines, self.growth, self.limits)
    }

    /// Whether this belief is had of a picker that has something to say.
    fn any(&self, belief: Belief) -> bool {
        let heard = |(picker, b): (&Contribution, &Belief)| {
            *b == belief && picker.named && self.is_fresh(picker.heard)
        };
        self.pickers.iter().zip(&self.beliefs).any(heard)
    }
}

impl Stream {
    fn telemetry(&mut self, cycle: &Cycle<'_>) -> StreamTelemetry {
        let growths: Vec<Growth> = self
            .sides
            .iter_mut()
            .zip(&cycle.pickers)
            .map(|(side, picker)| side.observe(&picker.showing, &[], cycle.now))
            .collect();
        let side = self.choose(cycle);
        let when = |side: usize| {
            let growth = growths.get(side).unwrap_or(cycle.growth);
            let at = growth.at.or(cycle.contribution(side).heard);
            at.unwrap_or(cycle.now).min(cycle.now)
        };
        self.emitted
            .take(&cycle.judged(&growths), side.map(|i| (i, when(i))));
        for (side, belief) in cycle.beliefs.iter().enumerate() {
            if *belief == Belief::Contradicted {
                self.emitted.forget(side);
            }
        }
        let absent: Vec<String> = cycle
            .growth
            .absent
            .iter()
            .map(|uid| cycle.engines.name(uid))
            .collect();
        let who = side.map(|side| match SOURCES.get(side) {
            Some(source) => (CountedBy::Router, *source),
            None => (CountedBy::Engines, cycle.engines.source),
        });
        self.counted = who.or(self.counted);
        let outcome = match (side, who) {
            (Some(side), Some((by, source))) => Outcome::Sample(Sampled {
                value: self.sample(cycle, cycle.contribution(side)),
                source,
                age: (cycle.now - self.emitted.at.unwrap_or(cycle.now)).max(0.0),
                notes: cycle.notes(by),
            }),
            _ => Outcome::Missing(cycle.why_missing()),
        };
        StreamTelemetry {
            model: cycle.model.name.clone(),
            class: cycle.class.name.clone(),
            outcome,
            counted_by: who.map(|(by, _)| by),
            absent,
        }
    }

    /// The side to believe. A picker that lives and has not seen this stream is believed only where it was the one to count
    /// before: else requests may well go past it.
    fn choose(&self, cycle: &Cycle<'_>) -> Option<usize> {
        if cycle.any(Belief::Doubted) {
            return None;
        }
        let picker = cycle
            .pickers
            .iter()
            .zip(SOURCES)
            .position(|(picker, source)| {
                let counted = self.counted == Some((CountedBy::Router, source));
                let believed = cycle
                    .beliefs
                    .iter()
                    .zip(SOURCES)
                    .any(|(b, s)| s == source && *b == Belief::Believed);
                believed && cycle.is_fresh(picker.heard) && (picker.named || counted)
            });
        let heard = cycle.engines.contribution.heard;
        let engines = cycle.is_default() && cycle.is_fresh(heard) && !cycle.too_partial();
        picker.or(engines.then_some(ENGINES))
    }

    fn sample(&self, cycle: &Cycle<'_>, contribution: &Contribution) -> StreamSample {
        let (total, seen) = (&self.emitted.total, cycle.seen);
        let or = |own: &Histogram, engines: &Histogram| {
            if own.count > 0.0 {
                own.clone()
            } else {
                engines.clone()
            }
        };
        StreamSample {
            model: cycle.model.name.clone(),
            class: cycle.class.name.clone(),
            at: self.emitted.at.unwrap_or(f64::NAN),
            arrivals: total.arrivals,
            input_tokens: or(&total.input, &seen.input),
            output_tokens: or(&total.output, &seen.output),
            prefix_hit: total.prefix_hit().or_else(|| seen.prefix_hit()),
            ttft: total.ttft.clone(),
            tpot: total.tpot.clone(),
            met: total.met,
            missed: total.missed,
            held: contribution.held,
            running: contribution.running,
            backlog: contribution.backlog.clone(),
        }
    }
}

impl Cycle<'_> {
    /// What is odd about a sample that this one counted.
    fn notes(&self, by: CountedBy) -> Vec<Note> {
        let engines = by == CountedBy::Engines;
        let notes = [
            (Note::LowerBound, engines),
            (
                Note::PartialFleet,
                engines && !self.growth.absent.is_empty(),
            ),
            (Note::Contradicted, self.any(Belief::Contradicted)),
        ];
        let notes = notes.into_iter().filter(|(_, holds)| *holds);
        notes.map(|(note, _)| note).collect()
    }

    fn why_missing(&self) -> Missing {
        if self.any(Belief::Doubted) || self.any(Belief::Contradicted) {
            let detail = "the endpoint picker claims far more requests than the engines got";
            return Missing::new(Reason::Contradicted, detail);
        }
        let heard = self.pickers.iter().map(|p| p.heard);
        let engines = Some(self.engines.contribution.heard).filter(|_| self.is_default());
        let newest = heard.chain(engines).flatten().fold(f64::NAN, f64::max);
        if self.now - newest > self.limits.stale_after {
            let mut stale = Missing::new(Reason::Stale, format!("arrivals of {}", self.model.name));
            stale.age = Some(self.now - newest);
            return stale;
        }
        if self.is_default() && !self.growth.absent.is_empty() && self.too_partial() {
            let names: Vec<String> = self
                .growth
                .absent
                .iter()
                .map(|uid| self.engines.name(uid))
                .collect();
            return Missing::new(Reason::PartialFleet, names.join(", "));
        }
        if self.pickers.iter().any(|p| p.heard.is_some()) {
            let detail = "the endpoint picker has seen no request of this class yet";
            return Missing::new(Reason::NoArrivals, detail);
        }
        if !self.is_default() {
            let detail = format!("engines count for class {} alone", self.model.default_class);
            return Missing::new(Reason::NoClassLabel, detail);
        }
        Missing::new(
            Reason::NoArrivals,
            "neither an endpoint picker nor an engine is heard",
        )
    }
}

/// Model names that pickers and engines report and nobody claims, with where they were seen.
pub(super) fn unclaimed(
    targets: &Targets,
    evidence: &Evidence,
    pods: &BTreeMap<String, &Accepted>,
) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (origin, router) in &evidence.routers {
        for flow in router
            .candidates
            .iter()
            .flat_map(|c| c.reading.flows.keys())
        {
            let known = model_of(targets, flow, router.namespace.as_deref()).is_some();
            if !known && !flow.model.is_empty() {
                out.entry(flow.model.clone())
                    .or_insert_with(|| format!("endpoint picker {origin}"));
            }
        }
    }
    for pod in &targets.pods {
        let Some(accepted) = pods.get(&pod.uid) else {
            continue;
        };
        for name in &accepted.reading.models {
            if targets.served(name, Some(&pod.namespace)).is_none() {
                out.entry(name.clone())
                    .or_insert_with(|| format!("pod {}/{}", pod.namespace, pod.name));
            }
        }
    }
    out
}
