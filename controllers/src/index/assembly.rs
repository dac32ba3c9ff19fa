//! From facts to the fleet: which variants there are, and everything that was said about each.

mod classes;
mod routers;
mod variant;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wva_models::catalogue::Catalogue;
use wva_models::units::DollarsPerHour;

use super::config::ConfigFacts;
use super::fleet::{Base, Finding, Fleet, VariantView, Way};
use super::intent::Intent;
use super::kinds::Kind;
use super::ownership::Scaler;
use super::pod::PodFacts;
use super::scaler::AutoscalingFacts;
use super::stock::Claims;
use super::workload::WorkloadFacts;
use super::{Index, Key};
use classes::Classes;

/// A scale target: namespace, kind, name.
type Target = (String, String, String);

/// Relations between objects, worked out once per assembly.
pub(super) struct Relations<'a> {
    scalers: HashMap<Target, Vec<Scaler<'a>>>,
    autoscalings: HashMap<Target, Vec<&'a Key>>,
    pods: HashMap<(Kind, &'a Key), Vec<(&'a Key, &'a PodFacts)>>,
}

/// What is to become a variant.
pub(super) struct Candidate<'a> {
    name: String,
    namespace: &'a str,
    way: Way,
    /// Kind and name of the target.
    target: (String, String),
    /// The object that was opted in, if it is not the workload.
    autoscaling: Option<(&'a Key, &'a AutoscalingFacts)>,
    scalers: Vec<Scaler<'a>>,
    workload: Option<(Kind, &'a Key, &'a WorkloadFacts)>,
    pool_port: Option<u16>,
}

impl Index {
    /// The fleet that the objects describe.
    #[must_use]
    pub fn fleet(&self, base: &Base) -> Fleet {
        let mut findings = self.unreadable();
        let mut catalogue = base.catalogue.clone();
        self.price(&mut catalogue, &mut findings);
        let policy = self.policy(&mut findings);
        let relations = self.relations();
        let candidates = self.candidates(base, &relations, &mut findings);
        let mut slices = BTreeMap::new();
        let variants: Vec<VariantView> = candidates
            .iter()
            .map(|c| self.variant(c, base, &catalogue, &relations, &mut slices))
            .collect();
        for slice in slices.into_values() {
            if catalogue.accelerator(&slice.name).is_none() {
                catalogue.accelerators.push(slice);
            }
        }
        let claims = Claims::of(&variants, self);
        let mut stock = self.stock(&catalogue, self.stock_source(base), &claims);
        limit_stock(
            &mut stock,
            &catalogue,
            &self.stated_stock(&catalogue, &policy),
        );
        let quotas = self.quotas(&claims);
        let mut fleet = Fleet {
            variants,
            accelerators: catalogue.accelerators.clone(),
            stock,
            quotas,
            routers: self.routers(),
            policy,
            findings,
            ..Fleet::default()
        };
        Classes::new(self, base).assign(&candidates, &mut fleet);
        fleet.findings.sort();
        fleet
    }

    /// One finding per object that cannot be read, and per unreadable part of configuration.
    fn unreadable(&self) -> Vec<Finding> {
        let mut out = Vec::new();
        let mut note = |kind: Kind, key: &Key, why: &str| {
            out.push(Finding {
                subject: format!("{} {key}", kind.names().1),
                code: "Unreadable",
                text: format!("is ignored: {why}"),
            });
        };
        fn bad<T>(facts: &super::Facts<T>) -> impl Iterator<Item = (&Key, &String)> {
            facts
                .iter()
                .filter_map(|(k, f)| Some((k, f.as_ref().err()?)))
        }
        bad(&self.autoscalings).for_each(|(k, w)| note(Kind::VariantAutoscaling, k, w));
        bad(&self.pods).for_each(|(k, w)| note(Kind::Pod, k, w));
        bad(&self.nodes).for_each(|(k, w)| note(Kind::Node, k, w));
        for (kind, facts) in &self.scalers {
            bad(facts).for_each(|(k, w)| note(*kind, k, w));
        }
        for (kind, facts) in &self.workloads {
            bad(facts).for_each(|(k, w)| note(*kind, k, w));
        }
        for (kind, facts) in &self.pools {
            bad(facts).for_each(|(k, w)| note(*kind, k, w));
        }
        for (kind, facts) in &self.config {
            bad(facts).for_each(|(k, w)| note(*kind, k, w));
            for (key, read) in facts
                .iter()
                .filter_map(|(k, f)| Some((k, f.as_ref().ok()?)))
            {
                read.problems().iter().for_each(|w| note(*kind, key, w));
            }
        }
        out
    }

