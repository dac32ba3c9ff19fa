//! What the controller says, as far as it concerns these endpoints.

use std::collections::{BTreeMap, HashMap, HashSet};

use wva_epp_core::paths::Path;
use wva_epp_core::predict::{VariantModel, feasible_concurrency};
use wva_models::batching::ContinuousBatching;
use wva_models::capacity::Conditions;
use wva_models::exchange::{Fit, Fits, Traffic};
use wva_models::iteration::ReplicaModel;
use wva_models::latency::Arrivals;
use wva_models::service_class::{Slo, Statistic};
use wva_models::shape::RequestShape;
use wva_models::variant::Role;

use crate::discovery::variants::Variants;

/// Tokens of a prompt and an answer of which nothing is known.
const USUAL: (f64, f64) = (1000.0, 200.0);
/// Arrivals that finding a concurrency samples: it is a limit, not a promise.
const SAMPLES: usize = 1024;
/// Relative move of an input beyond which a concurrency is found anew.
const MOVED: f64 = 0.05;

/// What is believed of the endpoints.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beliefs {
    /// Models of variants, by number.
    pub models: BTreeMap<u32, VariantModel>,
    /// Pods that leave, as `namespace/name`.
    pub leaving: HashSet<String>,
    /// Paths that requests take in shares.
    pub paths: Vec<Path>,
    /// Longest start-up of a variant, seconds.
    pub start_up_s: Option<f64>,
}

impl Beliefs {
    /// What `fits` says of pods in `namespace`, or of all; `variants` numbers them, `feasible` remembers what is dear to find.
    #[must_use]
    pub fn of(
        fits: &Fits,
        namespace: Option<&str>,
        variants: &Variants,
        feasible: &mut Feasible,
    ) -> Self {
        let mut beliefs = Self::default();
        for fit in &fits.variants {
            let (own, name) = fit.variant.rsplit_once('/').unwrap_or(("", &fit.variant));
            if namespace.is_some_and(|n| n != own) {
                continue;
            }
            let traffic = fits.traffic.iter().filter(|t| t.model == fit.model);
            let model = model(fit, traffic, feasible);
            // The pod's label names the variant; without one, its owner is the workload.
            for number in variants.numbers_of([name, &fit.workload]) {
                beliefs.models.insert(number, model);
            }
            let sound = Some(fit.start_up_s).filter(|s| s.is_finite() && *s >= 0.0);
            beliefs.start_up_s = beliefs.start_up_s.into_iter().chain(sound).reduce(f64::max);
        }
        beliefs.paths = paths(fits, namespace, variants);
        let here = |space: &str| namespace.is_none_or(|n| n == space);
        let leaving = fits.leaving.iter().filter(|l| here(&l.namespace));
        beliefs.leaving = leaving
            .map(|l| format!("{}/{}", l.namespace, l.pod))
            .collect();
        beliefs
    }
}

/// Shares of all classes together, by their rates.
fn paths(fits: &Fits, namespace: Option<&str>, variants: &Variants) -> Vec<Path> {
    let mut shares: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
    for share in &fits.shares {
        let number = |name: &String| {
            let (own, short) = name.rsplit_once('/').unwrap_or(("", name));
            let fit = fits.variants.iter().find(|f| f.variant == *name)?;
            let here = namespace.is_none_or(|n| n == own);
            let numbers = here.then(|| variants.numbers_of([short, &fit.workload]));
            numbers?.first().copied()
        };
        let path: Option<Vec<u32>> = share.variants.iter().map(number).collect();
        let of = |t: &&Traffic| t.model == share.model && t.class.name == share.class;
        let rate = fits.traffic.iter().find(of).map_or(1.0, |t| t.rate);
        if let Some(path) = path {
            *shares.entry(path).or_default() += share.share * rate;
        }
    }
    let paths = shares.into_iter();
    paths
        .map(|(variants, share)| Path { variants, share })
        .collect()
}

fn model<'a>(
    fit: &Fit,
    traffic: impl Iterator<Item = &'a Traffic>,
    feasible: &mut Feasible,
) -> VariantModel {
    let traffic: Vec<&Traffic> = traffic.collect();
    let rate: f64 = traffic.iter().map(|t| t.rate).sum();
    let mean = |of: fn(&Traffic) -> f64, usual| match rate > 0.0 {
        true => traffic.iter().map(|t| t.rate * of(t)).sum::<f64>() / rate,
        false => traffic.first().map_or(usual, |t| of(t)),
    };
    let (input, output) = (
        mean(|t| t.mean_input_tokens, USUAL.0),
        mean(|t| t.mean_output_tokens, USUAL.1),
    );
    let bounds = traffic.iter().filter_map(|t| t.class.slo());
    VariantModel {
        feasible: feasible.of(fit, input, output, bounds),
        ..VariantModel::new(fit.replica, fit.role, input, output)
    }
}

/// Concurrencies that were found.
#[derive(Debug, Clone, Default)]
pub struct Feasible(HashMap<String, (Vec<f64>, Option<f64>)>);

impl Feasible {
    /// Requests at which a replica just meets the strictest bounds; `None` without bounds, or where none can be met.
    fn of<'a>(
        &mut self,
        fit: &Fit,
        input: f64,
        output: f64,
        bounds: impl Iterator<Item = &'a Slo>,
    ) -> Option<f64> {
        let bounds: Vec<&Slo> = bounds.collect();
        let inputs = inputs(&fit.replica, input, output, &bounds);
        if let Some((known, found)) = self.0.get(&fit.variant)
            && near(known, &inputs)
        {
            return *found;
        }
        let shape = RequestShape::fixed(input.max(1.0), output.max(1.0)).ok();
        let found = shape.and_then(|shape| {
            let each = bounds
                .iter()
                .map(|slo| concurrency(&fit.replica, fit.role, &shape, slo));
            each.flatten().reduce(f64::min)
        });
        self.0.insert(fit.variant.clone(), (inputs, found));
        found
    }
}

fn concurrency(replica: &ReplicaModel, role: Role, shape: &RequestShape, slo: &Slo) -> Option<f64> {
    let model = ContinuousBatching {
        samples: SAMPLES,
        ..ContinuousBatching::new(*replica, role)
    };
    let conditions = Conditions {
        shape,
        arrivals: Arrivals::Dispersion(1.0),
        pool: 1,
        slo,
    };
    feasible_concurrency(&model, &conditions)
}

/// All that a concurrency depends on.
fn inputs(replica: &ReplicaModel, input: f64, output: f64, bounds: &[&Slo]) -> Vec<f64> {
    let (law, limits) = (&replica.law, &replica.limits);
    let mut all: Vec<f64> = law.parameters().map(|(_, value)| value).to_vec();
    all.extend([
        limits.token_budget,
        limits.max_sequences,
        limits.kv_tokens,
        input,
        output,
    ]);
    for slo in bounds {
        for bound in [slo.ttft, slo.itl, slo.e2e] {
            let numbers = bound.map(|b| {
                let share = match b.statistic {
                    Statistic::Mean => 0.0,
                    Statistic::Quantile(q) => q,
                };
                [b.limit.get(), b.per_input_token.get(), share]
            });
            all.extend(numbers.unwrap_or([-1.0; 3]));
        }
    }
    all
}

fn near(before: &[f64], now: &[f64]) -> bool {
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= MOVED * a.abs().max(b.abs());
    before.len() == now.len() && before.iter().zip(now).all(close)
}
