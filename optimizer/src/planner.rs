//! From named things to a plan: capacities from the latency models, a problem from the capacities, a verified plan from
//! the solver, and a check of the plan's mixtures.
//!
//! ```text
//! workloads ─┐
//! variants  ─┼─► capacity of each (workload, route) ─► Problem ─► solve ─► mixed-shape check ─► Planned
//! stock     ─┘                                           ▲                      │ a variant misses with its mixture
//!                                                        └── its loads, raised ◄┘ (a few rounds)
//! ```
//! The solver adds loads linearly, which is exact for one kind of request and approximate for mixtures: long prompts delay
//! the short ones beside them. So the plan's mixture on every variant is put through the latency model once more, and
//! where it misses, the loads of that variant are raised and the problem is solved again.

mod buckets;
mod capacities;
mod mixture;
mod routes;
mod specialists;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wva_models::batching::ContinuousBatching;
use wva_models::capacity::Capacity;
use wva_models::catalogue::Catalogue;
use wva_models::iteration::ReplicaModel;
use wva_models::shape::RequestShape;
use wva_models::variant::{Role, Variant};

use crate::plan::Plan;
use crate::problem::{Contradiction, Limit, Problem, ProblemError, VariantOption};
use crate::snapshot::Quota;
use crate::solve::{SolveSettings, solve};

pub use capacities::{CapacityTable, Memo};

/// Offered traffic of one (model, class, shape bucket).
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Model name.
    pub model: String,
    /// Class name.
    pub class: String,
    /// Shape bucket within (model, class); those that the planner makes of a whole class count from 1.
    pub bucket: usize,
    /// Requests per second to plan for.
    pub rate: f64,
    /// Shape of the requests.
    pub shape: RequestShape,
    /// Index of dispersion of arrivals over about one end-to-end time; 1 is Poisson.
    pub dispersion: f64,
    /// Learned factor on the capacity that models give for this workload; 1 without experience.
    pub capacity_factor: f64,
    /// Part of the doubt about a variant's law that requests have left, in [0, 1]; 1: all of its margin is kept.
    pub doubt: f64,
}

impl Workload {
    /// Whether both are traffic of the same class of the same model.
    #[must_use]
    pub fn is_of_class_of(&self, other: &Self) -> bool {
        (&self.model, &self.class) == (&other.model, &other.class)
    }
}

/// What is believed and wanted of one variant, in the catalogue's order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VariantBelief {
    /// Law (fitted or prior) and limits.
    pub replica: ReplicaModel,
    /// Factor on its capacity for what is not known, in (0, 1]: trust turned into headroom.
    pub margin: f64,
    /// How long it has served, as the part of what requests taught that holds for it, in [0, 1]: 0 before it has.
    pub experience: f64,
    /// Replicas today, starting and pending ones included.
    pub current: u32,
    /// Most replicas that can be had now (stock-outs); absent means no such limit.
    pub available: Option<u32>,
    /// Whether the router is seen to send it prompts of any length: then it is no place for the short ones alone.
    pub unsorted: bool,
}

impl VariantBelief {
    /// What is believed of a variant that nobody has seen at work and that has no replica.
    #[must_use]
    pub const fn on_paper(replica: ReplicaModel) -> Self {
        Self {
            replica,
            margin: 1.0,
            experience: 0.0,
            current: 0,
            available: None,
            unsorted: false,
        }
    }
}

/// Everything that a plan depends on.
#[derive(Debug, Clone)]
pub struct PlanInput<'a> {
    /// Names, prices, bounds, classes.
    pub catalogue: &'a Catalogue,
    /// One belief per variant of the catalogue, in its order.
    pub beliefs: Vec<VariantBelief>,
    /// Traffic.
    pub workloads: Vec<Workload>,
    /// Devices per accelerator; absent means unlimited.
    pub stock: BTreeMap<String, u32>,
    /// What groups of variants may hold together, by name.
    pub quotas: BTreeMap<String, Quota>,
    /// Knobs.
    pub settings: PlannerSettings,
}

/// Knobs of the planner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlannerSettings {
    /// Share of a replica's capacity that interactive work may fill.
    pub fill: f64,
    /// $/h that changing one replica is worth; absent: a share of the cheapest replica's price in a running fleet, nothing
    /// in a plan on paper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_price_usd: Option<f64>,
    /// Most that the fleet may cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_per_hour_usd: Option<f64>,
    /// Bytes per second of one prefill replica's link to decode replicas.
    pub kv_link_bytes_per_s: f64,
    /// Tokens of batch prefill in one iteration, so that interactive gaps stay short.
    pub batch_chunk_tokens: f64,
    /// Rounds of the mixed-shape check.
    pub mixture_rounds: u32,
    /// Arrivals that the latency model samples per evaluation when it searches for a capacity.
    pub samples: usize,
    /// Most capacities that one cycle finds anew because their inputs moved; further ones wait for the next, those that
    /// moved most first. Capacities that were never found are found in any case.
    pub capacity_refreshes: usize,
    /// Search effort.
    pub solve: SolveSettings,
}

