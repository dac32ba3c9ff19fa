//! One whole cycle, pure: `step(autoscaler, snapshot, state) → (state, cycle)`.
//!
//! ```text
//! snapshot ─► observe ─► forecast ─► beliefs (fit, trust, stock) ─► plan ─► stabilise ─► decisions, shares, B*
//!              state kept between cycles ────────────────────────────────────────────► state
//! ```
//! The controller calls it each tick, the simulator with simulated time, a replay with recorded snapshots: there is no
//! second autoscaler. Missing, stale or absurd data never lowers a target: what is not known is held.

mod beliefs;
mod demand;
mod passages;
mod targets;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wva_models::catalogue::Catalogue;
use wva_models::forecast::ForecastSettings;
use wva_models::variant::{Role, Variant};

use crate::balance;

use crate::decision::{Decision, Reason, RoutingShare};
use crate::planner::{PlanInput, Planned, PlannerSettings, batch_limits, plan_within_limits};
use crate::problem::Contradiction;
use crate::snapshot::{Snapshot, StreamSample, VariantSample};
use crate::stabilise::StabiliseSettings;
use crate::state::headroom::HeadroomSettings;
use crate::state::prompts::Prompts;
use crate::state::stream::StreamState;
use crate::state::variant::VariantState;
use crate::state::{State, stream_key};

/// The autoscaler's constant part: what exists and how to decide.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    /// Names, prices, bounds, classes, priors.
    pub catalogue: Catalogue,
    /// How to decide.
    pub settings: Settings,
}

/// How to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Time between cycles, seconds: added to the start-up time that forecasts look ahead.
    pub cycle_seconds: f64,
    /// Quantile of the forecast rate that the fleet is planned for while nothing is missed; misses raise it.
    pub forecast_quantile: f64,
    /// Age beyond which a stream's sample is stale, seconds.
    pub stale_after_seconds: f64,
    /// Time without a device after which a replica counts as a stock-out, seconds.
    pub pending_too_long_seconds: f64,
    /// Whether a model may go down to no replica at all when nothing arrives.
    pub scale_to_zero: bool,
    /// Reserve before each batch deadline, seconds.
    pub batch_slack_seconds: f64,
    /// Slot and outcome length of forecasts.
    pub forecast: ForecastSettings,
    /// Learned headroom.
    pub headroom: HeadroomSettings,
    /// Stabilisation windows and rate limits.
    pub stabilise: StabiliseSettings,
    /// Planner.
    pub planner: PlannerSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cycle_seconds: 15.0,
            forecast_quantile: 0.5,
            stale_after_seconds: 90.0,
            pending_too_long_seconds: 180.0,
            scale_to_zero: false,
            batch_slack_seconds: 300.0,
            forecast: ForecastSettings::default(),
            headroom: HeadroomSettings::default(),
            stabilise: StabiliseSettings::default(),
            planner: PlannerSettings::default(),
        }
    }
}

/// What one cycle came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Cycle {
    /// One decision per variant, in the catalogue's order.
    pub decisions: Vec<Decision>,
    /// Traffic weights; empty where routers may use every ready replica.
    pub shares: Vec<RoutingShare>,
    /// B* per variant name.
    pub batch_limits: BTreeMap<String, u32>,
    /// Cost of the planned fleet and the bound on it, $/h; absent when nothing could be planned.
    pub cost: Option<(f64, f64)>,
    /// (model, class, share) that the plan cannot serve.
    pub unmet: Vec<(String, String, f64)>,
    /// What was believed of each stream: (key, planned rate, forecast mean, headroom factor).
    pub streams: Vec<(String, f64, f64, f64)>,
}

