//! The variants that a one-variant autoscaler scales, what it asked for, and what becomes of the others.

use std::collections::BTreeMap;

use wva_optimizer::snapshot::{Snapshot, VariantSample};

use super::deployment::{Deployment, Target};
use super::{Intent, World};

/// Deployments with the replicas asked for.
#[derive(Debug, Clone)]
pub(super) struct Scaled {
    /// What is scaled, a model each.
    pub deployments: Vec<Deployment>,
    /// Replicas asked for, per target in order.
    desired: Vec<u32>,
    /// Variants that nobody scales: name, model, fewest replicas.
    others: Vec<(String, String, u32)>,
}

impl Scaled {
    pub fn new(deployments: Vec<Deployment>) -> Self {
        let targets = deployments.iter().flat_map(|d| &d.targets);
        Self {
            desired: targets.map(Target::opening).collect(),
            others: Vec::new(),
            deployments,
        }
    }

    /// Takes over the fleet as it is at the start; a target without any replica is asked for its opening ones.
    pub fn begin(&mut self, world: &World<'_>) {
        let targets = self.deployments.iter().flat_map(|d| &d.targets);
        for (desired, target) in self.desired.iter_mut().zip(targets) {
            *desired = match world.initial.get(target.variant) {
                Some(&ready) if ready > 0 => ready.clamp(target.min, target.max),
                _ => target.opening(),
            };
        }
        let scaled = |name: &str| self.targets().any(|t| t.name == name);
        let others = world.catalogue.variants.iter().filter(|v| !scaled(&v.name));
        self.others = others
            .map(|v| (v.name.clone(), v.model.clone(), v.min_replicas))
            .collect();
    }

    /// All targets, in order.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.deployments.iter().flat_map(|d| &d.targets)
    }

    /// One cycle: `next` says, from a target, its sample and what was asked for, what to ask for now.
    pub fn cycle(
        &mut self,
        snapshot: &Snapshot,
        mut next: impl FnMut(usize, &Deployment, &Target, &VariantSample, u32) -> u32,
    ) -> Intent {
        let mut replicas = BTreeMap::new();
        let mut i = 0;
        for deployment in &self.deployments {
            for target in &deployment.targets {
                if let Some(sample) = sample_of(snapshot, &target.name) {
                    self.desired[i] = next(i, deployment, target, sample, self.desired[i]);
                }
                replicas.insert(target.name.clone(), self.desired[i]);
                i += 1;
            }
        }
        for (name, model, min) in &self.others {
            if self.stands(model, snapshot) {
                replicas.insert(name.clone(), *min);
            }
        }
        Intent {
            replicas,
            ..Intent::default()
        }
    }

    /// Whether what is scaled for a model is there: only then its other variants may go.
    fn stands(&self, model: &str, snapshot: &Snapshot) -> bool {
        let own = self.deployments.iter().filter(|d| d.model == model);
        own.flat_map(|d| &d.targets).all(|t| {
            sample_of(snapshot, &t.name).is_some_and(|s| s.ready >= t.opening().min(s.desired))
        })
    }
}

fn sample_of<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a VariantSample> {
    snapshot.variants.iter().find(|v| v.name == name)
}
