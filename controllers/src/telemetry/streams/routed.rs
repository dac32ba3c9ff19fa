//! What endpoint pickers show, sorted by model and class.

use std::collections::BTreeMap;

use wva_optimizer::snapshot::{DueWork, StreamSample};

use super::super::evidence::{Evidence, RouterEvidence};
use super::super::ledger::Showing;
use super::super::reason::Source;
use super::super::router::{Flow, FlowReading, RouterReading};
use super::super::tally::Tally;
use super::super::targets::{ModelTarget, Targets};
use super::{Contribution, Limits};

/// What the endpoint pickers show of one model.
pub(super) struct Routed(Vec<Picker>);

type Classes = BTreeMap<String, (FlowReading, Vec<DueWork>)>;

struct Picker {
    origin: String,
    source: Source,
    at: f64,
    started_at: Option<f64>,
    classes: Classes,
}

impl Routed {
    pub fn of(
        targets: &Targets,
        evidence: &Evidence,
        model: &ModelTarget,
        limits: Limits,
        now: f64,
    ) -> Self {
        let routers = evidence
            .routers
            .iter()
            .filter(|(_, r)| serves(targets, r, model));
        let heard = routers.flat_map(|(origin, router)| {
            let namespace = router.namespace.as_deref();
            router.candidates.iter().map(move |c| Picker {
                origin: origin.clone(),
                source: c.source,
                at: c.at.min(now),
                started_at: c.reading.started_at,
                classes: by_class(targets, &c.reading, namespace, model),
            })
        });
        let pushed = evidence.pushed.newest().map(|(heard, push)| Picker {
            origin: push.pusher.clone(),
            source: Source::Push,
            at: push.at.min(heard),
            started_at: Some(push.incarnation as f64),
            classes: push
                .streams
                .iter()
                .filter(|s| model.is_served_as(&s.model))
                .map(|s| {
                    let class = model.class_of(Some(&s.class), None).to_owned();
                    (class, (pushed_flow(s), s.backlog.clone()))
                })
                .collect(),
        });
        let fresh = |p: &Picker| now - p.at <= limits.stale_after;
        Self(heard.chain(pushed).filter(fresh).collect())
    }

    /// What the pickers of a source have sent on, all classes together.
    pub fn sent(&self, source: Source) -> Vec<Showing> {
        let pickers = self.0.iter().filter(|p| p.source == source);
        let showing = pickers.map(|p| {
            let flows = p.classes.values().map(|(flow, _)| flow);
            let sent = flows.map(|f| (f.tally.arrivals - f.tally.refused - f.held).max(0.0));
            Showing {
                origin: p.origin.clone(),
                at: p.at,
                tally: Tally {
                    arrivals: sent.sum(),
                    ..Tally::default()
                },
                started_at: p.started_at,
                born: None,
                leaps: 0,
            }
        });
        showing.collect()
    }

    pub fn of_class(&self, class: &str, source: Source) -> Contribution {
        let mut out = Contribution::default();
        for p in self.0.iter().filter(|p| p.source == source) {
            out.heard = Some(out.heard.map_or(p.at, |h| h.max(p.at)));
            let (flow, backlog) = p.classes.get(class).cloned().unwrap_or_default();
            out.named |= p.classes.contains_key(class);
            out.held += flow.held;
            out.running += flow.running;
            out.backlog.extend(backlog);
            out.showing.push(Showing {
                origin: p.origin.clone(),
                at: p.at,
                tally: flow.tally,
                started_at: p.started_at,
                born: None,
                leaps: 0,
            });
        }
        out
    }
}

/// The flows of `model` by class.
fn by_class(
    targets: &Targets,
    reading: &RouterReading,
    namespace: Option<&str>,
    model: &ModelTarget,
) -> Classes {
    let mut classes = Classes::new();
    for (flow, counts) in &reading.flows {
        if model_of(targets, flow, namespace).is_some_and(|m| m.name == model.name) {
            let class = model.class_of(flow.label.as_deref(), flow.priority);
            classes.entry(class.to_owned()).or_default().0.add(counts);
        }
    }
    classes
}

/// The counters of a pushed stream. A picker that judges nobody tells of those that were lost before or at a server: they
/// count as refused, and the others are judged here.
fn pushed_flow(s: &StreamSample) -> FlowReading {
    let prompted = s.input_tokens.sum;
    let (missed, refused) = if s.met > 0.0 {
        (s.missed, 0.0)
    } else {
        (0.0, s.missed)
    };
    FlowReading {
        tally: Tally {
            arrivals: s.arrivals,
            met: s.met,
            missed,
            cached: s.prefix_hit.unwrap_or(0.0) * prompted,
            prompted: if s.prefix_hit.is_some() {
                prompted
            } else {
                0.0
            },
            input: s.input_tokens.clone(),
            output: s.output_tokens.clone(),
            ttft: s.ttft.clone(),
            tpot: s.tpot.clone(),
            refused,
        },
        held: s.held,
        running: s.running,
    }
}

/// The model that a flow asks for: the one it was rewritten to, else the one that was asked for.
pub(super) fn model_of<'t>(
    targets: &'t Targets,
    flow: &Flow,
    namespace: Option<&str>,
) -> Option<&'t ModelTarget> {
    let by = |name: &str| targets.served(name, namespace);
    flow.target
        .as_deref()
        .and_then(by)
        .or_else(|| by(&flow.model))
}

/// Whether an endpoint picker may have requests of the model: it is in the namespace of one of its variants, or unplaced.
fn serves(targets: &Targets, router: &RouterEvidence, model: &ModelTarget) -> bool {
    router.namespace.as_ref().is_none_or(|namespace| {
        targets
            .variants
            .iter()
            .any(|v| v.model == model.name && v.namespace == *namespace)
            || router.candidates.iter().any(|c| {
                let flows = c.reading.flows.keys();
                flows.into_iter().any(|f| {
                    model_of(targets, f, Some(namespace)).is_some_and(|m| m.name == model.name)
                })
            })
    })
}
