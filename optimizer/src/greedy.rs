//! Regret-greedy: serves demands one by one, most important first and, within a level, those first that lose most when
//! their best route is taken from them; each by the routes that add least money, as far as bounds and limits allow.
//!
//! Linear-ish time, no solver, and every intermediate state is a valid plan: the rung that always answers.

use crate::levels::Candidate;
use crate::lexicographic::Setting;

/// Halvings when looking for the largest share that still fits.
const HALVINGS: u32 = 40;

/// Smallest share worth placing.
const LEAST_SHARE: f64 = 1e-6;

/// Loads may exceed whole replicas by this, relatively: ceil(3.0000000001) is 3.
const ROUNDING: f64 = 1e-9;

/// A plan under construction.
pub(crate) struct Builder<'a> {
    setting: &'a Setting<'a>,
    /// Whether replicas may be added; otherwise only what is there is filled.
    grow: bool,
    replicas: Vec<u32>,
    shares: Vec<f64>,
    unmet: Vec<f64>,
    all: Vec<f64>,
    interactive: Vec<f64>,
    room: Vec<f64>,
    /// (limit, use per replica) of every variant.
    replica_limits: Vec<Vec<(usize, f64)>>,
    /// (limit, use per unit of share) of every route.
    flow_limits: Vec<Vec<(usize, f64)>>,
}

impl<'a> Builder<'a> {
    /// Starts from `fleet`, which is within bounds and limits.
    pub fn new(setting: &'a Setting<'a>, fleet: Vec<u32>, grow: bool) -> Self {
        let problem = setting.problem;
        let mut replica_limits = vec![Vec::new(); problem.variants.len()];
        let mut flow_limits = vec![Vec::new(); problem.routes.len()];
        let mut room = Vec::with_capacity(problem.limits.len());
        for (l, limit) in problem.limits.iter().enumerate() {
            let mut left = limit.at_most;
            for &(v, c) in &limit.replicas {
                replica_limits[v].push((l, c));
                left -= c * f64::from(fleet[v]);
            }
            for &(r, c) in &limit.flows {
                let rate = problem.demands[problem.routes[r].demand].rate;
                flow_limits[r].push((l, c * rate));
            }
            room.push(left + 1e-9 * limit.at_most);
        }
        Self {
            setting,
            grow,
            shares: vec![0.0; problem.routes.len()],
            unmet: problem
                .demands
                .iter()
                .map(|d| f64::from(u8::from(d.rate > 0.0)))
                .collect(),
            all: vec![0.0; fleet.len()],
            interactive: vec![0.0; fleet.len()],
            replicas: fleet,
            room,
            replica_limits,
            flow_limits,
        }
    }

    /// Serves every demand as far as possible, in order of level, then regret.
    pub fn serve(mut self) -> Candidate {
        for d in self.order() {
            self.serve_demand(d);
        }
        Candidate {
            replicas: self.replicas,
            shares: self.shares,
            unmet: self.unmet,
        }
    }

    /// Replicas that every variant needs for the load put on it.
    pub fn needed(mut self) -> Vec<u32> {
        for d in self.order() {
            self.serve_demand(d);
        }
        (0..self.replicas.len())
            .map(|v| self.needs(v, 0.0, false))
            .collect()
    }

    fn order(&self) -> Vec<usize> {
        let demands = &self.setting.problem.demands;
        let mut order: Vec<(usize, f64)> = (0..demands.len())
            .filter(|&d| self.unmet[d] > 0.0)
            .map(|d| (d, self.regret(d)))
            .collect();
        order.sort_by(|(a, ra), (b, rb)| {
            let levels = &self.setting.levels.of;
            (levels[*a], demands[*a].batch)
                .cmp(&(levels[*b], demands[*b].batch))
                .then(rb.total_cmp(ra))
                .then(a.cmp(b))
        });
        order.into_iter().map(|(d, _)| d).collect()
    }

    /// What losing its best route would cost a demand, $/h, whole replicas ignored; infinite with a single route.
    fn regret(&self, d: usize) -> f64 {
        let (mut best, mut second) = (f64::INFINITY, f64::INFINITY);
        for &r in &self.setting.occupancy.of_demand[d] {
            let cost = self.linear_cost(r);
            if cost < best {
                (best, second) = (cost, best);
            } else {
                second = second.min(cost);
            }
        }
        second - best
    }

    fn linear_cost(&self, r: usize) -> f64 {
        let variants = &self.setting.problem.variants;
        let stages = &self.setting.occupancy.routes[r];
        stages.iter().map(|&(v, c)| c * variants[v].price).sum()
    }

    fn serve_demand(&mut self, d: usize) {
        let routes = &self.setting.occupancy.of_demand[d];
        for _ in 0..routes.len() {
            if self.unmet[d] <= LEAST_SHARE {
                break;
            }
            let best = routes
                .iter()
                .filter_map(|&r| self.offer(r, self.unmet[d]))
                .min_by(|a, b| (a.rank.0.total_cmp(&b.rank.0)).then(a.rank.1.total_cmp(&b.rank.1)));
            let Some(offer) = best else { break };
            self.take(&offer);
        }
        if self.unmet[d] <= LEAST_SHARE {
            self.settle_dust(d);
        }
    }

