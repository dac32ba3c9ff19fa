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
use crate::console::{Answer, Page};
use crate::figures::{dollars, percent, seconds, short};
use crate::table::{Table, Tone};

/// How much looser than written a bound is when its price is asked for.
const LOOSER: f64 = 1.2;

/// A plan with its reasons.
#[derive(Debug, Serialize)]
pub struct Answered {
    status: Status,
    /// Price of the fleet.
    pub cost_per_hour_usd: f64,
    bound_per_hour_usd: f64,
    gap: f64,
    replicas: Vec<Replicas>,
    shares: Vec<Share>,
    /// What limits replicas.
    pub binding: Vec<Limits>,
    limits: Vec<FleetLimit>,
    /// Runners-up, best first.
    pub alternatives: Vec<Other>,
    /// What changes would bring.
    pub prices: Vec<Priced>,
    unmet: Vec<Unmet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Feasible,
    Infeasible,
}

/// Replicas of a variant.
#[derive(Debug, Serialize)]
pub struct Replicas {
    model: String,
    variant: String,
    accelerator: String,
    role: Role,
    replicas: u32,
    cost_per_hour_usd: f64,
}

/// Who serves what.
#[derive(Debug, Serialize)]
struct Share {
    model: String,
    class: String,
    bucket: usize,
    /// The variant, or the prefill and the decode variant joined by ` + `.
    variant: String,
    share: f64,
    rate_rps: f64,
}

/// What limits a replica of a variant for a class.
#[derive(Debug, Serialize)]
pub struct Limits {
    model: String,
    pub class: String,
    bucket: usize,
    pub variant: String,
    pub binding: Binding,
    pub capacity_rps: f64,
}

/// A limit on replicas that has no room for one more.
#[derive(Debug, Serialize)]
struct FleetLimit {
    /// `stock:H100`, `budget`, `max_replicas of …`, `min_replicas of …`.
    limit: String,
    used: f64,
    at_most: f64,
}

/// The best plan without a variant.
#[derive(Debug, Serialize)]
pub struct Other {
    pub without: String,
    cost_per_hour_usd: f64,
    pub extra_per_hour_usd: f64,
    unmet_rps: f64,
    replicas: Vec<Replicas>,
}

/// What a change would bring.
#[derive(Debug, Serialize)]
pub struct Priced {
    change: String,
    saves_per_hour_usd: f64,
    serves_rps: f64,
}

