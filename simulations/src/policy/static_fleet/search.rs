//! The cheapest fleet of one model that a simulation accepts.
//!
//! Adding replicas does not hurt (least-loaded routing, no interference), so acceptance is taken as monotone: below a
//! rejected fleet everything is rejected, above an accepted one everything accepted. That, a bound from work conservation
//! and the price of the best fleet so far leave few candidates to simulate:
//!
//! 1. *Pure*: of each way to serve (one variant, or a prefill and a decode variant in proportion) the least count, from
//!    an estimate outwards, two simulations at a time.
//! 2. *Trimmed*: each variant of the best fleet is reduced as far as the others allow.
//! 3. *Mixed*: replicas of one variant are traded for as many of another as stay cheaper.
//!
//! Where no pure fleet is accepted, the search begins at all that there are devices for.
//!
//! Enumerating all mixes in order of price would prove optimality, at hundreds of simulations more.

use std::collections::BTreeMap;

/// What is known of a variant before anything is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Price of one replica.
    pub price: f64,
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// Greatest share of the work of the whole run that one replica can do: fleets whose sum is below 1 are rejected.
    pub work: f64,
}

/// A way to serve the model's traffic: replicas per variant in proportion, by estimate enough at the peak.
pub type Way = Vec<(usize, f64)>;

/// What the search came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Replicas per variant.
    pub replicas: Vec<u32>,
    /// Whether the simulation accepts them; otherwise no fleet within the limits was accepted, and these are the most.
    pub accepted: bool,
    /// Simulations that it took.
    pub simulations: u32,
    /// Whether the limit on simulations ended it.
    pub cut_short: bool,
}

/// A search in progress.
pub(super) struct Search<'a> {
    pub candidates: &'a [Candidate],
    /// Whether there are devices for a fleet.
    pub fits: &'a dyn Fn(&[u32]) -> bool,
    /// Whether a fleet attains: a simulation.
    pub accepts: &'a (dyn Fn(&[u32]) -> bool + Sync),
    /// Most simulations.
    pub most: u32,
    verdicts: BTreeMap<Vec<u32>, bool>,
    best: Option<(f64, Vec<u32>)>,
    simulations: u32,
    cut_short: bool,
}

impl<'a> Search<'a> {
    pub fn new(
        candidates: &'a [Candidate],
        fits: &'a dyn Fn(&[u32]) -> bool,
        accepts: &'a (dyn Fn(&[u32]) -> bool + Sync),
        most: u32,
    ) -> Self {
        Self {
            candidates,
            fits,
            accepts,
            most,
            verdicts: BTreeMap::new(),
            best: None,
            simulations: 0,
            cut_short: false,
        }
    }

    /// Searches all ways, cheapest estimate first.
    pub fn run(mut self, ways: &[Way]) -> Found {
        let mut ways: Vec<&Way> = ways.iter().collect();
        let estimate =
            |w: &Way| -> f64 { w.iter().map(|&(v, n)| n * self.candidates[v].price).sum() };
        ways.sort_by(|a, b| estimate(a).total_cmp(&estimate(b)));
        for way in &ways {
            self.scale(way);
        }
        let everything = self.everything(&ways);
        if self.best.is_none() && self.judge(std::slice::from_ref(&everything)) == Some(vec![true])
        {
            self.best = Some((self.price(&everything), everything.clone()));
        }
        for _ in 0..2 {
            self.trim();
            self.mix();
        }
        let accepted = self.best.is_some();
        let replicas = self.best.take().map_or(everything, |(_, fleet)| fleet);
        Found {
            replicas,
            accepted,
            simulations: self.simulations,
            cut_short: self.cut_short,
        }
    }

    /// All that there are devices for, in the order of the ways.
    fn everything(&self, ways: &[&Way]) -> Vec<u32> {
        let mut fleet: Vec<u32> = self.candidates.iter().map(|c| c.min).collect();
        for &(v, _) in ways.iter().copied().flatten() {
            let most = (fleet[v]..=self.candidates[v].max).rev();
            let fitting = most
                .map(|n| replaced(&fleet, v, n))
                .find(|f| (self.fits)(f));
            fleet = fitting.unwrap_or(fleet);
        }
        fleet
    }

    /// The least multiple of a way that is accepted, in steps of one replica of its largest part.
    fn scale(&mut self, way: &Way) {
        let largest = way.iter().map(|&(_, n)| n).fold(1e-9, f64::max);
        let fleet = |s: &Self, n: u32| s.fleet(way, f64::from(n) / largest);
        let most = way
            .iter()
            .map(|&(v, n)| f64::from(self.candidates[v].max) * largest / n.max(1e-9))
            .fold(f64::MAX, f64::min);
        let most = most.min(100_000.0).ceil() as u32;
        self.least(largest.ceil() as u32, most, fleet);
    }