    fn relations(&self) -> Relations<'_> {
        let mut relations = Relations {
            scalers: HashMap::new(),
            autoscalings: HashMap::new(),
            pods: HashMap::new(),
        };
        for (&kind, facts) in &self.scalers {
            for (key, facts) in facts
                .iter()
                .filter_map(|(k, f)| Some((k, f.as_ref().ok()?)))
            {
                if !facts.generated {
                    let target = target_of(key, &facts.target);
                    let scaler = Scaler { kind, key, facts };
                    relations.scalers.entry(target).or_default().push(scaler);
                }
            }
        }
        for (key, facts) in self.readable_autoscalings() {
            if !facts.intent.excluded {
                let target = target_of(key, &facts.target(&key.name));
                relations.autoscalings.entry(target).or_default().push(key);
            }
        }
        for (key, facts) in self
            .pods
            .iter()
            .filter_map(|(k, f)| Some((k, f.as_ref().ok()?)))
        {
            if let Some((kind, workload)) = &facts.workload
                && !facts.follower
            {
                relations
                    .pods
                    .entry((*kind, workload))
                    .or_default()
                    .push((key, facts));
            }
        }
        relations
    }

    fn readable_autoscalings(&self) -> impl Iterator<Item = (&Key, &AutoscalingFacts)> {
        self.autoscalings
            .iter()
            .filter_map(|(k, f)| Some((k, f.as_ref().ok()?)))
    }

    /// Everything that is to become a variant, sorted by namespace and name; a name that is taken is a finding.
    fn candidates<'a>(
        &'a self,
        base: &Base,
        relations: &Relations<'a>,
        findings: &mut Vec<Finding>,
    ) -> Vec<Candidate<'a>> {
        let mut found: BTreeMap<Key, Candidate<'a>> = BTreeMap::new();
        let mut covered: BTreeSet<Target> = BTreeSet::new();
        let all = self.by_autoscaling(relations);
        let all = all.into_iter().chain(self.by_scaler(relations));
        for candidate in all.chain(self.by_workload(relations)) {
            let target = (
                candidate.namespace.to_owned(),
                candidate.target.0.clone(),
                candidate.target.1.clone(),
            );
            let first = !covered.contains(&target) || candidate.autoscaling.is_some();
            if !first || !self.concerns(base, &candidate) {
                continue;
            }
            covered.insert(target);
            let key = Key::new(candidate.namespace, &candidate.name);
            if found.contains_key(&key) {
                findings.push(Finding {
                    subject: format!("{} {key}", candidate.target.0),
                    code: "NameTaken",
                    text: format!(
                        "is ignored: another variant is called {key}; label it {}",
                        crate::api::keys::VARIANT
                    ),
                });
                continue;
            }
            found.insert(key, candidate);
        }
        found.into_values().collect()
    }

    fn by_autoscaling<'a>(&'a self, relations: &Relations<'a>) -> Vec<Candidate<'a>> {
        let make = |(key, facts): (&'a Key, &'a AutoscalingFacts)| {
            let mut candidate = self.candidate(key, facts.target(&key.name), relations, None);
            candidate.name.clone_from(&key.name);
            candidate.way = Way::Autoscaling {
                generation: facts.generation,
                version: facts.version.clone(),
                status: Box::new(facts.status.clone()),
            };
            candidate.autoscaling = Some((key, facts));
            candidate
        };
        self.readable_autoscalings().map(make).collect()
    }

    fn by_scaler<'a>(&'a self, relations: &Relations<'a>) -> Vec<Candidate<'a>> {
        let mut out = Vec::new();
        for (&kind, facts) in &self.scalers {
            for (key, facts) in facts
                .iter()
                .filter_map(|(k, f)| Some((k, f.as_ref().ok()?)))
            {
                if facts.intent.managed && !facts.generated {
                    let named = facts.intent.variant.as_deref();
                    let mut candidate = self.candidate(key, facts.target.clone(), relations, named);
                    candidate.way = if kind == Kind::ScaledObject {
                        Way::ScaledObject
                    } else {
                        Way::Hpa
                    };
                    out.push(candidate);
                }
            }
        }
        out
    }

    fn by_workload<'a>(&'a self, relations: &Relations<'a>) -> Vec<Candidate<'a>> {
        let mut out = Vec::new();
        for (&kind, facts) in &self.workloads {
            for (key, facts) in facts
                .iter()
                .filter_map(|(k, f)| Some((k, f.as_ref().ok()?)))
            {
                let pool = self.pool_of(&key.namespace, facts);
                let way = match (&pool, facts.intent.managed) {
                    (_, true) => Way::Workload,
                    (Some((pool, _)), false) => Way::Discovered {
                        pool: pool.name.clone(),
                    },
                    (None, false) => continue,
                };
                let target = (kind.names().1.to_owned(), key.name.clone());
                let named = facts.intent.variant.as_deref();
                let mut candidate = self.candidate(key, target, relations, named);
                candidate.way = way;
                out.push(candidate);
            }
        }
        out
    }

    fn candidate<'a>(
        &'a self,
        key: &'a Key,
        target: (String, String),
        relations: &Relations<'a>,
        named: Option<&str>,
    ) -> Candidate<'a> {
        let kind = Kind::of_target(&target.0);
        let workload = kind.and_then(|kind| {
            let wanted = Key::new(&key.namespace, &target.1);
            let (key, facts) = self.workloads.get(&kind)?.get_key_value(&wanted)?;
            Some((kind, key, facts.as_ref().ok()?))
        });
        let scalers = relations.scalers.get(&target_of(key, &target));
        let pool = workload.and_then(|(_, k, w)| self.pool_of(&k.namespace, w));
        Candidate {
            name: named.unwrap_or(&target.1).to_owned(),
            namespace: &key.namespace,
            way: Way::Workload,
            target,
            autoscaling: None,
            scalers: scalers.cloned().unwrap_or_default(),
            workload,
            pool_port: pool.and_then(|(_, port)| port),
        }
    }

    /// The pool that selects a workload's pods, and its port.
    fn pool_of(&self, namespace: &str, facts: &WorkloadFacts) -> Option<(&Key, Option<u16>)> {
        let from = Key::new(namespace, "");
        let of_kind = |pools: &'_ super::Facts<super::workload::PoolFacts>| {
            pools
                .range(from.clone()..)
                .take_while(|(k, _)| k.namespace == namespace)
                .filter_map(|(k, p)| Some((k.clone(), p.as_ref().ok()?.clone())))
                .find(|(_, p)| p.selects(&facts.pod_labels))
                .map(|(k, p)| (k, p.port))
        };
        let (key, port) = self.pools.values().find_map(of_kind)?;
        let (key, _) = self.pools.values().find_map(|p| p.get_key_value(&key))?;
        Some((key, port))
    }

    /// Whether a candidate is this installation's to look at.
    fn concerns(&self, base: &Base, candidate: &Candidate<'_>) -> bool {
        let intent = candidate.intent();
        let namespace = self
            .config
            .get(&Kind::Namespace)
            .and_then(|n| n.get(&Key::new("", candidate.namespace)));
        let left_alone = matches!(namespace, Some(Ok(ConfigFacts::Namespace(n))) if n.excluded);
        let other = base.instance.is_some() && intent.instance != base.instance;
        !(left_alone || intent.excluded || other)
    }

    /// Prices and devices that the cluster states, on top of the file's.
    fn price(&self, catalogue: &mut Catalogue, findings: &mut Vec<Finding>) {
        let configs = |kind| self.config.get(&kind).into_iter().flatten();
        for (_, facts) in configs(Kind::ConfigMap) {
            if let Ok(ConfigFacts::OldCosts(costs)) = facts {
                for cost in &costs.value {
                    let by_device = cost
                        .device
                        .as_deref()
                        .and_then(|d| catalogue.accelerator(d));
                    let found = catalogue.accelerator(&cost.name).or(by_device);
                    if let Some(name) = found.map(|a| a.name.clone()) {
                        set_price(catalogue, &name, Some(cost.price_per_hour_usd));
                    }
                }
            }
        }
        for (key, facts) in configs(Kind::Accelerator) {
            if let Ok(ConfigFacts::Accelerator(spec)) = facts
                && let Err(text) = classes::merge_accelerator(catalogue, &key.name, spec)
            {
                findings.push(Finding {
                    subject: format!("Accelerator {key}"),
                    code: "Unreadable",
                    text,
                });
            }
        }
    }

    fn policy(&self, findings: &mut Vec<Finding>) -> crate::api::policy::FleetPolicySpec {
        let mut policy = crate::api::policy::FleetPolicySpec::default();
        for (key, facts) in self.config.get(&Kind::FleetPolicy).into_iter().flatten() {
            match facts {
                Ok(ConfigFacts::Policy(spec)) if key.name == "default" => policy = spec.clone(),
                Ok(_) => findings.push(Finding {
                    subject: format!("FleetPolicy {key}"),
                    code: "Ignored",
                    text: "is ignored: the policy named `default` counts".into(),
                }),
                Err(_) => {}
            }
        }
        policy
    }

    fn stock_source(&self, base: &Base) -> super::fleet::StockSource {
        let limited = self
            .config
            .get(&Kind::ConfigMap)
            .into_iter()
            .flatten()
            .any(|(_, f)| matches!(f, Ok(ConfigFacts::OldLimiter(l)) if l.value));
        if limited {
            super::fleet::StockSource::Nodes
        } else {
            base.stock
        }
    }

    /// Stock that people state: the file's, the policy's, the accelerators'.
    fn stated_stock(
        &self,
        catalogue: &Catalogue,
        policy: &crate::api::policy::FleetPolicySpec,
    ) -> Vec<(String, u32)> {
        let mut stated: Vec<(String, u32)> = catalogue
            .stock
            .iter()
            .map(|(k, v)| (k.clone(), *v))
            .collect();
        stated.extend(policy.stock.iter().map(|(k, v)| (k.clone(), *v)));
        for (key, facts) in self.config.get(&Kind::Accelerator).into_iter().flatten() {
            if let Ok(ConfigFacts::Accelerator(spec)) = facts
                && let Some(stock) = spec.stock
            {
                stated.push((spec.name.clone().unwrap_or_else(|| key.name.clone()), stock));
            }
        }
        stated
    }
}

