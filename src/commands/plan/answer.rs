//! The answer of `wva plan`.

use serde::Serialize;
use wva_models::capacity::{Binding, Capacity};
use wva_models::catalogue::Catalogue;
use wva_models::variant::Role;
use wva_optimizer::planner::{PlanInput, Planned, RouteInfo};
use wva_optimizer::prices::{self, LimitPrice};
use wva_optimizer::problem::{Problem, ProblemError};
use wva_optimizer::what_if::{self, Alternative, BoundPrice};

use crate::condition::{Kind, Vocabulary};
use crate::figures::{seconds, short};

/// How much looser than written a bound is when its price is asked for.
const LOOSER: f64 = 1.2;

/// A plan with its reasons.
#[derive(Debug, Serialize)]
pub struct Answered {
    pub status: Status,
    /// Price of the fleet.
    pub cost_per_hour_usd: f64,
    pub bound_per_hour_usd: f64,
    pub gap: f64,
    pub replicas: Vec<Replicas>,
    pub shares: Vec<Share>,
    /// What limits replicas.
    pub binding: Vec<Limits>,
    pub limits: Vec<FleetLimit>,
    /// Runners-up, best first.
    pub alternatives: Vec<Other>,
    /// What changes would bring.
    pub prices: Vec<Priced>,
    pub unmet: Vec<Unmet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Feasible,
    Infeasible,
}

/// Replicas of a variant.
#[derive(Debug, Serialize)]
pub struct Replicas {
    pub model: String,
    pub variant: String,
    pub accelerator: String,
    pub role: Role,
    pub replicas: u32,
    pub cost_per_hour_usd: f64,
}

/// Who serves what.
#[derive(Debug, Serialize)]
pub struct Share {
    pub model: String,
    pub class: String,
    pub bucket: usize,
    /// Its longest prompt, where the class is split by them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_prompt_tokens: Option<f64>,
    /// The variant, or the prefill and the decode variant joined by ` + `.
    pub variant: String,
    pub share: f64,
    pub rate_rps: f64,
}

/// What limits a replica of a variant for a class.
#[derive(Debug, Serialize)]
pub struct Limits {
    pub model: String,
    pub class: String,
    pub bucket: usize,
    pub variant: String,
    pub binding: Binding,
    pub capacity_rps: f64,
}

/// A limit on replicas that has no room for one more.
#[derive(Debug, Serialize)]
pub struct FleetLimit {
    /// `stock:H100`, `budget`, `max_replicas of …`, `min_replicas of …`.
    pub limit: String,
    pub used: f64,
    pub at_most: f64,
}

/// The best plan without a variant.
#[derive(Debug, Serialize)]
pub struct Other {
    pub without: String,
    pub cost_per_hour_usd: f64,
    pub extra_per_hour_usd: f64,
    pub unmet_rps: f64,
    pub replicas: Vec<Replicas>,
}

/// What a change would bring.
#[derive(Debug, Serialize)]
pub struct Priced {
    pub change: String,
    pub saves_per_hour_usd: f64,
    pub serves_rps: f64,
}

/// Demand that cannot be served.
#[derive(Debug, Serialize)]
pub struct Unmet {
    pub model: String,
    pub class: String,
    pub bucket: usize,
    pub share: f64,
    pub rate_rps: f64,
    pub why: String,
}

impl Answered {
    /// Puts names to the planner's ordinals, and asks what else could be done.
    pub fn new(input: &PlanInput<'_>, planned: &Planned) -> Result<Self, ProblemError> {
        let (plan, problem, solver) = (&planned.plan, &planned.problem, &input.settings.solve);
        let catalogue = input.catalogue;
        let other = |a: Alternative| Other {
            without: catalogue.variants[a.without].name.clone(),
            cost_per_hour_usd: a.plan.cost,
            extra_per_hour_usd: a.plan.cost - plan.cost,
            unmet_rps: prices::unmet_rate(problem, &a.plan),
            replicas: replicas(catalogue, &a.plan.replicas),
        };
        let limits = prices::limit_prices(problem, plan, solver)?;
        let bounds = what_if::bound_prices(input, planned, LOOSER)?;
        let bounds = bounds.iter().map(Priced::of_bound);
        let (shares, binding) = shares(planned);
        Ok(Self {
            status: if plan.serves_all() {
                Status::Feasible
            } else {
                Status::Infeasible
            },
            cost_per_hour_usd: plan.cost,
            bound_per_hour_usd: plan.bound,
            gap: plan.gap(),
            replicas: replicas(catalogue, &plan.replicas),
            shares,
            binding,
            limits: prices::binding(problem, plan)
                .iter()
                .map(|b| FleetLimit::new(problem, b))
                .collect(),
            alternatives: what_if::alternatives(planned, solver)?
                .into_iter()
                .map(other)
                .collect(),
            prices: limits
                .iter()
                .map(|l| Priced::of_limit(problem, l))
                .chain(bounds)
                .collect(),
            unmet: unmet(planned),
        })
    }

    /// Whether everything is served.
    pub fn is_feasible(&self) -> bool {
        self.status == Status::Feasible
    }

    /// A metric of the [`vocabulary`].
    pub fn figure(&self, metric: &str) -> Option<f64> {
        Some(match metric {
            "cost" | "cost_per_hour_usd" => self.cost_per_hour_usd,
            "bound_per_hour_usd" => self.bound_per_hour_usd,
            "gap" => self.gap,
            "replicas" => self.replicas.iter().map(|r| f64::from(r.replicas)).sum(),
            "unmet_rps" => self.unmet.iter().map(|u| u.rate_rps).sum(),
            _ => return None,
        })
    }
}