/// One cycle at `snapshot.at`.
#[must_use]
pub fn step(autoscaler: &Autoscaler, snapshot: &Snapshot, mut state: State) -> (State, Cycle) {
    observe(autoscaler, snapshot, &mut state);
    let demand = demand::of(autoscaler, snapshot, &state);
    let input = question(autoscaler, snapshot, &state, &demand);
    let (planned, lowered) = match plan_within_limits(&input, &mut state.capacities) {
        Ok((planned, lowered)) => (Ok(planned), lowered),
        Err(error) => (Err(error), Vec::new()),
    };
    let mut cycle = Cycle {
        batch_limits: batch_limits(&input),
        ..Cycle::default()
    };
    match &planned {
        Ok(planned) => describe(snapshot, &input, &demand, planned, &mut cycle),
        Err(error) => cycle.unmet.push((String::new(), error.to_string(), 1.0)),
    }
    let passages = planned.as_ref().ok().map(passages::Passages::of);
    state.carried = passages.as_ref().map_or_else(BTreeMap::new, |passages| {
        targets::carried(snapshot, &input, passages)
    });
    if let Ok(planned) = &planned {
        leave_out(autoscaler, planned, &mut state);
    }
    cycle.decisions = targets::decide(
        autoscaler,
        snapshot,
        &mut state,
        &demand,
        passages.as_ref().map(|passages| (&input, passages)),
    );
    tell_lowered(&lowered, &mut cycle.decisions);
    (state, cycle)
}

/// What the cycle at `snapshot.at` plans for, given the state before it: for those who ask why, and what else.
#[must_use]
pub fn plan_input<'a>(
    autoscaler: &'a Autoscaler,
    snapshot: &Snapshot,
    mut state: State,
) -> PlanInput<'a> {
    observe(autoscaler, snapshot, &mut state);
    let demand = demand::of(autoscaler, snapshot, &state);
    question(autoscaler, snapshot, &state, &demand)
}

fn question<'a>(
    autoscaler: &'a Autoscaler,
    snapshot: &Snapshot,
    state: &State,
    demand: &demand::Demand,
) -> PlanInput<'a> {
    PlanInput {
        catalogue: &autoscaler.catalogue,
        beliefs: beliefs::of(autoscaler, snapshot, state),
        workloads: demand.workloads.clone(),
        stock: stock(autoscaler, snapshot),
        quotas: snapshot.quotas.clone(),
        settings: PlannerSettings {
            change_price_usd: Some(change_price(autoscaler)),
            ..autoscaler.settings.planner.clone()
        },
    }
}

/// What changing a replica is worth in a running fleet, as a share of the cheapest replica's price: a change pays for the
/// time that it takes, and variants that take turns pay for each other's start-up and share the router's mistakes.
const CHANGE_SHARE: f64 = 0.35;

fn change_price(autoscaler: &Autoscaler) -> f64 {
    let catalogue = &autoscaler.catalogue;
    let prices = catalogue
        .variants
        .iter()
        .map(|v| catalogue.price_per_replica(v).get());
    let cheapest = prices.fold(f64::INFINITY, f64::min);
    let settled = autoscaler.settings.planner.change_price_usd;
    settled.unwrap_or(if cheapest.is_finite() {
        CHANGE_SHARE * cheapest
    } else {
        0.0
    })
}

fn observe(autoscaler: &Autoscaler, snapshot: &Snapshot, state: &mut State) {
    settle(autoscaler, snapshot, state);
    observe_streams(autoscaler, snapshot, state);
    observe_variants(autoscaler, snapshot, state);
    compare_answers(autoscaler, snapshot, state);
}

/// Share of requests that the class promises to serve within its bounds; 95 % where it is not known or has none.
fn promised_share(autoscaler: &Autoscaler, class: &str) -> f64 {
    let class = autoscaler.catalogue.class(class);
    class
        .and_then(|c| c.slo())
        .map_or(0.95, |s| s.promised_share())
}

fn observe_streams(autoscaler: &Autoscaler, snapshot: &Snapshot, state: &mut State) {
    let settings = &autoscaler.settings;
    for sample in &snapshot.streams {
        let pressure = pressure(autoscaler, state, &sample.model);
        let settled = state
            .settled
            .get(&sample.model)
            .is_some_and(|&since| snapshot.at - since >= SETTLING_S);
        let promised = promised_share(autoscaler, &sample.class);
        state
            .streams
            .entry(stream_key(&sample.model, &sample.class))
            .or_insert_with(|| StreamState::new(settings.forecast))
            .observe(sample, promised, settled, pressure, &settings.headroom);
    }
}