    /// Reduces each variant of the best fleet in turn, dearest first.
    fn trim(&mut self) {
        let mut order: Vec<usize> = (0..self.candidates.len()).collect();
        order.sort_by(|&a, &b| {
            self.candidates[b]
                .price
                .total_cmp(&self.candidates[a].price)
        });
        for v in order {
            let Some((_, best)) = self.best.clone() else {
                return;
            };
            if best[v] > self.candidates[v].min {
                let with = |_: &Self, n| replaced(&best, v, n);
                self.least(best[v] - 1, best[v], with);
            }
        }
    }

    /// Trades replicas of each variant in the best fleet for another variant's, while that is cheaper.
    fn mix(&mut self) {
        let count = self.candidates.len();
        for (from, to) in (0..count).flat_map(|f| (0..count).map(move |t| (f, t))) {
            let Some((_, best)) = self.best.clone() else {
                return;
            };
            for n in (self.candidates[from].min..best[from]).rev() {
                let Some((price, _)) = self.best else { return };
                let base = replaced(&best, from, n);
                let room = (price - self.price(&base)) / self.candidates[to].price;
                let more = (room - 1e-9).ceil().max(0.0) as u32;
                let most = (base[to] + more.saturating_sub(1)).min(self.candidates[to].max);
                if from == to || most <= base[to] {
                    continue;
                }
                self.least(most, most, |_, m| replaced(&base, to, m));
            }
        }
    }

