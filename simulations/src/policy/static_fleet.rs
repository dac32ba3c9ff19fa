//! `static`: the cheapest fleet that never changes and still attains, in hindsight.
//!
//! What a user gets by sizing for the peak, done perfectly: the whole trace and the true speed of every variant are
//! known, and the fleet is searched by simulating candidates on the whole run, model by model. Nobody can deploy it,
//! since it takes hindsight; it is the bar for every autoscaler.

use std::collections::BTreeMap;

use serde::Deserialize;
use wva_models::batching::ContinuousBatching;
use wva_models::latency::LatencyModel;
use wva_models::variant::Role;
use wva_optimizer::snapshot::Snapshot;

use self::search::{Candidate, Found, Search, Way};
use super::deployment::{Target, target};
use super::{Intent, Policy, World};
use crate::request::{Request, RequestSource, Stream};
use crate::run::{Setup, SetupError, run};
use crate::workload::statistics::StreamDemand;

pub mod search;

/// Settings of `static`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StaticSettings {
    /// Share of each class's requests that must attain; less where the class itself promises less (p95 bounds: 0.95).
    pub target_attainment: f64,
    /// Most simulations that the search may spend on one model.
    pub most_simulations: u32,
}

impl Default for StaticSettings {
    fn default() -> Self {
        Self {
            target_attainment: 0.99,
            most_simulations: 40,
        }
    }
}

/// A fleet that never changes: the initial one.
#[derive(Debug, Clone, Default)]
pub struct StaticFleet {
    intent: Intent,
}

impl Policy for StaticFleet {
    fn name(&self) -> &str {
        "static"
    }

    fn period(&self) -> f64 {
        300.0
    }

    fn begin(&mut self, world: &World<'_>) {
        let variants = world.catalogue.variants.iter().zip(world.initial);
        self.intent.replicas = variants.map(|(v, &n)| (v.name.clone(), n)).collect();
    }

    fn decide(&mut self, _: &Snapshot) -> Intent {
        self.intent.clone()
    }
}

/// The cheapest static fleet for a setup, whose own initial fleet does not matter. Replicas are in the catalogue's order
/// of variants; run them with [`StaticFleet`]. Models are searched one after the other, the first of the streams first,
/// each with the devices that the ones before it leave.
///
/// # Errors
/// [`SetupError`] when the setup contradicts itself.
pub fn cheapest(setup: &Setup<'_>, settings: &StaticSettings) -> Result<Found, SetupError> {
    setup.check()?;
    let demand = StreamDemand::of(setup.source, setup.seed, setup.duration_s);
    let mut all = Found {
        replicas: setup
            .catalogue
            .variants
            .iter()
            .map(|v| v.min_replicas)
            .collect(),
        accepted: true,
        simulations: 0,
        cut_short: false,
    };
    let mut models: Vec<&str> = Vec::new();
    for d in &demand {
        if !models.contains(&d.model.as_str()) {
            models.push(&d.model);
        }
    }
    for model in models {
        let found = OneModel::new(setup, settings, model, &demand, &all.replicas).search();
        all.replicas = found.replicas;
        all.accepted &= found.accepted;
        all.simulations += found.simulations;
        all.cut_short |= found.cut_short;
    }
    Ok(all)
}

/// The search for one model, the other models' replicas given.
struct OneModel<'a> {
    setup: &'a Setup<'a>,
    settings: &'a StaticSettings,
    model: &'a str,
    /// Its variants.
    targets: Vec<Target>,
    demand: Vec<&'a StreamDemand>,
    /// Replicas of all variants as found so far.
    others: &'a [u32],
    /// Requests of this model alone.
    source: OfModel<'a>,
    peak_to_mean: f64,
}

impl<'a> OneModel<'a> {
    fn new(
        setup: &'a Setup<'a>,
        settings: &'a StaticSettings,
        model: &'a str,
        demand: &'a [StreamDemand],
        others: &'a [u32],
    ) -> Self {
        let demand: Vec<&StreamDemand> = demand.iter().filter(|d| d.model == model).collect();
        let variants = setup.catalogue.variants.iter().enumerate();
        let targets = variants
            .filter(|(_, v)| v.model == model)
            .map(|(i, v)| target(setup.catalogue, i, v, &setup.truth[i], &demand))
            .collect();
        let source = OfModel {
            all: setup.source,
            keep: setup
                .source
                .streams()
                .iter()
                .map(|s| s.model == model)
                .collect(),
        };
        Self {
            peak_to_mean: peak_to_mean(&source, setup.seed, setup.duration_s),
            targets,
            setup,
            settings,
            model,
            demand,
            others,
            source,
        }
    }

    fn search(&self) -> Found {
        let candidates: Vec<Candidate> = self.targets.iter().map(|t| self.candidate(t)).collect();
        let fits = |fleet: &[u32]| self.fits(fleet);
        let accepts = |fleet: &[u32]| self.attains(fleet);
        let most = self.settings.most_simulations;
        let found = Search::new(&candidates, &fits, &accepts, most).run(&self.ways());
        Found {
            replicas: self.whole(&found.replicas),
            ..found
        }
    }