fn observe_variants(autoscaler: &Autoscaler, snapshot: &Snapshot, state: &mut State) {
    let variants = &autoscaler.catalogue.variants;
    let by_name: BTreeMap<&str, &Variant> = variants.iter().map(|v| (v.name.as_str(), v)).collect();
    let known = |sample: &VariantSample| by_name.get(sample.name.as_str()).copied();
    let mut serving: BTreeMap<&str, u32> = BTreeMap::new();
    let with_replicas = snapshot.variants.iter().filter(|s| s.ready > 0);
    for variant in with_replicas.filter_map(known) {
        *serving.entry(&variant.model).or_default() += 1;
    }
    let mut prompts_of: BTreeMap<&str, Option<Prompts>> = BTreeMap::new();
    for sample in &snapshot.variants {
        let Some(variant) = known(sample) else {
            continue;
        };
        let alone = serving.get(variant.model.as_str()).is_none_or(|&n| n < 2);
        let prompts = (prompts_of.entry(&variant.model))
            .or_insert_with(|| Prompts::of(state, &variant.model));
        state
            .variants
            .entry(sample.name.clone())
            .or_insert_with(|| VariantState::new(&autoscaler.catalogue, variant))
            .observe(snapshot.at, sample, prompts.as_ref(), alone);
    }
}

/// Tells the streams of each model how much more its engines generated than belongs to answers that have ended.
fn compare_answers(autoscaler: &Autoscaler, snapshot: &Snapshot, state: &mut State) {
    let mut by_model: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for variant in &autoscaler.catalogue.variants {
        let decodes = variant.role != Role::Prefill;
        if let Some(known) = state.variants.get(&variant.name).filter(|_| decodes) {
            by_model.entry(&variant.model).or_default().0 += known.generated();
        }
    }
    let key = |s: &StreamSample| stream_key(&s.model, &s.class);
    for sample in &snapshot.streams {
        if let Some(stream) = state.streams.get(&key(sample)) {
            by_model.entry(&sample.model).or_default().1 += stream.ended_tokens();
        }
    }
    for sample in &snapshot.streams {
        if let Some(stream) = state.streams.get_mut(&key(sample)) {
            let (generated, of_ended) = by_model[sample.model.as_str()];
            stream.answers.compare(generated, of_ended);
        }
    }
}

/// Traffic of the model's interactive classes over what its replicas were expected to carry within their promises.
fn pressure(autoscaler: &Autoscaler, state: &State, model: &str) -> Option<f64> {
    let carried = *state.carried.get(model)?;
    let mut rate = 0.0;
    for (class, stream) in state.streams_of(model) {
        let class = autoscaler.catalogue.class(class);
        if !class.is_some_and(|c| c.is_batch()) {
            rate += stream.rate()?;
        }
    }
    (carried > 0.0).then(|| rate / carried)
}

/// Time after which what requests got is due to the fleet as it is, seconds: the longest answers have drained by then.
const SETTLING_S: f64 = 60.0;

/// Notes which models have the fleet that was planned: a device for every replica that was asked for, and no specialist
/// that is on its way out because nothing sorts the prompts.
fn settle(autoscaler: &Autoscaler, snapshot: &Snapshot, state: &mut State) {
    let samples = beliefs::Samples::of(snapshot);
    for model in autoscaler.catalogue.variants.iter().map(|v| &v.model) {
        let complete = autoscaler.catalogue.variants_of(model).all(|v| {
            let left_out = state.variants.get(&v.name).is_some_and(|s| s.left_out);
            let leaving = |ready| left_out && ready > v.min_replicas;
            (samples.get(&v.name)).is_some_and(|s| s.pending.is_empty() && !leaving(s.ready))
        });
        if complete {
            state.settled.entry(model.clone()).or_insert(snapshot.at);
        } else {
            state.settled.remove(model);
        }
    }
}

/// Notes which specialists the plan did without. Where one is new, what was learned of capacity is dropped: it was learned
/// of a fleet that nobody will build again.
fn leave_out(autoscaler: &Autoscaler, planned: &Planned, state: &mut State) {
    for (v, variant) in autoscaler.catalogue.variants.iter().enumerate() {
        let Some(known) = state.variants.get_mut(&variant.name) else {
            continue;
        };
        let before = std::mem::replace(&mut known.left_out, planned.left_out.contains(&v));
        if known.left_out && !before {
            for (_, stream) in state.streams_of_mut(&variant.model) {
                stream.headroom.forget_capacity();
            }
        }
    }
}