    /// Spreads the last millionth over the routes in use.
    fn settle_dust(&mut self, d: usize) {
        let served = 1.0 - self.unmet[d];
        for &r in &self.setting.occupancy.of_demand[d] {
            self.shares[r] /= served;
        }
        self.unmet[d] = 0.0;
    }

    /// The largest share of at most `want` that route `r` can take, and what each unit of it adds.
    fn offer(&self, r: usize, want: f64) -> Option<Offer> {
        let mut share = want;
        if !self.fits(r, want) {
            let (mut low, mut high) = (0.0, want);
            for _ in 0..HALVINGS {
                let middle = f64::midpoint(low, high);
                if self.fits(r, middle) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            share = low;
        }
        (share > LEAST_SHARE).then(|| Offer {
            route: r,
            share,
            rank: (self.added_money(r, share) / share, self.linear_cost(r)),
        })
    }

    fn fits(&self, r: usize, share: f64) -> bool {
        let batch = self.is_batch(r);
        let stages = &self.setting.occupancy.routes[r];
        let added: Vec<(usize, f64)> = stages
            .iter()
            .map(|&(v, c)| (v, self.added(v, c * share, batch)))
            .collect();
        let bounds = added.iter().all(|&(v, extra)| {
            extra == 0.0
                || (self.grow
                    && f64::from(self.replicas[v]) + extra
                        <= f64::from(self.setting.occupancy.most[v]))
        });
        bounds && self.within_limits(r, share, &added)
    }

    fn within_limits(&self, r: usize, share: f64, added: &[(usize, f64)]) -> bool {
        let touched = added
            .iter()
            .flat_map(|&(v, _)| &self.replica_limits[v])
            .chain(&self.flow_limits[r])
            .map(|&(l, _)| l);
        touched.into_iter().all(|l| {
            let mut used = 0.0;
            for &(v, extra) in added {
                for &(_, c) in self.replica_limits[v].iter().filter(|(m, _)| *m == l) {
                    used += c * extra;
                }
            }
            for &(_, c) in self.flow_limits[r].iter().filter(|(m, _)| *m == l) {
                used += c * share;
            }
            used <= 0.0 || used <= self.room[l]
        })
    }

    fn take(&mut self, offer: &Offer) {
        let (r, share) = (offer.route, offer.share);
        let batch = self.is_batch(r);
        for &(v, c) in &self.setting.occupancy.routes[r] {
            let extra = self.added(v, c * share, batch);
            for &(l, used) in &self.replica_limits[v] {
                self.room[l] -= used * extra;
            }
            self.replicas[v] += extra as u32;
            self.all[v] += c * share;
            if !batch {
                self.interactive[v] += c * share;
            }
        }
        for &(l, used) in &self.flow_limits[r] {
            self.room[l] -= used * share;
        }
        self.shares[r] += share;
        self.unmet[self.setting.problem.routes[r].demand] -= share;
    }

    fn is_batch(&self, r: usize) -> bool {
        let problem = self.setting.problem;
        problem.demands[problem.routes[r].demand].batch
    }

    /// Replicas that variant `v` needs when `load` more comes to it.
    fn needs(&self, v: usize, load: f64, batch: bool) -> u32 {
        let fill = self.setting.problem.variants[v].fill;
        let interactive = self.interactive[v] + if batch { 0.0 } else { load };
        let replicas = (self.all[v] + load).max(interactive / fill);
        (replicas * (1.0 - ROUNDING)).ceil() as u32
    }

    fn added(&self, v: usize, load: f64, batch: bool) -> f64 {
        f64::from(self.needs(v, load, batch).saturating_sub(self.replicas[v]))
    }

    /// Money that a share on a route adds, the price of changing today's fleet included.
    fn added_money(&self, r: usize, share: f64) -> f64 {
        let problem = self.setting.problem;
        let batch = self.is_batch(r);
        let stages = &self.setting.occupancy.routes[r];
        stages
            .iter()
            .map(|&(v, c)| {
                let option = &problem.variants[v];
                let (from, extra) = (self.replicas[v], self.added(v, c * share, batch));
                let kept = f64::from(option.current.saturating_sub(from)).min(extra);
                option.price * extra + problem.change_price * (extra - 2.0 * kept)
            })
            .sum()
    }
}

/// What a route can do for a demand.
struct Offer {
    route: usize,
    share: f64,
    /// Money added per unit of share, then the linear cost.
    rank: (f64, f64),
}

/// The greedy plan from the minimum fleet.
pub(crate) fn greedy(setting: &Setting<'_>) -> Candidate {
    let fleet = setting.problem.variants.iter().map(|v| v.min).collect();
    Builder::new(setting, fleet, true).serve()
}
