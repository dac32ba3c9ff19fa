//! What if: the runner-up mixes behind a plan, and what looser latency bounds would save. What limits on replicas are
//! worth is in [`crate::prices`].
//!
//! Every answer comes from running the real planner or solver on a changed copy of its input. Dual values of the linear
//! relaxation would be cheaper, but they price a fractional fleet, and a fleet changes in whole replicas: they promise
//! savings that nobody can buy.

use wva_models::capacity::Binding;
use wva_models::service_class::{Bound, Promise, ServiceClass, Slo};
use wva_models::units::Seconds;

use crate::plan::Plan;
use crate::planner::{CapacityTable, PlanInput, Planned, plan};
use crate::prices::unmet_rate;
use crate::problem::ProblemError;
use crate::solve::{SolveSettings, solve};

/// The best plan that does without a variant that the plan uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// Ordinal of the variant that is kept at its minimum.
    pub without: usize,
    /// The plan.
    pub plan: Plan,
}

/// What a looser latency bound would bring.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundPrice {
    /// Class name.
    pub class: String,
    /// Which bound.
    pub bound: Binding,
    /// Its limit now, seconds.
    pub from: f64,
    /// Its limit then, seconds.
    pub to: f64,
    /// Cost now less cost then, $/h; negative where more demand becomes worth serving.
    pub saves: f64,
    /// Requests per second that are unmet now and served then.
    pub serves: f64,
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

/// What each bound that limits a used route would save if it were `looser` times as large (1.2: a fifth more); the
/// largest gain first. One plan a bound.
///
/// # Errors
/// None for an input that was planned before; the type follows [`plan`].
pub fn bound_prices(
    input: &PlanInput<'_>,
    planned: &Planned,
    looser: f64,
) -> Result<Vec<BoundPrice>, ProblemError> {
    let mut found = Vec::new();
    for (class, bound) in binding_bounds(planned) {
        let mut catalogue = input.catalogue.clone();
        let Some((from, to)) = relax(&mut catalogue.classes, &class, bound, looser) else {
            continue;
        };
        let changed = PlanInput {
            catalogue: &catalogue,
            ..input.clone()
        };
        let then = plan(&changed, &mut CapacityTable::default())?;
        found.push(BoundPrice {
            class,
            bound,
            from,
            to,
            saves: planned.plan.cost - then.plan.cost,
            serves: unmet_rate(&planned.problem, &planned.plan)
                - unmet_rate(&then.problem, &then.plan),
        });
    }
    found.sort_by(|a, b| (b.serves.total_cmp(&a.serves)).then(b.saves.total_cmp(&a.saves)));
    Ok(found)
}

/// (class, bound) pairs that limit some used route, or make an unused one infeasible while demand is unmet; each once.
fn binding_bounds(planned: &Planned) -> Vec<(String, Binding)> {
    let mut found = Vec::new();
    for (w, workload) in planned.workloads.iter().enumerate() {
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
    classes: &mut [ServiceClass],
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