/// Demand that cannot be served.
#[derive(Debug, Serialize)]
struct Unmet {
    model: String,
    class: String,
    bucket: usize,
    share: f64,
    rate_rps: f64,
    why: String,
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
        let (shares, binding) = shares(input, planned);
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
            unmet: unmet(input, planned),
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

fn shares(input: &PlanInput<'_>, planned: &Planned) -> (Vec<Share>, Vec<Limits>) {
    let (mut shares, mut binding) = (Vec::new(), Vec::new());
    for (w, workload) in input.workloads.iter().enumerate() {
        for (route, share) in planned.used_routes(w) {
            shares.push(Share {
                model: workload.model.clone(),
                class: workload.class.clone(),
                bucket: workload.bucket,
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

fn unmet(input: &PlanInput<'_>, planned: &Planned) -> Vec<Unmet> {
    let all = input.workloads.iter().zip(&planned.plan.unmet).enumerate();
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

impl Answer for Answered {
    const VERB: &'static str = "plan";

    fn describe(&self, page: &mut Page) {
        let status = match self.status {
            Status::Feasible => page.toned("feasible", Tone::Good),
            Status::Infeasible => page.toned("infeasible", Tone::Bad),
        };
        let (cost, bound, gap) = (
            dollars(self.cost_per_hour_usd),
            dollars(self.bound_per_hour_usd),
            percent(self.gap),
        );
        page.line(format!(
            "{status}: {cost} an hour; no plan is cheaper than {bound} (gap {gap})"
        ));
        for u in &self.unmet {
            let bad = page.toned("unmet", Tone::Bad);
            page.line(format!(
                "{bad}: {} req/s ({}) of {} {}: {}",
                short(u.rate_rps),
                percent(u.share),
                u.model,
                u.class,
                u.why
            ));
        }
        self.tables(page);
    }
}

impl Answered {
    fn tables(&self, page: &mut Page) {
        page.title("Replicas");
        let mut table = Table::new(&[
            "VARIANT",
            "MODEL",
            "ACCELERATOR",
            "ROLE",
            ">REPLICAS",
            ">$/H",
        ]);
        for r in &self.replicas {
            table.row([
                r.variant.as_str().into(),
                r.model.as_str().into(),
                r.accelerator.as_str().into(),
                format!("{:?}", r.role).to_lowercase().into(),
                r.replicas.to_string().into(),
                dollars(r.cost_per_hour_usd).into(),
            ]);
        }
        page.table(&table);
        page.title("Traffic");
        let mut table = Table::new(&[
            "MODEL",
            "CLASS",
            "VARIANT",
            ">SHARE",
            ">REQ/S",
            ">ONE SUSTAINS",
            "LIMITED BY",
        ]);
        for s in &self.shares {
            let same = |l: &&Limits| {
                (&l.class, l.bucket, &l.model) == (&s.class, s.bucket, &s.model)
                    && s.variant.contains(&l.variant)
            };
            let limits: Vec<&Limits> = self.binding.iter().filter(same).collect();
            let rates: Vec<String> = limits.iter().map(|l| short(l.capacity_rps)).collect();
            let bounds: Vec<String> = limits.iter().map(|l| l.binding.to_string()).collect();
            table.row([
                s.model.as_str().into(),
                s.class.as_str().into(),
                s.variant.as_str().into(),
                percent(s.share).into(),
                short(s.rate_rps).into(),
                rates.join(" + ").into(),
                bounds.join(" + ").into(),
            ]);
        }
        page.table(&table);
        let mut table = Table::new(&["LIMIT", ">USED", ">OF"]);
        for l in &self.limits {
            table.row([
                l.limit.as_str().into(),
                short(l.used).into(),
                short(l.at_most).into(),
            ]);
        }
        if !table.is_empty() {
            page.title("Full");
            page.table(&table);
        }
        self.what_if(page);
    }

    fn what_if(&self, page: &mut Page) {
        if !self.alternatives.is_empty() {
            page.title("Runners-up");
            let mut table = Table::new(&["WITHOUT", ">$/H", ">EXTRA", ">UNMET REQ/S", "REPLICAS"]);
            for a in &self.alternatives {
                table.row([
                    a.without.as_str().into(),
                    dollars(a.cost_per_hour_usd).into(),
                    dollars(a.extra_per_hour_usd).into(),
                    short(a.unmet_rps).into(),
                    a.mix().into(),
                ]);
            }
            page.table(&table);
        }
        Priced::describe(&self.prices, page);
    }
}

impl Other {
    /// `3 × h100, 2 × l4`.
    pub fn mix(&self) -> String {
        let parts: Vec<String> = self
            .replicas
            .iter()
            .map(|r| format!("{} × {}", r.replicas, r.variant))
            .collect();
        if parts.is_empty() {
            "nothing".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

impl Priced {
    /// Those changes that help, as a table under a title.
    pub fn describe(all: &[Self], page: &mut Page) {
        let mut table = Table::new(&["CHANGE", ">SAVES $/H", ">SERVES REQ/S MORE"]);
        for p in all
            .iter()
            .filter(|p| p.saves_per_hour_usd > 0.005 || p.serves_rps > 1e-3)
        {
            table.row([
                p.change.as_str().into(),
                dollars(p.saves_per_hour_usd).into(),
                short(p.serves_rps).into(),
            ]);
        }
        if !table.is_empty() {
            page.title("What would help");
            page.table(&table);
        }
    }
}