impl Default for PlannerSettings {
    fn default() -> Self {
        Self {
            fill: 1.0,
            change_price_usd: None,
            budget_per_hour_usd: None,
            kv_link_bytes_per_s: 50e9,
            batch_chunk_tokens: 512.0,
            mixture_rounds: 3,
            samples: 2048,
            capacity_refreshes: 512,
            solve: SolveSettings::default(),
        }
    }
}

/// One way that was considered to serve one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteInfo {
    /// Ordinal of the workload among [`Planned::workloads`].
    pub workload: usize,
    /// Variant names: one, or prefill then decode.
    pub variants: Vec<String>,
    /// Capacity of one replica of each stage under the class's SLO (its share of the TTFT budget included).
    pub capacities: Vec<Capacity>,
    /// Ordinal of the route in the problem; absent where a stage is infeasible.
    pub ordinal: Option<usize>,
}

/// A plan with what led to it.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What was placed: the workloads of the question, some split into buckets. Ordinals of workloads are of these.
    pub workloads: Vec<Workload>,
    /// The problem as solved in the last round.
    pub problem: Problem,
    /// The verified plan; replicas in the catalogue's order of variants.
    pub plan: Plan,
    /// Routes considered.
    pub routes: Vec<RouteInfo>,
    /// Rounds of the mixed-shape check that raised some load.
    pub raised: u32,
    /// Variants that were left out: too slow for long prompts, where the router sends them prompts of any length.
    pub left_out: BTreeSet<usize>,
}

impl Planned {
    /// Longest prompt of a workload, tokens, where its class is split by them.
    #[must_use]
    pub fn longest_prompt(&self, workload: usize) -> Option<f64> {
        let own = self.workloads.get(workload)?;
        let same = self.workloads.iter().filter(|w| w.is_of_class_of(own));
        let split = same.count() > 1;
        let prompts = own.shape.points().iter().map(|p| p.input);
        split.then(|| prompts.fold(0.0, f64::max))
    }

    /// Routes of a workload that carry traffic: (info, share of the workload).
    pub fn used_routes(&self, workload: usize) -> impl Iterator<Item = (&RouteInfo, f64)> {
        self.routes
            .iter()
            .filter(move |r| r.workload == workload)
            .filter_map(|r| Some((r, self.carried_by(r)?)))
    }

    /// Share of its workload that a route carries; `None` where that is nothing.
    #[must_use]
    pub fn carried_by(&self, route: &RouteInfo) -> Option<f64> {
        let share = self.plan.shares.get(route.ordinal?).copied()?;
        (share > 1e-6).then_some(share)
    }
}

/// The cheapest verified plan for `input`. `table` keeps capacities between calls.
///
/// # Errors
/// [`ProblemError`] when bounds, prices or limits contradict each other.
pub fn plan(input: &PlanInput<'_>, table: &mut CapacityTable) -> Result<Planned, ProblemError> {
    finish(posed(input, table))
}

/// As [`plan`], but minimums that exceed a limit give way instead of being an error, and are told: on a cluster a node that
/// dies must not keep the rest of the fleet from being planned.
///
/// # Errors
/// [`ProblemError`] for numbers that make no sense.
pub fn plan_within_limits(
    input: &PlanInput<'_>,
    table: &mut CapacityTable,
) -> Result<(Planned, Vec<Contradiction>), ProblemError> {
    let mut posed = posed(input, table);
    let (problem, lowered) = posed.problem.reconcile();
    posed.problem = problem;
    Ok((finish(posed)?, lowered))
}

/// A question ready to be solved.
struct Posed<'a> {
    /// With its classes split into buckets where that is worth it.
    input: PlanInput<'a>,
    problem: Problem,
    routes: Vec<RouteInfo>,
    left_out: BTreeSet<usize>,
}

fn posed<'a>(input: &PlanInput<'a>, table: &mut CapacityTable) -> Posed<'a> {
    table.begin(input.settings.capacity_refreshes);
    let mut placement = specialists::place(input, table);
    let input = PlanInput {
        catalogue: input.catalogue,
        beliefs: input.beliefs.clone(),
        workloads: std::mem::take(&mut placement.workloads),
        stock: input.stock.clone(),
        quotas: input.quotas.clone(),
        settings: input.settings.clone(),
    };
    let (problem, routes) = routes::problem(&input, table, &mut placement);
    Posed {
        input,
        problem,
        routes,
        left_out: placement.left_out,
    }
}

fn finish(posed: Posed<'_>) -> Result<Planned, ProblemError> {
    let Posed {
        input,
        mut problem,
        routes,
        left_out,
    } = posed;
    let mut plan = solve(&problem, &input.settings.solve)?;
    let mut raised = 0;
    for _ in 0..input.settings.mixture_rounds {
        if !mixture::raise_loads(&input, &routes, &plan, &mut problem) {
            break;
        }
        raised += 1;
        plan = solve(&problem, &input.settings.solve)?;
    }
    Ok(Planned {
        workloads: input.workloads,
        problem,
        plan,
        routes,
        raised,
        left_out,
    })
}

