//! A scenario's policies, each ready to be run: the same requests, the same truth, and the fleet that each would have
//! started with.
//!
//! | policy | starts with |
//! |---|---|
//! | `wva` | the fleet planned for the first minutes' traffic |
//! | `static` | the cheapest fleet that attains, found by simulating the whole run |
//! | `hpa-queue`, `keda-slo` | for each model the cheapest variant, as many replicas as the first minutes need |
//!
//! A scenario that gives its own initial fleet has it for all but `static`, and not for batch work that is kept apart. Runs
//! do not share anything that changes, so callers may run them side by side.

mod separate;

use wva_models::catalogue::Catalogue;
use wva_models::iteration::ReplicaModel;
use wva_optimizer::planner::{
    CapacityTable, PlanInput, PlannerSettings, VariantBelief, Workload, plan,
};
use wva_optimizer::problem::ProblemError;

use crate::policy::Policy;
use crate::policy::deployment::{Deployment, deployments};
use crate::policy::hpa_queue::HpaQueue;
use crate::policy::keda_slo::KedaSlo;
use crate::policy::static_fleet::{StaticFleet, cheapest};
use crate::policy::wva::{Sink, Wva};
use crate::result::RunResult;
use crate::run::{Options, Setup, SetupError, run};
use crate::scenario::{PolicyChoice, PolicySettings, Scenario};
use crate::workload::statistics::StreamDemand;
use separate::Parts;

/// The first traffic, which opening fleets are sized for, seconds.
const OPENING_S: f64 = 600.0;

/// Why policies cannot be compared on a scenario.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ComparisonError {
    /// No opening fleet can be planned.
    #[error("no fleet can be planned for the start: {0}")]
    Opening(#[from] ProblemError),
    /// The scenario contradicts itself.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// A scenario with what all its policies share.
pub struct Comparison<'a> {
    scenario: &'a Scenario,
    truth: Vec<ReplicaModel>,
    planned: Vec<u32>,
    deployments: Vec<Deployment>,
}

impl<'a> Comparison<'a> {
    /// Sizes the opening fleets.
    ///
    /// # Errors
    /// [`ComparisonError::Opening`] when the scenario's limits contradict each other.
    pub fn new(scenario: &'a Scenario) -> Result<Self, ComparisonError> {
        let opening = scenario.demand(OPENING_S);
        let whole = scenario.demand(f64::INFINITY);
        let priors = priors(scenario);
        let mut deployments = deployments(&scenario.catalogue, &priors, &whole);
        for deployment in &mut deployments {
            // Chosen for the whole run, opened for its start.
            let rate = |d: &[StreamDemand]| -> f64 {
                d.iter()
                    .filter(|d| d.model == deployment.model)
                    .map(|d| d.rate)
                    .sum()
            };
            let start = rate(&opening) / rate(&whole);
            deployment.targets.iter_mut().for_each(|t| t.load *= start);
        }
        let planned = match &scenario.fleet.initial {
            Some(given) => given.clone(),
            None => opening_fleet(&scenario.catalogue, opening)?,
        };
        Ok(Self {
            scenario,
            truth: scenario.truth(),
            planned,
            deployments,
        })
    }

    /// Runs a policy. `sink` receives the bundle of the `wva` policy's cycles; others have none. Of a policy that keeps batch
    /// work apart, it is the fleet of the interactive classes that is recorded.
    ///
    /// # Errors
    /// [`ComparisonError::Setup`] when the scenario contradicts itself.
    pub fn run(
        &self,
        choice: &PolicyChoice,
        sink: Option<Sink>,
    ) -> Result<RunResult, ComparisonError> {
        if choice.separate_batch
            && let Some(parts) = Parts::of(self.scenario)
        {
            return parts.run(choice, sink);
        }
        let given = self.scenario.fleet.initial.clone();
        let deployed = || given.clone().unwrap_or_else(|| self.deployed());
        let (initial, mut policy): (Vec<u32>, Box<dyn Policy>) = match &choice.policy {
            PolicySettings::Wva(settings) => (
                self.planned.clone(),
                Box::new(Wva::new(choice.name(), (**settings).clone(), sink)),
            ),
            PolicySettings::Static(settings) => (
                cheapest(&self.setup(self.planned.clone()), settings)?.replicas,
                Box::new(StaticFleet::default()),
            ),
            PolicySettings::HpaQueue(settings) => (
                deployed(),
                Box::new(HpaQueue::new(*settings, self.deployments.clone())),
            ),
            PolicySettings::KedaSlo(settings) => (
                deployed(),
                Box::new(KedaSlo::new(*settings, self.deployments.clone())),
            ),
        };
        let result = run(&self.setup(initial), policy.as_mut())?;
        Ok(RunResult {
            policy: choice.name().to_owned(),
            ..result
        })
    }

    fn setup(&self, initial: Vec<u32>) -> Setup<'_> {
        let scenario = self.scenario;
        Setup {
            catalogue: &scenario.catalogue,
            truth: self.truth.clone(),
            source: &scenario.workload,
            duration_s: scenario.workload.end(),
            initial,
            scrape_interval_s: scenario.fleet.scrape_interval_s,
            start_up_cv: scenario.fleet.start_up_cv,
            faults: scenario.faults.clone(),
            seed: scenario.seed,
            options: Options {
                router: scenario.router,
                ..Options::default()
            },
        }
    }

    /// The opening fleet of the one-variant autoscalers.
    fn deployed(&self) -> Vec<u32> {
        let variants = self.scenario.catalogue.variants.iter();
        let mut fleet: Vec<u32> = variants.map(|v| v.min_replicas).collect();
        for target in self.deployments.iter().flat_map(|d| &d.targets) {
            fleet[target.variant] = target.opening();
        }
        fleet
    }
}

fn priors(scenario: &Scenario) -> Vec<ReplicaModel> {
    let catalogue = &scenario.catalogue;
    catalogue
        .variants
        .iter()
        .map(|v| catalogue.replica_model(v))
        .collect()
}

/// The cheapest fleet for a demand, by what the catalogue believes: replicas in its order of variants.
///
/// # Errors
/// [`ProblemError`] when the catalogue's limits contradict each other.
pub fn opening_fleet(
    catalogue: &Catalogue,
    demand: Vec<StreamDemand>,
) -> Result<Vec<u32>, ProblemError> {
    let belief = |v| VariantBelief::on_paper(catalogue.replica_model(v));
    let workload = |d: StreamDemand| Workload {
        model: d.model,
        class: d.class,
        bucket: 0,
        rate: d.rate,
        shape: d.shape,
        dispersion: 1.0,
        capacity_factor: 1.0,
        doubt: 1.0,
    };
    let input = PlanInput {
        catalogue,
        beliefs: catalogue.variants.iter().map(belief).collect(),
        workloads: demand.into_iter().map(workload).collect(),
        stock: catalogue.stock.clone(),
        quotas: Default::default(),
        settings: PlannerSettings::default(),
    };
    Ok(plan(&input, &mut CapacityTable::default())?.plan.replicas)
}
