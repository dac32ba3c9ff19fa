//! What if: the runner-up mixes behind a plan, and what a looser bound or one more device would save.
//!
//! Every answer comes from running the real planner or solver on a changed copy of its input. Dual values of the linear
//! relaxation would be cheaper, but they price a fractional fleet, and a fleet changes in whole replicas: they promise
//! savings that nobody can buy.

use wva_models::capacity::Binding;
use wva_models::service_class::{Bound, Promise, Slo};
use wva_models::units::Seconds;

use crate::plan::Plan;
use crate::planner::{CapacityTable, PlanInput, Planned, plan};
use crate::problem::{Problem, ProblemError};
use crate::solve::{SolveSettings, solve};

/// The best plan that does without a variant that the plan uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// Ordinal of the variant that is kept at its minimum.
    pub without: usize,
    /// The plan.
    pub plan: Plan,
}

/// A change of what is asked for or available.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A latency bound of a class, in seconds.
    Relax {
        /// Class name.
        class: String,
        /// Which bound.
        bound: Binding,
        /// Limit now.
        from: f64,
        /// Limit then.
        to: f64,
    },
    /// One more device.
    Device {
        /// Accelerator name.
        accelerator: String,
        /// Devices now.
        from: u32,
    },
}

/// What a change would bring.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    /// The change.
    pub change: Change,
    /// Cost now less cost then, $/h; negative where the change makes more demand worth serving.
    pub saves: f64,
    /// Requests per second that are unmet now and served then.
    pub serves: f64,
}

/// Requests per second that a plan leaves unmet.
#[must_use]
pub fn unmet_rate(problem: &Problem, plan: &Plan) -> f64 {
    problem
        .demands
        .iter()
        .zip(&plan.unmet)
        .map(|(d, u)| d.rate * u)
        .sum()
}

/// For each variant that the plan uses beyond its minimum, the best plan without it: those that serve most first, then
/// the cheapest. One solve a variant.
///
/// # Errors
/// None for a problem that was solved before; the type follows [`solve`].
pub fn alternatives(
    planned: &Planned,
    settings: &SolveSettings,
) -> Result<Vec<Alternative>, ProblemError> {
    let mut found = Vec::new();
    for (v, &replicas) in planned.plan.replicas.iter().enumerate() {
        let mut problem = planned.problem.clone();
        if replicas <= problem.variants[v].min {
            continue;
        }
        problem.variants[v].max = problem.variants[v].min;
        found.push(Alternative {
            without: v,
            plan: solve(&problem, settings)?,
        });
    }
    let unmet = |a: &Alternative| unmet_rate(&planned.problem, &a.plan);
    found.sort_by(|a, b| {
        let (x, y) = (unmet(a), unmet(b));
        let served = if (x - y).abs() > 1e-6 {
            x.total_cmp(&y)
        } else {
            std::cmp::Ordering::Equal
        };
        served.then(a.plan.cost.total_cmp(&b.plan.cost))
    });
    Ok(found)
}

/// What each bound that limits a used route would save if it were `looser` times as large (1.2: a fifth more), and each
/// exhausted stock with one more device; the largest gain first. One plan a change.
///
/// # Errors
/// None for an input that was planned before; the type follows [`plan`].
pub fn prices(
    input: &PlanInput<'_>,
    planned: &Planned,
    looser: f64,
) -> Result<Vec<Price>, ProblemError> {
    let mut found = Vec::new();
    for (class, binding) in binding_bounds(input, planned) {
        let mut catalogue = input.catalogue.clone();
        let Some((from, to)) = relax(&mut catalogue.classes, &class, binding, looser) else {
            continue;
        };
        let changed = PlanInput {
            catalogue: &catalogue,
            ..input.clone()
        };
        let change = Change::Relax {
            class,
            bound: binding,
            from,
            to,
        };
        found.push(price(change, planned, &changed)?);
    }
    for (accelerator, from) in exhausted(input, planned) {
        let mut changed = input.clone();
        changed.stock.insert(accelerator.clone(), from + 1);
        found.push(price(
            Change::Device { accelerator, from },
            planned,
            &changed,
        )?);
    }
    found.sort_by(|a, b| (b.serves.total_cmp(&a.serves)).then(b.saves.total_cmp(&a.saves)));
    Ok(found)
}

fn price(change: Change, now: &Planned, input: &PlanInput<'_>) -> Result<Price, ProblemError> {
    let then = plan(input, &mut CapacityTable::default())?;
    Ok(Price {
        change,
        saves: now.plan.cost - then.plan.cost,
        serves: unmet_rate(&now.problem, &now.plan) - unmet_rate(&then.problem, &then.plan),
    })
}

/// (class, bound) pairs that limit some used route, or make an unused one infeasible while demand is unmet; each once.
fn binding_bounds(input: &PlanInput<'_>, planned: &Planned) -> Vec<(String, Binding)> {
    let mut found = Vec::new();
    for (w, workload) in input.workloads.iter().enumerate() {
        let used = planned
            .used_routes(w)
            .flat_map(|(route, _)| &route.capacities);
        let short = planned.plan.unmet[w] > 1e-6;
        let missed = planned
            .routes
            .iter()
            .filter(|r| short && r.workload == w)
            .flat_map(|r| &r.capacities);
        for capacity in used.chain(missed) {
            let pair = (workload.class.clone(), capacity.binding());
            if !found.contains(&pair) {
                found.push(pair);
            }
        }
    }
    found
}

/// Multiplies a bound of a class; its limit before and after. `None` when the class has no such bound.
fn relax(
    classes: &mut [wva_models::service_class::ServiceClass],
    name: &str,
    binding: Binding,
    looser: f64,
) -> Option<(f64, f64)> {
    let class = classes.iter_mut().find(|c| c.name == name)?;
    let Promise::Interactive(slo) = &mut class.promise else {
        return None;
    };
    let bound = bound_of(slo, binding)?;
    let from = bound.limit.get();
    bound.limit = Seconds::new(from * looser).ok()?;
    Some((from, bound.limit.get()))
}

fn bound_of(slo: &mut Slo, binding: Binding) -> Option<&mut Bound> {
    match binding {
        Binding::Ttft => slo.ttft.as_mut(),
        Binding::Itl => slo.itl.as_mut(),
        Binding::E2e => slo.e2e.as_mut(),
        Binding::Stability | Binding::KvCache => None,
    }
}

/// Accelerators of whose stock too little is left for one more replica of some variant, with their stock.
fn exhausted(input: &PlanInput<'_>, planned: &Planned) -> Vec<(String, u32)> {
    let variants = || input.catalogue.variants.iter().zip(&planned.plan.replicas);
    let full = |name: &str, stock: u32| {
        let used: u64 = variants()
            .filter(|(v, _)| v.accelerator == name)
            .map(|(v, &n)| u64::from(n) * u64::from(v.tensor_parallel))
            .sum();
        variants().any(|(v, _)| {
            v.accelerator == name && used + u64::from(v.tensor_parallel) > u64::from(stock)
        })
    };
    let all = input
        .stock
        .iter()
        .map(|(name, &stock)| (name.clone(), stock));
    all.filter(|(name, stock)| full(name, *stock)).collect()
}