impl Candidate<'_> {
    /// What the objects of this variant say, the most specific first.
    pub(super) fn intent(&self) -> Intent {
        let mut intent = self
            .autoscaling
            .map(|(_, a)| a.intent.clone())
            .unwrap_or_default();
        for scaler in &self.scalers {
            intent = intent.or(&scaler.facts.intent);
        }
        match self.workload {
            Some((_, _, workload)) => intent.or(&workload.intent),
            None => intent,
        }
    }
}

fn target_of(key: &Key, target: &(String, String)) -> Target {
    (key.namespace.clone(), target.0.clone(), target.1.clone())
}

fn set_price(catalogue: &mut Catalogue, name: &str, price: Option<f64>) {
    if let Some(accelerator) = catalogue.accelerators.iter_mut().find(|a| a.name == name)
        && let Some(price) = price.and_then(|p| DollarsPerHour::new(p).ok())
    {
        accelerator.price_per_hour_usd = Some(price);
    }
}

fn limit_stock(stock: &mut BTreeMap<String, u32>, catalogue: &Catalogue, stated: &[(String, u32)]) {
    for (name, count) in stated {
        if let Some(accelerator) = catalogue.accelerator(name) {
            stock
                .entry(accelerator.name.clone())
                .and_modify(|n| *n = (*n).min(*count))
                .or_insert(*count);
        }
    }
}