/// Devices per accelerator: the snapshot's where it knows, else the catalogue's.
fn stock(autoscaler: &Autoscaler, snapshot: &Snapshot) -> BTreeMap<String, u32> {
    let mut stock = autoscaler.catalogue.stock.clone();
    stock.extend(snapshot.stock.iter().map(|(k, v)| (k.clone(), *v)));
    stock
}

/// Adds to the decisions which minimums the plan could not keep to. The target still does: what cannot be placed waits.
fn tell_lowered(lowered: &[Contradiction], decisions: &mut [Decision]) {
    for lowered in lowered {
        if let Some(decision) = decisions.get_mut(lowered.variant) {
            let text = format!(
                "at least {} replicas are asked for, and {} has room for {}",
                lowered.asked, lowered.with, lowered.kept
            );
            decision.reasons.push(reason("minimum-exceeds-limit", text));
        }
    }
}

fn describe(
    snapshot: &Snapshot,
    input: &PlanInput<'_>,
    demand: &demand::Demand,
    planned: &Planned,
    cycle: &mut Cycle,
) {
    cycle.cost = Some((planned.plan.cost, planned.plan.bound));
    cycle.unmet = unmet(planned);
    cycle.streams.clone_from(&demand.beliefs);
    cycle.shares = shares(snapshot, input, planned);
}

/// (model, class, share of its requests) that the plan cannot serve.
fn unmet(planned: &Planned) -> Vec<(String, String, f64)> {
    let mut rates: BTreeMap<(&str, &str), (f64, f64)> = BTreeMap::new();
    for (workload, unmet) in planned.workloads.iter().zip(&planned.plan.unmet) {
        let key = (workload.model.as_str(), workload.class.as_str());
        let (offered, unserved) = rates.entry(key).or_default();
        *offered += workload.rate;
        *unserved += workload.rate * unmet;
    }
    let short = |((model, class), (offered, unserved)): ((&str, &str), (f64, f64))| {
        let share = unserved / offered;
        (share > 1e-6).then(|| (model.to_owned(), class.to_owned(), share))
    };
    rates.into_iter().filter_map(short).collect()
}

/// Aggregated variants of one model are routed best by load, whatever their mix; weights matter where a request has to
/// take one of several paths. They are those that balance the fleet as it is, or the plan's where it serves nothing yet.
fn shares(snapshot: &Snapshot, input: &PlanInput<'_>, planned: &Planned) -> Vec<RoutingShare> {
    let samples = beliefs::Samples::of(snapshot);
    let serving = |v: &Variant| samples.get(&v.name).map_or(0, |s| s.ready);
    let ready: Vec<u32> = input.catalogue.variants.iter().map(serving).collect();
    let mut out = Vec::new();
    for (w, workload) in planned.workloads.iter().enumerate() {
        let of_workload = || planned.routes.iter().filter(|r| r.workload == w);
        if !of_workload().any(|r| r.variants.len() > 1) {
            continue;
        }
        let balanced = balance::balanced(&planned.problem, &workload.model, &ready);
        let mut by_path: BTreeMap<Vec<String>, f64> = BTreeMap::new();
        for route in of_workload() {
            let Some(ordinal) = route.ordinal else {
                continue;
            };
            let share = match &balanced {
                Some(shares) if !planned.problem.demands[w].batch => {
                    shares.iter().find(|s| s.0 == ordinal).map_or(0.0, |s| s.1)
                }
                _ => planned.plan.shares[ordinal],
            };
            if share > 1e-6 {
                *by_path.entry(route.variants.clone()).or_default() += share;
            }
        }
        out.extend(by_path.into_iter().map(|(variants, share)| RoutingShare {
            model: workload.model.clone(),
            class: workload.class.clone(),
            variants,
            share,
        }));
    }
    out
}

fn reason(code: &str, text: String) -> Reason {
    Reason {
        code: code.to_owned(),
        text,
    }
}
