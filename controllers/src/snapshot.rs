//! From the fleet and its telemetry to the question that the optimizer answers: what exists, and what was seen.
//!
//! ```text
//! Fleet ──────► catalogue (models, accelerators, variants, classes) ─┐
//!   └► Targets ► telemetry ► Gathered ──► Snapshot ──────────────────┴─► wva_optimizer::step
//! ```
//! Pure. What cannot be posed is held: a variant of which model, device or target is unknown takes no part; a model of
//! whose traffic some class is missing has that class in the snapshot as never sampled, which holds the model.

mod architecture;
mod catalogue;

use std::collections::{BTreeMap, BTreeSet};

use wva_optimizer::snapshot::{Quota, Snapshot, StreamSample, VariantSample};
use wva_optimizer::step::{Autoscaler, Settings};

use crate::index::Finding;
use crate::index::fleet::{Fleet, ModelKey, PodState, PodView, VariantView};
use crate::telemetry::engine::Dialect;
use crate::telemetry::targets::{
    ClassTarget, ModelTarget, Part, PodTarget, Targets, VariantTarget,
};
use crate::telemetry::{Gathered, Reason, StreamTelemetry};
use wva_models::catalogue::Catalogue;
use wva_models::service_class::ServiceClass;
use wva_models::variant::Role;

/// The question of one cycle.
#[derive(Debug, Clone)]
pub struct Posed {
    /// What exists and how to decide.
    pub autoscaler: Autoscaler,
    /// What was seen.
    pub snapshot: Snapshot,
    /// Per variant that takes no part: why.
    pub left_out: BTreeMap<String, Finding>,
    /// What was guessed about variants that do.
    pub guesses: BTreeMap<String, Vec<Finding>>,
}

/// What of earlier cycles the question depends on.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// Replicas (by UID) that were ready before: the others became ready since. `None` before the first cycle.
    pub ready: Option<&'a BTreeSet<String>>,
    /// When each model was last asked something, seconds since the Unix epoch.
    pub last_request: &'a BTreeMap<String, f64>,
}

/// What telemetry should gather for this fleet.
#[must_use]
pub fn targets(fleet: &Fleet) -> Targets {
    let variants = || fleet.variants.iter().filter(|v| v.model.is_some());
    let mut targets = Targets {
        routers: fleet.routers.clone(),
        ..Targets::default()
    };
    let mut served: BTreeMap<&ModelKey, BTreeSet<String>> = BTreeMap::new();
    for variant in variants() {
        let Some(model) = &variant.model else {
            continue;
        };
        let names = served.entry(model).or_default();
        names.insert(model.id.clone());
        names.extend(variant.args.served_name.clone());
        names.extend(variant.args.model.clone());
        targets.variants.push(VariantTarget {
            name: variant.name(),
            namespace: variant.key.namespace.clone(),
            model: model.to_string(),
            part: part(variant.role),
            bounds: None,
        });
        targets
            .pods
            .extend(variant.pods.iter().map(|p| pod_target(variant, p)));
    }
    for (model, served_as) in served {
        let classes = fleet.model_classes.get(model).cloned().unwrap_or_default();
        targets.models.push(ModelTarget {
            name: model.to_string(),
            served_as,
            default_class: classes.first().cloned().unwrap_or_default(),
            classes: fleet
                .classes
                .iter()
                .filter(|c| classes.contains(&c.name))
                .map(class_target)
                .collect(),
        });
    }
    targets
}

fn part(role: Role) -> Part {
    match role {
        Role::Prefill => Part::Prefill,
        Role::Decode => Part::Decode,
        Role::Both => Part::Both,
    }
}

fn pod_target(variant: &VariantView, pod: &PodView) -> PodTarget {
    PodTarget {
        namespace: variant.key.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        ip: pod.ip.clone(),
        endpoint: pod.endpoint.clone(),
        engine: Dialect::of_label(&variant.engine),
        variant: variant.name(),
        serving: matches!(pod.state, PodState::Ready { .. }),
        started_at: pod.started_at,
    }
}

fn class_target(class: &ServiceClass) -> ClassTarget {
    // Our names of classes have the namespace or the model behind; gateways use the bare name.
    let short = class.name.split('@').next().unwrap_or(&class.name);
    let short = short.split(" for ").next().unwrap_or(short);
    ClassTarget {
        name: class.name.clone(),
        objectives: [short.to_owned()].into(),
        priority: Some(i64::from(class.priority)),
        ttft_s: class.slo().and_then(|s| s.ttft).map(|b| b.limit.get()),
        tpot_s: class.slo().and_then(|s| s.itl).map(|b| b.limit.get()),
    }
}

/// The question for this fleet, with what was gathered, at `now` (seconds since the Unix epoch).
#[must_use]
pub fn pose(
    fleet: &Fleet,
    gathered: &Gathered,
    known: &Catalogue,
    settings: &Settings,
    before: Before<'_>,
    now: f64,
) -> Posed {
    let made = catalogue::of(fleet, gathered, known);
    let mut settings = settings.clone();
    adopt_policy(&mut settings, fleet);
    let takes_part: BTreeSet<&str> = made
        .catalogue
        .variants
        .iter()
        .map(|v| v.name.as_str())
        .collect();
    let mut replicas: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for pod in &gathered.pods {
        if let Some(sample) = pod.outcome.sample() {
            replicas
                .entry(&pod.variant)
                .or_default()
                .push(sample.clone());
        }
    }
    let variants = fleet.variants.iter().filter_map(|view| {
        let name = view.name();
        takes_part.contains(name.as_str()).then(|| {
            let telemetry = replicas.remove(name.as_str()).unwrap_or_default();
            VariantSample {
                replicas: telemetry,
                ..variant_sample(view, name, before.ready, now)
            }
        })
    });
    let snapshot = Snapshot {
        at: now,
        variants: variants.collect(),
        streams: gathered.streams.iter().filter_map(stream_sample).collect(),
        stock: fleet.stock.clone(),
        quotas: quotas(fleet, &takes_part),
        warm: warm(fleet, gathered, before.last_request, now),
    };
    Posed {
        autoscaler: Autoscaler {
            catalogue: made.catalogue,
            settings,
        },
        snapshot,
        left_out: made.left_out,
        guesses: made.guesses,
    }
}