    /// Finds the least n up to `most` whose fleet is accepted, beginning at `start`, and keeps it if it is the cheapest.
    /// Fleets that are not cheaper than the best one are left out.
    fn least(&mut self, start: u32, most: u32, fleet: impl Fn(&Self, u32) -> Vec<u32>) {
        let mut most = most;
        while most > 0 && !self.cheaper(&fleet(self, most)) {
            // Prices ascend with n: halve the way down to the first cheaper one.
            let (mut low, mut high) = (0, most);
            while low < high {
                let middle = low + (high - low) / 2;
                if self.cheaper(&fleet(self, middle)) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            most = low.saturating_sub(1);
        }
        let (mut rejected, mut accepted): (Option<u32>, Option<u32>) = (None, None);
        let mut step = 1;
        loop {
            let low = rejected.map_or(0, |r| r + 1);
            let high = accepted.map_or(most, |a| a.saturating_sub(1));
            if low > high || accepted == Some(0) {
                break;
            }
            let probes = match (rejected, accepted) {
                (None, None) => [start.min(high), (start + step).min(high)],
                (Some(r), None) => [(r + step).min(high), (r + 3 * step).min(high)],
                (None, Some(a)) => [a.saturating_sub(2 * step), a.saturating_sub(step)],
                (Some(_), Some(_)) => [low + (high - low) / 3, low + 2 * (high - low) / 3],
            };
            let fleets: Vec<Vec<u32>> = probes.iter().map(|&n| fleet(self, n)).collect();
            let Some(verdicts) = self.judge(&fleets) else {
                break;
            };
            for (&n, verdict) in probes.iter().zip(verdicts) {
                if verdict {
                    accepted = Some(accepted.map_or(n, |a| a.min(n)));
                } else {
                    rejected = Some(rejected.map_or(n, |r| r.max(n)));
                }
            }
            step *= 2;
        }
        if let Some(n) = accepted {
            let found = fleet(self, n);
            if self.cheaper(&found) {
                self.best = Some((self.price(&found), found));
            }
        }
    }

    /// Verdicts on two fleets, simulated at the same time where they are not known; `None` when the limit is reached.
    fn judge(&mut self, fleets: &[Vec<u32>]) -> Option<Vec<bool>> {
        let mut unknown: Vec<&Vec<u32>> =
            fleets.iter().filter(|f| self.known(f).is_none()).collect();
        unknown.dedup();
        if self.simulations + unknown.len() as u32 > self.most {
            self.cut_short = true;
            return None;
        }
        self.simulations += unknown.len() as u32;
        let accepts = self.accepts;
        let judged: Vec<bool> = std::thread::scope(|scope| {
            let running: Vec<_> = unknown
                .iter()
                .map(|f| scope.spawn(move || accepts(f)))
                .collect();
            running
                .into_iter()
                .map(|r| r.join().unwrap_or(false))
                .collect()
        });
        for (fleet, verdict) in unknown.into_iter().zip(judged) {
            self.verdicts.insert(fleet.clone(), verdict);
        }
        Some(fleets.iter().map(|f| self.known(f) == Some(true)).collect())
    }

    /// What follows for a fleet from its devices, from work conservation and from the fleets simulated so far.
    fn known(&self, fleet: &[u32]) -> Option<bool> {
        let parts = fleet.iter().zip(self.candidates);
        let work: f64 = parts.map(|(&n, c)| f64::from(n) * c.work).sum();
        if work < 1.0 || !(self.fits)(fleet) {
            return Some(false);
        }
        let covers = |a: &[u32], b: &[u32]| a.iter().zip(b).all(|(x, y)| x >= y);
        self.verdicts.iter().find_map(|(other, &verdict)| {
            let follows = if verdict {
                covers(fleet, other)
            } else {
                covers(other, fleet)
            };
            follows.then_some(verdict)
        })
    }

    fn cheaper(&self, fleet: &[u32]) -> bool {
        let price = self.price(fleet);
        self.best
            .as_ref()
            .is_none_or(|(best, _)| price < best - 1e-9)
    }

    fn price(&self, fleet: &[u32]) -> f64 {
        let parts = fleet.iter().zip(self.candidates);
        parts.map(|(&n, c)| f64::from(n) * c.price).sum()
    }

    /// A way, scaled, in whole replicas within their limits; variants that it does not use have their fewest.
    fn fleet(&self, way: &Way, factor: f64) -> Vec<u32> {
        let mut fleet: Vec<u32> = self.candidates.iter().map(|c| c.min).collect();
        for &(v, n) in way {
            let c = &self.candidates[v];
            fleet[v] = ((n * factor - 1e-9).ceil().max(0.0) as u32).clamp(c.min, c.max.max(c.min));
        }
        fleet
    }
}

fn replaced(fleet: &[u32], variant: usize, replicas: u32) -> Vec<u32> {
    let mut changed = fleet.to_vec();
    changed[variant] = replicas;
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fleets are accepted when their capacity reaches the demand.
    fn search(prices: &[f64], capacities: &[f64], demand: f64, most: u32) -> Found {
        let candidate = |(&price, &capacity): (&f64, &f64)| Candidate {
            price,
            min: 0,
            max: 100, // above the 86 that the greatest demand takes of the smallest
            work: capacity / demand * 2.0,
        };
        let candidates: Vec<_> = prices.iter().zip(capacities).map(candidate).collect();
        let accepts = |fleet: &[u32]| {
            let total: f64 = fleet
                .iter()
                .zip(capacities)
                .map(|(&n, c)| f64::from(n) * c)
                .sum();
            total >= demand
        };
        // Estimates a quarter too high, as real ones may be.
        let ways: Vec<Way> = (0..prices.len())
            .map(|v| vec![(v, demand / capacities[v] * 1.25)])
            .collect();
        Search::new(&candidates, &|_| true, &accepts, most).run(&ways)
    }

    #[test]
    fn finds_a_mix_that_is_cheaper_than_any_pure_fleet() {
        // 4 large cost 28, 14 small 28; 3 large and 1 small carry 31 for 23.
        let found = search(&[7.0, 2.0], &[10.0, 2.2], 31.0, 100);
        assert!(found.accepted && !found.cut_short);
        assert_eq!(found.replicas, [3, 1]);
        assert!(found.simulations <= 20, "{}", found.simulations);
    }

    #[test]
    fn says_when_nothing_is_enough_and_when_it_was_cut_short() {
        let none = search(&[1.0], &[1.0], 150.0, 50);
        assert!(!none.accepted);
        assert_eq!(none.replicas, [100]);
        assert!(search(&[1.0], &[1.0], 40.0, 1).cut_short);
    }

    #[test]
    fn scales_pairs_in_proportion_and_trims_them() {
        let candidates = [3.0, 1.0].map(|price| Candidate {
            price,
            min: 0,
            max: 50,
            work: 1.0,
        });
        // Needs 5 prefill and 8 decode replicas; the estimate has the proportion wrong.
        let accepts = |f: &[u32]| f[0] >= 5 && f[1] >= 8;
        let found =
            Search::new(&candidates, &|_| true, &accepts, 100).run(&[vec![(0, 4.0), (1, 4.0)]]);
        assert_eq!(found.replicas, [5, 8]);
    }

    proptest! {
        #[test]
        fn is_never_dearer_than_pure_and_close_to_brute_force(
            prices in prop::collection::vec(1.0..8.0f64, 2..4),
            seeds in prop::collection::vec(0.7..1.4f64, 3),
            demand in 5.0..60.0f64,
        ) {
            let capacities: Vec<f64> = prices.iter().zip(&seeds).map(|(p, s)| p * s).collect();
            let found = search(&prices, &capacities, demand, 200);
            prop_assert!(found.accepted);
            let price = |f: &[u32]| f.iter().zip(&prices).map(|(&n, p)| f64::from(n) * p).sum::<f64>();
            let pure = prices.iter().zip(&capacities).map(|(p, c)| (demand / c).ceil() * p);
            let pure = pure.fold(f64::MAX, f64::min);
            prop_assert!(price(&found.replicas) <= pure + 1e-6);
            // No fleet is cheaper than carrying exactly the demand at the best price of capacity.
            let bound = prices.iter().zip(&capacities).map(|(p, c)| demand * p / c).fold(f64::MAX, f64::min);
            prop_assert!(price(&found.replicas) >= bound - 1e-6);
        }
    }
}
