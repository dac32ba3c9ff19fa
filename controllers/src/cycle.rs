//! One decision cycle as a function: what is known goes in, what is to be done comes out as values.
//!
//! ```text
//! Fleet, Gathered, outcomes of earlier writes, Memory, now
//!     └─► pose ─► step ─► per variant: verdict ─► report (published) · effects (written by the leader) · Memory
//! ```
//! Nothing is written here. An effect says what should be so, is made only where the cluster shows something else, and is
//! made again next cycle while that lasts: a lost write costs one cycle, and a steady fleet writes nothing.

pub mod components;
pub mod effects;
pub mod memory;

pub mod drain;

mod conditions;
mod events;
mod margin;
mod observed;
mod predicted;
mod scale;
mod status;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use wva_models::catalogue::Catalogue;
use wva_models::exchange::Leaving;
use wva_models::variant::Variant;
use wva_optimizer::decision::{Decision, Reason};
use wva_optimizer::state::State;
use wva_optimizer::step::{Cycle, Settings};

use crate::index::fleet::{Fleet, VariantView};
use crate::published::{Entry, Latencies, Report, ScaleTarget, Solver, VariantKey, VariantReport};
use crate::snapshot::{Before, Posed, pose};
use crate::telemetry::reason::Note;
use crate::telemetry::{Gathered, Missing};
use drain::Followers;
use effects::{Effect, Written};
use memory::Memory;
use observed::Observed;
use predicted::Expected;
use verdict::Verdict;

/// What a cycle starts from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The cluster.
    pub fleet: &'a Fleet,
    /// Its telemetry.
    pub gathered: &'a Gathered,
    /// Models that are known by name.
    pub known: &'a Catalogue,
    /// How to decide.
    pub settings: &'a Settings,
    /// What became of effects since the last cycle.
    pub written: &'a [Written],
    /// Endpoint pickers that leave out whom we say.
    pub followers: &'a Followers,
    /// Seconds since the Unix epoch.
    pub now: f64,
}

/// What a cycle came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What to remember.
    pub memory: Memory,
    /// The decisions.
    pub cycle: Cycle,
    /// The question that they answer, for the record.
    pub posed: Posed,
    /// What the optimizer remembered when it was asked, for the record.
    pub before: State,
    /// What to publish; the time that solving took is the caller's to add.
    pub report: Report,
    /// What to write, for the leader.
    pub effects: Vec<Effect>,
    /// Decisions that changed, in words, one line each.
    pub changes: Vec<String>,
    /// Who leaves, and whose replicas they are, for endpoint pickers.
    pub departures: Departures,
}

/// What endpoint pickers are told of pods.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Departures {
    /// Pods that will be taken away next.
    pub leaving: Vec<Leaving>,
    /// Name of the workload behind each variant.
    pub workloads: BTreeMap<String, String>,
}

impl Outcome {
    /// How the plan was found, which took `seconds`; `None` where nothing was planned.
    #[must_use]
    pub fn solver(&self, seconds: f64) -> Option<Solver> {
        let (cost, bound) = self.cycle.cost?;
        let gap = if cost > 0.0 {
            ((cost - bound) / cost).max(0.0)
        } else {
            0.0
        };
        Some(Solver { gap, seconds })
    }
}

/// What one variant's part of the outcome is made from.
struct Part<'a> {
    view: &'a VariantView,
    verdict: Verdict<'a>,
    observed: Latencies,
    predicted: Latencies,
    data_age: Option<f64>,
    trust: Option<f64>,
    price: Option<f64>,
    margin: Option<f64>,
    /// Why fewer replicas are waited with.
    waits: Option<Reason>,
    /// Whether a router's count of the model's requests is not believed.
    contradicted: bool,
}

/// One cycle.
#[must_use]
pub fn run(inputs: &Inputs<'_>, mut memory: Memory) -> Outcome {
    memory.learn(inputs.written, inputs.now);
    memory.note_requests(inputs.gathered, inputs.now);
    let before = Before {
        ready: memory.ready.as_ref(),
        last_request: &memory.last_request,
    };
    let posed = pose(
        inputs.fleet,
        inputs.gathered,
        inputs.known,
        inputs.settings,
        before,
        inputs.now,
    );
    memory.forget_what_changed(&posed.autoscaler.catalogue);
    let state = std::mem::take(&mut memory.optimizer);
    let remembered = state.clone();
    let (state, cycle) = components::decide(
        &posed.autoscaler,
        &posed.snapshot,
        state,
        &mut memory.capacities,
    );
    memory.optimizer = state;
    memory.note_bounds(&posed.autoscaler.catalogue);
    conclude(inputs, posed, remembered, cycle, memory)
}