/// B*: running sequences per replica up to which batch work may fill each variant that serves interactive classes too,
/// by variant name.
#[must_use]
pub fn batch_limits(input: &PlanInput<'_>) -> BTreeMap<String, u32> {
    let mut out = BTreeMap::new();
    for (v, variant) in input.catalogue.variants.iter().enumerate() {
        for w in input.workloads.iter().filter(|w| w.model == variant.model) {
            if input
                .catalogue
                .class(&w.class)
                .is_some_and(|c| c.is_batch())
            {
                let limit = routes::batch_limit(input, v, w).max(1);
                out.entry(variant.name.clone())
                    .and_modify(|l: &mut u32| *l = limit.min(*l))
                    .or_insert(limit);
            }
        }
    }
    out
}

impl PlanInput<'_> {
    fn option(&self, v: usize) -> VariantOption {
        let (variant, belief) = (&self.catalogue.variants[v], &self.beliefs[v]);
        let max = variant.max_replicas.unwrap_or(MOST_REPLICAS);
        let available = belief
            .available
            .unwrap_or(u32::MAX)
            .max(variant.min_replicas);
        VariantOption {
            name: variant.name.clone(),
            price: self.catalogue.price_per_replica(variant).get(),
            min: variant.min_replicas,
            max: max.min(available),
            current: belief.current,
            fill: self.settings.fill,
        }
    }

    /// What the modelled capacity of variant `v` is multiplied with: what the workload learned, and trust in the
    /// variant's law as far as it is still needed.
    pub(crate) fn factor(&self, v: usize, workload: &Workload) -> f64 {
        let doubt = fraction(workload.doubt, 1.0);
        let own = 1.0 - (1.0 - doubt) * self.experience(v);
        let margin = sane(self.beliefs[v].margin);
        (1.0 - (1.0 - margin) * own) * self.learned(v, workload)
    }

    /// The factor that the workload learned, as far as it holds for variant `v`.
    pub(crate) fn learned(&self, v: usize, workload: &Workload) -> f64 {
        let learned = sane(workload.capacity_factor);
        let shared = UNSEEN + (1.0 - UNSEEN) * self.experience(v);
        let learned = learned.min(1.0) + (learned - 1.0).max(0.0) * shared;
        // What a pair carried was tested at its bottleneck only: the other stage had slack, and is not trusted with more.
        match self.catalogue.variants[v].role {
            Role::Both => learned,
            Role::Prefill | Role::Decode => learned.min(1.0),
        }
    }

    fn experience(&self, v: usize) -> f64 {
        fraction(self.beliefs[v].experience, 0.0)
    }

    fn limits(&self) -> Vec<Limit> {
        let devices = |name: String, at_most: u32, counts: &dyn Fn(&Variant) -> bool| {
            let uses = self.catalogue.variants.iter().enumerate();
            Limit {
                name,
                at_most: f64::from(at_most),
                replicas: uses
                    .filter(|(_, v)| counts(v))
                    .map(|(i, v)| (i, f64::from(v.tensor_parallel)))
                    .collect(),
                flows: Vec::new(),
            }
        };
        let stock = self
            .stock
            .iter()
            .map(|(name, &n)| devices(format!("stock:{name}"), n, &|v| v.accelerator == *name));
        let quotas = self.quotas.iter().map(|(name, quota)| {
            let within = |v: &Variant| quota.variants.contains(&v.name);
            devices(format!("quota:{name}"), quota.devices, &within)
        });
        let mut out: Vec<Limit> = stock
            .chain(quotas)
            .filter(|l| !l.replicas.is_empty())
            .collect();
        if let Some(budget) = self.settings.budget_per_hour_usd {
            let prices = (0..self.catalogue.variants.len())
                .map(|v| (v, self.option(v).price))
                .collect();
            out.push(Limit {
                name: "budget".into(),
                at_most: budget,
                replicas: prices,
                flows: Vec::new(),
            });
        }
        out
    }

    fn model_of(&self, v: usize) -> ContinuousBatching {
        ContinuousBatching {
            samples: self.settings.samples,
            ..ContinuousBatching::new(self.beliefs[v].replica, self.catalogue.variants[v].role)
        }
    }
}

/// A factor that no bad input makes absurd.
fn sane(x: f64) -> f64 {
    if x.is_finite() {
        x.clamp(0.05, 5.0)
    } else {
        1.0
    }
}

/// `x` held to [0, 1]; what stands for it where it is no number.
fn fraction(x: f64, unknown: f64) -> f64 {
    if x.is_finite() {
        x.clamp(0.0, 1.0)
    } else {
        unknown
    }
}

/// Part of a capacity beyond the modelled one that holds for a variant that has not served: half of it is the traffic's and the
/// router's, as far as can be told, and half the device's.
const UNSEEN: f64 = 0.5;
/// Bound on replicas of a variant that nothing else bounds.
const MOST_REPLICAS: u32 = 10_000;