/// What each namespace may hold, shared by its variants; those that take no part keep what they hold.
fn quotas(fleet: &Fleet, takes_part: &BTreeSet<&str>) -> BTreeMap<String, Quota> {
    let shared = fleet.quotas.iter().map(|view| {
        let mut quota = Quota {
            devices: view.devices,
            ..Quota::default()
        };
        let within = fleet.variants.iter().filter(|v| {
            v.key.namespace == view.namespace && v.resource.as_ref() == Some(&view.resource)
        });
        for variant in within {
            let name = variant.name();
            if takes_part.contains(name.as_str()) {
                quota.variants.insert(name);
            } else {
                let held = variant.existing.saturating_mul(variant.devices);
                quota.devices = quota.devices.saturating_sub(held);
            }
        }
        (format!("{}/{}", view.namespace, view.resource), quota)
    });
    shared.filter(|(_, q)| !q.variants.is_empty()).collect()
}

/// Replicas by state, as ages at `now`.
fn variant_sample(
    view: &VariantView,
    name: String,
    ready_before: Option<&BTreeSet<String>>,
    now: f64,
) -> VariantSample {
    let mut sample = VariantSample {
        name,
        desired: view.desired,
        ..VariantSample::default()
    };
    for pod in &view.pods {
        match pod.state {
            PodState::Ready { asked, since } => {
                sample.ready += 1;
                if ready_before.is_some_and(|known| !known.contains(&pod.uid)) {
                    sample.start_ups.push(since - asked);
                }
            }
            PodState::Starting { asked } => sample.starting.push((now - asked).max(0.0)),
            PodState::Pending { asked } => sample.pending.push((now - asked).max(0.0)),
            PodState::Draining => sample.draining += 1,
        }
    }
    sample
}

/// The stream's sample. A stream that should be there and is not is one that was never sampled, which holds its model; a
/// class that nothing can tell apart from the main one is no stream at all.
fn stream_sample(stream: &StreamTelemetry) -> Option<StreamSample> {
    match (stream.outcome.sample(), stream.outcome.missing()) {
        (Some(sample), _) => Some(sample.clone()),
        (None, Some(missing)) if missing.reason == Reason::NoClassLabel => None,
        (None, _) => Some(StreamSample {
            model: stream.model.clone(),
            class: stream.class.clone(),
            at: f64::NAN,
            ..StreamSample::default()
        }),
    }
}

/// Keep-alive window of models that may go to zero and say nothing else, seconds: what the old controller had.
const RETENTION_S: f64 = 600.0;

/// Models that keep a replica: zero is not for them, they were asked something lately, or nobody would notice a request
/// for them once they are gone.
fn warm(
    fleet: &Fleet,
    gathered: &Gathered,
    last_request: &BTreeMap<String, f64>,
    now: f64,
) -> BTreeSet<String> {
    let mut rules: BTreeMap<String, (bool, f64)> = BTreeMap::new();
    for view in &fleet.variants {
        let Some(model) = &view.model else { continue };
        // Bounds that allow zero ask for it, unless a rule says otherwise.
        let asks = fleet.policy.scale_to_zero.unwrap_or(true) && view.min == 0;
        let allowed = asks && view.zero.enabled.unwrap_or(true);
        let retention = view.zero.retention_s.unwrap_or(RETENTION_S);
        let rule = rules.entry(model.to_string()).or_insert((true, 0.0));
        *rule = (rule.0 && allowed, rule.1.max(retention));
    }
    rules
        .into_iter()
        .filter(|(model, (allowed, retention))| {
            let heard_of = gathered.streams.iter().any(|s| {
                s.model == *model
                    && s.counted_by == Some(crate::telemetry::gathered::CountedBy::Router)
            });
            let asked = last_request.get(model).copied();
            // Without a first request the window starts when the model was first seen, which the cycle notes as one.
            let lately = asked.is_none_or(|at| now - at < *retention);
            !allowed || !heard_of || lately
        })
        .map(|(model, _)| model)
        .collect()
}

/// The fleet policy on top of the file's settings; out of range values are clamped.
fn adopt_policy(settings: &mut Settings, fleet: &Fleet) {
    let policy = &fleet.policy;
    let positive = |n: Option<f64>| n.filter(|n| n.is_finite() && *n >= 0.0);
    if let Some(budget) = positive(policy.budget_per_hour_usd) {
        settings.planner.budget_per_hour_usd = Some(budget);
    }
    if let Some(quantile) = positive(policy.forecast_quantile) {
        settings.forecast_quantile = quantile.clamp(0.5, 0.99);
    }
    if let Some(seconds) = positive(policy.down_window_seconds) {
        settings.stabilise.down_window_seconds = seconds.min(86_400.0);
    }
    // Which models keep a replica all the same is in the snapshot.
    settings.scale_to_zero = true;
}