/// What `--fail-if` may look at.
pub fn vocabulary() -> Vocabulary {
    let metrics = [
        ("cost", Kind::Money),
        ("cost_per_hour_usd", Kind::Money),
        ("bound_per_hour_usd", Kind::Money),
        ("gap", Kind::Share),
        ("replicas", Kind::Number),
        ("unmet_rps", Kind::Number),
    ];
    Vocabulary {
        metrics: metrics.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
        ..Vocabulary::default()
    }
}

/// Those variants that have any replica.
fn replicas(catalogue: &Catalogue, counts: &[u32]) -> Vec<Replicas> {
    let used = catalogue
        .variants
        .iter()
        .zip(counts)
        .filter(|(_, n)| **n > 0);
    used.map(|(v, &n)| Replicas {
        model: v.model.clone(),
        variant: v.name.clone(),
        accelerator: v.accelerator.clone(),
        role: v.role,
        replicas: n,
        cost_per_hour_usd: catalogue.price_per_replica(v).get() * f64::from(n),
    })
    .collect()
}

fn shares(planned: &Planned) -> (Vec<Share>, Vec<Limits>) {
    let (mut shares, mut binding) = (Vec::new(), Vec::new());
    for (w, workload) in planned.workloads.iter().enumerate() {
        for (route, share) in planned.used_routes(w) {
            shares.push(Share {
                model: workload.model.clone(),
                class: workload.class.clone(),
                bucket: workload.bucket,
                longest_prompt_tokens: planned.longest_prompt(w),
                variant: route.variants.join(" + "),
                share,
                rate_rps: share * workload.rate,
            });
            binding.extend(route.variants.iter().zip(&route.capacities).map(
                |(variant, capacity)| Limits {
                    model: workload.model.clone(),
                    class: workload.class.clone(),
                    bucket: workload.bucket,
                    variant: variant.clone(),
                    binding: capacity.binding(),
                    capacity_rps: capacity.rate(),
                },
            ));
        }
    }
    (shares, binding)
}

fn unmet(planned: &Planned) -> Vec<Unmet> {
    let all = planned
        .workloads
        .iter()
        .zip(&planned.plan.unmet)
        .enumerate();
    let short = all.filter(|(_, (_, share))| **share > 1e-6);
    short
        .map(|(w, (workload, &share))| Unmet {
            model: workload.model.clone(),
            class: workload.class.clone(),
            bucket: workload.bucket,
            share,
            rate_rps: share * workload.rate,
            why: why_unmet(planned, w),
        })
        .collect()
}

/// Nothing could serve it at any number of replicas, or there are too few of those that could.
fn why_unmet(planned: &Planned, workload: usize) -> String {
    let routes = || planned.routes.iter().filter(|r| r.workload == workload);
    if routes().any(|r| r.ordinal.is_some()) {
        return "stock, max_replicas or budget run out".to_owned();
    }
    let reason = |r: &RouteInfo| {
        Some(format!(
            "{}: {}",
            r.variants.join(" + "),
            r.capacities.iter().find_map(infeasible)?
        ))
    };
    let reasons: Vec<String> = routes().filter_map(reason).collect();
    format!("no variant can: {}", reasons.join("; "))
}

fn infeasible(capacity: &Capacity) -> Option<String> {
    let Capacity::Infeasible {
        binding,
        at_rest,
        limit,
    } = capacity
    else {
        return None;
    };
    Some(match binding {
        Binding::KvCache => {
            format!("a request needs {at_rest:.0} KV-cache tokens, there are {limit:.0}")
        }
        _ => format!(
            "{binding} {} on an idle replica, bound {}",
            seconds(*at_rest),
            seconds(*limit)
        ),
    })
}

impl FleetLimit {
    fn new(problem: &Problem, binding: &prices::Binding) -> Self {
        let name = |v: usize| &problem.variants[v].name;
        let (limit, used, at_most) = match *binding {
            prices::Binding::Limit {
                limit,
                used,
                at_most,
            } => (problem.limits[limit].name.clone(), used, at_most),
            prices::Binding::Most { variant, replicas } => {
                let n = f64::from(replicas);
                (format!("max_replicas of {}", name(variant)), n, n)
            }
            prices::Binding::Least {
                variant,
                replicas,
                load,
            } => (
                format!("min_replicas of {}", name(variant)),
                load,
                f64::from(replicas),
            ),
        };
        Self {
            limit,
            used,
            at_most,
        }
    }
}

impl Priced {
    fn of_bound(price: &BoundPrice) -> Self {
        let (from, to) = (seconds(price.from), seconds(price.to));
        Self {
            change: format!("{} of {} {from} → {to}", price.bound, price.class),
            saves_per_hour_usd: price.saves,
            serves_rps: price.serves,
        }
    }

    fn of_limit(problem: &Problem, price: &LimitPrice) -> Self {
        let limit = &problem.limits[price.limit];
        Self {
            change: format!(
                "{} {} → {}",
                limit.name,
                short(limit.at_most),
                short(limit.at_most + price.more)
            ),
            saves_per_hour_usd: price.saves,
            serves_rps: price.serves,
        }
    }
}
