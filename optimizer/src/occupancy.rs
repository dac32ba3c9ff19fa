//! What routes occupy: replicas per unit of share, and which routes and variants can matter at all.

use crate::problem::Problem;

/// Fewest replicas that a demand occupies when one route carries all of it. Solvers meet constraints only to a small
/// tolerance; without a floor a trickle of traffic would fit inside it and be "served" by no replica at all.
const LEAST: f64 = 1e-4;

/// Greatest replicas of one variant that a plan considers.
const MOST_REPLICAS: f64 = 1e9;

/// Smallest share that is worth routing: a route whose variants cannot carry this much is no route.
const LEAST_SHARE: f64 = 1e-6;

/// Replicas per unit of share for every route, and the bounds that follow.
#[derive(Debug, Clone)]
pub(crate) struct Occupancy {
    /// (variant, replicas when the route carries all of its demand) of every route; empty when the route is unusable.
    pub routes: Vec<Vec<(usize, f64)>>,
    /// Routes of every demand that can carry it; empty for demands that ask for nothing.
    pub of_demand: Vec<Vec<usize>>,
    /// Most replicas of every variant that any sensible plan has.
    pub most: Vec<u32>,
}

impl Occupancy {
    pub fn new(problem: &Problem) -> Self {
        let mut routes: Vec<Vec<(usize, f64)>> =
            problem.routes.iter().map(|r| stages(problem, r)).collect();
        for (route, stages) in problem.routes.iter().zip(&mut routes) {
            let usable = problem.demands[route.demand].rate > 0.0
                && stages.iter().all(|&(v, c)| {
                    f64::from(problem.variants[v].max).min(MOST_REPLICAS) >= c * LEAST_SHARE
                        && problem.variants[v].max > 0
                });
            if !usable {
                stages.clear();
            }
        }
        let mut of_demand = vec![Vec::new(); problem.demands.len()];
        for (r, route) in problem.routes.iter().enumerate() {
            if !routes[r].is_empty() {
                of_demand[route.demand].push(r);
            }
        }
        let most = useful_replicas(problem, &routes, &of_demand);
        Self {
            routes,
            of_demand,
            most,
        }
    }
}

/// Stages of a route with loads of the same variant added up.
fn stages(problem: &Problem, route: &crate::problem::Route) -> Vec<(usize, f64)> {
    let rate = problem.demands[route.demand].rate;
    let mut out: Vec<(usize, f64)> = Vec::with_capacity(route.stages.len());
    for stage in &route.stages {
        let replicas = (rate * stage.load).max(LEAST);
        match out.iter_mut().find(|(v, _)| *v == stage.variant) {
            Some((_, sum)) => *sum += replicas,
            None => out.push((stage.variant, replicas)),
        }
    }
    out
}

/// Replicas that carry every demand that could come to a variant, within its bounds; today's count where keeping it
/// may be worth more than its price.
fn useful_replicas(
    problem: &Problem,
    routes: &[Vec<(usize, f64)>],
    of_demand: &[Vec<usize>],
) -> Vec<u32> {
    let count = problem.variants.len();
    let (mut all, mut interactive) = (vec![0.0; count], vec![0.0; count]);
    let mut largest: Vec<f64> = vec![0.0; count];
    for (demand, of) in problem.demands.iter().zip(of_demand) {
        for &(v, c) in of.iter().flat_map(|&r| &routes[r]) {
            largest[v] = largest[v].max(c);
        }
        for v in of.iter().flat_map(|&r| &routes[r]).map(|&(v, _)| v) {
            let c = std::mem::take(&mut largest[v]);
            all[v] += c;
            if !demand.batch {
                interactive[v] += c;
            }
        }
    }
    problem
        .variants
        .iter()
        .enumerate()
        .map(|(v, option)| {
            let need = (interactive[v] / option.fill).max(all[v]).ceil() + 1.0;
            let keep = if problem.change_price > option.price {
                f64::from(option.current)
            } else {
                0.0
            };
            let most = need
                .max(keep)
                .min(f64::from(option.max))
                .min(MOST_REPLICAS)
                .max(f64::from(option.min));
            most as u32
        })
        .collect()
}