    fn candidate(&self, target: &Target) -> Candidate {
        let variant = &self.setup.catalogue.variants[target.variant];
        Candidate {
            price: self.setup.catalogue.price_per_replica(variant).get(),
            min: variant.min_replicas,
            max: target.max,
            work: self.work(target),
        }
    }

    /// Greatest share of the run's requests that one replica can finish, by the stability limit of the latency model and
    /// a fifth for the model's error. A prefill or decode replica does only part of the work: no bound.
    fn work(&self, target: &Target) -> f64 {
        if target.role != Role::Both {
            return 1.0;
        }
        let engine = ContinuousBatching::new(self.setup.truth[target.variant], target.role);
        let parts = self.demand.iter();
        let needed: f64 = parts
            .map(|d| d.rate / engine.stability_limit(&d.shape).max(1e-9))
            .sum();
        let time = 1.0 + self.setup.options.tail_s / self.setup.duration_s;
        1.2 * time / (needed.max(1e-9) * self.settings.target_attainment)
    }

    /// Each aggregated variant alone, and each prefill with each decode variant. One that cannot meet all SLOs is no way to
    /// begin with while another can; beside that one it may still take the short prompts.
    fn ways(&self) -> Vec<Way> {
        let any = self.targets.iter().any(|t| t.feasible);
        let with = |role| {
            let all = self.targets.iter().enumerate();
            let own = all.filter(move |(_, t)| t.role == role && (t.feasible || !any));
            own.map(|(i, t)| (i, t.load * self.peak_to_mean))
        };
        let alone = with(Role::Both).map(|part| vec![part]);
        let pairs = with(Role::Prefill).flat_map(|p| with(Role::Decode).map(move |d| vec![p, d]));
        alone.chain(pairs).collect()
    }

    /// All variants' replicas with these for the model's.
    fn whole(&self, fleet: &[u32]) -> Vec<u32> {
        let mut all = self.others.to_vec();
        for (target, &n) in self.targets.iter().zip(fleet) {
            all[target.variant] = n;
        }
        all
    }

    fn fits(&self, fleet: &[u32]) -> bool {
        let catalogue = self.setup.catalogue;
        let mut used: BTreeMap<&str, u64> = BTreeMap::new();
        for (variant, n) in catalogue.variants.iter().zip(self.whole(fleet)) {
            let devices = u64::from(n) * u64::from(variant.tensor_parallel);
            *used.entry(&variant.accelerator).or_default() += devices;
        }
        let mut stock = catalogue.stock.iter();
        stock.all(|(name, &there)| {
            used.get(name.as_str())
                .is_none_or(|&u| u <= u64::from(there))
        })
    }

    /// Simulates the whole run with this fleet.
    fn attains(&self, fleet: &[u32]) -> bool {
        let setup = Setup {
            source: &self.source,
            initial: self.whole(fleet),
            truth: self.setup.truth.clone(),
            faults: self.setup.faults.clone(),
            ..*self.setup
        };
        let target = |class: &str| {
            let slo = self.setup.catalogue.class(class).and_then(|c| c.slo());
            let promised = slo.map_or(1.0, |s| s.promised_share());
            self.settings.target_attainment.min(promised)
        };
        run(&setup, &mut StaticFleet::default()).is_ok_and(|result| {
            let own = result.classes.iter().filter(|c| c.model == self.model);
            own.into_iter().all(|c| c.attainment >= target(&c.class))
        })
    }
}

/// The requests of some streams.
struct OfModel<'a> {
    all: &'a dyn RequestSource,
    keep: Vec<bool>,
}

impl RequestSource for OfModel<'_> {
    fn streams(&self) -> &[Stream] {
        self.all.streams()
    }

    fn requests(&self, seed: u64) -> Box<dyn Iterator<Item = Request> + '_> {
        let own = |r: &Request| self.keep.get(r.stream as usize) == Some(&true);
        Box::new(self.all.requests(seed).filter(own))
    }
}

/// Arrivals of the busiest five minutes over the mean.
fn peak_to_mean(source: &dyn RequestSource, seed: u64, seconds: f64) -> f64 {
    const WINDOW: f64 = 300.0;
    let mut counts: BTreeMap<u64, f64> = BTreeMap::new();
    let mut total = 0.0;
    for request in source
        .requests(seed)
        .take_while(|r| r.at.seconds() < seconds)
    {
        *counts
            .entry((request.at.seconds() / WINDOW) as u64)
            .or_default() += 1.0;
        total += 1.0;
    }
    let most = counts.values().copied().fold(0.0, f64::max);
    if total > 0.0 {
        (most * (seconds / WINDOW) / total).max(1.0)
    } else {
        1.0
    }
}