fn conclude(
    inputs: &Inputs<'_>,
    posed: Posed,
    before: State,
    cycle: Cycle,
    mut memory: Memory,
) -> Outcome {
    let decisions: BTreeMap<&str, &Decision> = cycle
        .decisions
        .iter()
        .map(|d| (d.variant.as_str(), d))
        .collect();
    let ages = Ages::of(inputs.gathered);
    let prices = prices(&posed.autoscaler.catalogue);
    let margins = margin::of(
        inputs.gathered,
        &inputs.fleet.classes,
        &mut memory.latencies,
    );
    let mut observed = Observed::new(inputs.gathered, &mut memory.counters);
    let mut expected = Expected::new(&posed.autoscaler, &posed.snapshot, &memory.optimizer);
    let (mut entries, mut effects, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    let mut departures = Departures::default();
    for view in &inputs.fleet.variants {
        let name = view.name();
        let missing = ages.missing(view);
        let verdict = Verdict::of(
            view,
            decisions.get(name.as_str()).copied(),
            posed.left_out.get(&name),
            missing.as_ref(),
            memory.variants.get(&name),
            inputs.now,
        );
        let remembered = memory.variants.entry(name.clone()).or_default();
        let drain = drain::of(view, &verdict, inputs.followers, remembered, inputs.now);
        effects.extend(drain.effects);
        departures.leaving.extend(drain.leaving);
        let workload = view.target.name.clone();
        departures.workloads.insert(name.clone(), workload);
        let part = Part {
            view,
            verdict: match &drain.waits {
                Some((replicas, _)) => verdict.staying(*replicas),
                None => verdict,
            },
            waits: drain.waits.map(|(_, reason)| reason),
            observed: observed.of(&name),
            predicted: expected.of(&name, &mut memory.predictions),
            data_age: ages.of_variant(view, &name),
            trust: memory
                .optimizer
                .variants
                .get(&name)
                .map(|v| v.fitted().trust),
            price: prices.get(name.as_str()).copied(),
            contradicted: ages.contradicted(view),
            margin: view
                .model
                .as_ref()
                .and_then(|m| margins.get(&m.to_string()).copied()),
        };
        let guesses = posed
            .guesses
            .get(&name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let remembered = memory.variants.entry(name.clone()).or_default();
        let scaled = scale::effect(&part, remembered, inputs.now);
        effects.extend(events::effects(&part, &cycle, remembered, inputs.now));
        effects.extend(status::effect(
            &part, missing, guesses, remembered, inputs.now,
        ));
        effects.extend(scaled);
        changes.extend(note_change(&part, remembered));
        entries.push(part.entry());
    }
    let findings = &inputs.fleet.findings;
    let told = events::of_objects(findings, &mut memory.told, inputs.now);
    let effects = events::condensed(effects.into_iter().chain(told));
    memory.keep_only(inputs.fleet);
    Outcome {
        report: Report {
            at: inputs.now,
            entries,
            solver: None,
        },
        memory,
        posed,
        before,
        cycle,
        effects,
        changes,
        departures,
    }
}

/// $/h of one replica, by variant.
fn prices(catalogue: &Catalogue) -> BTreeMap<&str, f64> {
    let devices: BTreeMap<&str, f64> = catalogue
        .accelerators
        .iter()
        .filter_map(|a| Some((a.name.as_str(), a.price_per_hour_usd?.get())))
        .collect();
    let price = |v: &Variant| {
        let own = v.price_per_hour_usd.map(|p| p.get());
        let device = || devices.get(v.accelerator.as_str());
        own.or_else(|| Some(device()? * f64::from(v.tensor_parallel)))
    };
    let priced = catalogue.variants.iter();
    priced
        .filter_map(|v| Some((v.name.as_str(), price(v)?)))
        .collect()
}

/// The line for a decision that is not what it was.
fn note_change(part: &Part<'_>, remembered: &mut memory::VariantMemory) -> Option<String> {
    let Verdict::Decided {
        decision, wanted, ..
    } = &part.verdict
    else {
        return None;
    };
    let before = remembered.decided.replace(*wanted);
    let first = before.is_none() && *wanted == part.view.desired;
    if before == Some(*wanted) || first {
        return None;
    }
    let why: Vec<String> = decision
        .reasons
        .iter()
        .map(|r| format!("{}: {}", r.code, r.text))
        .collect();
    Some(format!(
        "{}: {} -> {} ({})",
        part.view.key,
        before.unwrap_or(part.view.desired),
        wanted,
        why.join("; ")
    ))
}

impl Part<'_> {
    /// What is published of the variant. Where decisions are not carried out, the value that scalers read is what is
    /// asked for already; the advice is in `planned`.
    fn entry(&self) -> Entry {
        let key = VariantKey {
            namespace: self.view.key.namespace.clone(),
            name: self.view.key.name.clone(),
        };
        match &self.verdict {
            Verdict::Held { reason } => Entry::Held {
                key,
                current: self.view.existing,
                ready: self.view.ready(),
                data_age: self.data_age,
                reason: reason.clone(),
            },
            Verdict::Decided {
                decision,
                wanted,
                carried_out,
            } => {
                let desired = if *carried_out {
                    *wanted
                } else {
                    self.view.desired
                };
                Entry::Decided(Box::new(VariantReport {
                    key,
                    target: ScaleTarget {
                        api_version: self.view.target.api_version.clone(),
                        kind: self.view.target.kind.clone(),
                        name: self.view.target.name.clone(),
                    },
                    model: self
                        .view
                        .model
                        .as_ref()
                        .map(|m| m.id.clone())
                        .unwrap_or_default(),
                    accelerator: self.view.accelerator.clone().unwrap_or_default(),
                    role: self.view.role,
                    current: self.view.existing,
                    ready: self.view.ready(),
                    desired,
                    planned: if *carried_out {
                        decision.planned
                    } else {
                        *wanted
                    },
                    cost_per_hour: self.price.map(|p| p * f64::from(desired)),
                    reasons: self
                        .waits
                        .iter()
                        .chain(&decision.reasons)
                        .cloned()
                        .collect(),
                    slo_margin: self.margin,
                    predicted: self.predicted,
                    observed: self.observed,
                    trust: self.trust,
                    data_age: self.data_age,
                    hpa_tolerance: verdict::tolerance(self.view),
                    in_control: *carried_out,
                }))
            }
        }
    }
}

/// How old telemetry is, and why it is missing where it is.
struct Ages<'a> {
    pods: BTreeMap<&'a str, f64>,
    /// Why nothing is known of pods, by variant.
    silent: BTreeMap<&'a str, Vec<&'a Missing>>,
    streams: BTreeMap<&'a str, Result<f64, &'a Missing>>,
    /// Models of which a router claims what cannot be.
    contradicted: BTreeSet<&'a str>,
}

impl<'a> Ages<'a> {
    fn of(gathered: &'a Gathered) -> Self {
        let mut ages = Self {
            pods: BTreeMap::new(),
            silent: BTreeMap::new(),
            streams: BTreeMap::new(),
            contradicted: BTreeSet::new(),
        };
        for pod in &gathered.pods {
            match &pod.outcome {
                crate::telemetry::Outcome::Sample(s) => {
                    let newest = ages.pods.entry(&pod.variant).or_insert(s.age);
                    *newest = newest.min(s.age);
                }
                crate::telemetry::Outcome::Missing(m) => {
                    ages.silent.entry(&pod.variant).or_default().push(m);
                }
            }
        }
        for stream in &gathered.streams {
            let age = match &stream.outcome {
                crate::telemetry::Outcome::Sample(s) => {
                    if s.notes.contains(&Note::Contradicted) {
                        ages.contradicted.insert(&stream.model);
                    }
                    Ok(s.age)
                }
                crate::telemetry::Outcome::Missing(m) => Err(m),
            };
            let newest = ages.streams.entry(&stream.model).or_insert(age);
            if let (Ok(known), Ok(other)) = (&mut *newest, age) {
                *known = known.min(other);
            } else if newest.is_err() {
                *newest = age;
            }
        }
        ages
    }

    fn of_variant(&self, view: &VariantView, name: &str) -> Option<f64> {
        let model = view.model.as_ref().map(ToString::to_string);
        let stream = model.and_then(|m| self.streams.get(m.as_str())?.ok());
        match (self.pods.get(name).copied(), stream) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn contradicted(&self, view: &VariantView) -> bool {
        let model = view.model.as_ref().map(ToString::to_string);
        model.is_some_and(|model| self.contradicted.contains(model.as_str()))
    }

    /// Why the traffic of the variant's model is not known; `None` where it is.
    fn missing(&self, view: &VariantView) -> Option<Missing> {
        let nothing = || Missing::new(crate::telemetry::Reason::NoArrivals, "");
        let Some(model) = &view.model else {
            return Some(nothing());
        };
        match self.streams.get(model.to_string().as_str()) {
            Some(Ok(_)) => None,
            Some(Err(missing)) => Some(self.cause(view).unwrap_or(missing).clone()),
            None => Some(nothing()),
        }
    }

    /// What all pods of the variant are silent for, if that is one thing: it says more than that nothing arrived.
    fn cause(&self, view: &VariantView) -> Option<&'a Missing> {
        let name = view.name();
        let silent = self.silent.get(name.as_str())?;
        let first = *silent.first()?;
        let alike = silent.iter().all(|m| m.reason == first.reason);
        (alike && !self.pods.contains_key(name.as_str())).then_some(first)
    }
}
