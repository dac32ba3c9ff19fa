//! Which service classes each model has, and what the cluster's own objects add to the catalogue.
//!
//! ```text
//! the class that a variant names ─► else ServiceClass objects of its namespace ─► else classes of an old installation
//!                                    that list the model, then those for all        that list the model
//!                                                                     ─► else the default
//! ```

use std::collections::{BTreeMap, BTreeSet};

use wva_models::accelerator::Accelerator;
use wva_models::catalogue::Catalogue;
use wva_models::service_class::{Bound, Promise, ServiceClass, Slo, Statistic};
use wva_models::units::{DollarsPerHour, Seconds};

use super::Candidate;
use crate::api::imports::ClassImport;
use crate::api::policy::{AcceleratorSpec, BoundSpec, ServiceClassSpec};
use crate::api::variant_autoscaling::{ClassRef, InlineSlo};
use crate::index::config::ConfigFacts;
use crate::index::fleet::{Base, Finding, Fleet, ModelKey};
use crate::index::kinds::Kind;
use crate::index::{Index, Key};

/// Name of the class where nobody stated any.
const BUILT_IN: &str = "default";

/// Everything that defines classes.
pub(super) struct Classes<'a> {
    objects: BTreeMap<&'a Key, &'a ServiceClassSpec>,
    imports: Vec<&'a ClassImport>,
    base: &'a Base,
}

impl<'a> Classes<'a> {
    pub fn new(index: &'a Index, base: &'a Base) -> Self {
        let configs = |kind| index.config.get(&kind).into_iter().flatten();
        let mut imports: Vec<&ClassImport> = configs(Kind::ConfigMap)
            .filter_map(|(_, f)| match f {
                Ok(ConfigFacts::OldClasses(classes)) => Some(&classes.value),
                _ => None,
            })
            .flatten()
            .collect();
        imports.sort_by_key(|c| std::cmp::Reverse(c.priority));
        Self {
            objects: configs(Kind::ServiceClass)
                .filter_map(|(k, f)| match f {
                    Ok(ConfigFacts::Class(spec)) => Some((k, spec)),
                    _ => None,
                })
                .collect(),
            imports,
            base,
        }
    }

    /// Gives every model of the fleet its classes.
    pub fn assign(&self, candidates: &[Candidate<'_>], fleet: &mut Fleet) {
        let mut made: BTreeMap<String, ServiceClass> = BTreeMap::new();
        let mut of_model: BTreeMap<ModelKey, Vec<String>> = BTreeMap::new();
        let mut findings = Vec::new();
        for (candidate, view) in candidates.iter().zip(&fleet.variants) {
            let Some(model) = &view.model else { continue };
            let said = self.said(candidate, model, &mut findings);
            let names = of_model.entry(model.clone()).or_default();
            if let Some(class) = said {
                if !names.contains(&class.name) {
                    names.push(class.name.clone());
                }
                made.insert(class.name.clone(), class);
            }
        }
        for (model, names) in &mut of_model {
            if names.is_empty() {
                let classes =
                    self.fitting(model, fleet.policy.default_class.as_deref(), &mut findings);
                for class in classes {
                    names.push(class.name.clone());
                    made.insert(class.name.clone(), class);
                }
            }
        }
        let distinct: BTreeSet<Finding> = findings.into_iter().collect();
        fleet.findings.extend(distinct);
        fleet.classes = made.into_values().collect();
        fleet.model_classes = of_model;
    }

    /// The class that a variant's own objects name.
    fn said(
        &self,
        candidate: &Candidate<'_>,
        model: &ModelKey,
        findings: &mut Vec<Finding>,
    ) -> Option<ServiceClass> {
        if let Some(name) = candidate.intent().class {
            let found = self.named(&name, model, findings);
            if found.is_none() {
                findings.push(Finding {
                    subject: format!("model {model}"),
                    code: "UnknownClass",
                    text: format!("no service class is called `{name}`; the default counts"),
                });
            }
            return found;
        }
        let spec = &candidate.autoscaling?.1.spec;
        if let Some(slo) = &spec.slo {
            return inline(model, slo);
        }
        self.referenced(spec.slo_class_ref.as_ref()?, model)
    }

    fn named(
        &self,
        name: &str,
        model: &ModelKey,
        findings: &mut Vec<Finding>,
    ) -> Option<ServiceClass> {
        let key = Key::new(&model.namespace, name);
        if let Some(spec) = self.objects.get(&key) {
            return understood(&key, spec, findings);
        }
        let imported = self
            .imports
            .iter()
            .find(|c| c.name.eq_ignore_ascii_case(name));
        let imported = imported.and_then(|c| imported_class(c, &model.id));
        imported.or_else(|| self.base.catalogue.class(name).cloned())
    }

    /// The class that an old object refers to: by name, or by the model that its key names.
    fn referenced(&self, reference: &ClassRef, model: &ModelKey) -> Option<ServiceClass> {
        let named = |c: &&&ClassImport| {
            c.name.eq_ignore_ascii_case(&reference.name)
                || reference.key.eq_ignore_ascii_case(&c.name)
                || reference
                    .key
                    .strip_suffix(".yaml")
                    .is_some_and(|k| k.eq_ignore_ascii_case(&c.name))
        };
        let class = self.imports.iter().find(named)?;
        imported_class(class, &model.id).or_else(|| imported_class(class, &reference.key))
    }

    /// Classes of a model that names none.
    fn fitting(
        &self,
        model: &ModelKey,
        default: Option<&str>,
        findings: &mut Vec<Finding>,
    ) -> Vec<ServiceClass> {
        let here = |models: bool| {
            self.objects.iter().filter(move |(k, s)| {
                k.namespace == model.namespace
                    && if models {
                        s.models.contains(&model.id)
                    } else {
                        s.models.is_empty()
                    }
            })
        };
        let mut objects: Vec<_> = here(true).collect();
        if objects.is_empty() {
            objects = here(false).collect();
        }
        objects.sort_by_key(|(k, s)| (std::cmp::Reverse(s.priority), Key::clone(k)));
        let mut classes: Vec<ServiceClass> = objects
            .into_iter()
            .filter_map(|(k, s)| understood(k, s, findings))
            .collect();
        if classes.is_empty() {
            classes.extend(
                self.imports
                    .iter()
                    .find_map(|c| imported_class(c, &model.id)),
            );
        }
        if classes.is_empty() {
            let named = default.or(self.base.default_class.as_deref());
            let named = named.and_then(|name| self.named(name, model, findings));
            let first = || self.base.catalogue.classes.first().cloned();
            classes.push(named.or_else(first).unwrap_or_else(built_in));
        }
        classes
    }
}

fn understood(
    key: &Key,
    spec: &ServiceClassSpec,
    findings: &mut Vec<Finding>,
) -> Option<ServiceClass> {
    match class_of(key, spec) {
        Ok(class) => Some(class),
        Err(text) => {
            findings.push(Finding {
                subject: format!("ServiceClass {key}"),
                code: "Unreadable",
                text: format!("is ignored: {text}"),
            });
            None
        }
    }
}

fn class_of(key: &Key, spec: &ServiceClassSpec) -> Result<ServiceClass, String> {
    let slo = Slo {
        ttft: bound("ttftMs", spec.ttft_ms)?,
        itl: bound("itlMs", spec.itl_ms)?,
        e2e: bound("e2eMs", spec.e2e_ms)?,
    };
    let promise = match spec.deadline_seconds {
        None => Promise::Interactive(slo),
        Some(_) if slo != Slo::default() => {
            return Err("it has a deadline and latency bounds; remove one of them".into());
        }
        Some(deadline) => Promise::Batch {
            deadline: Seconds::new(deadline)
                .ok()
                .filter(|d| d.get() > 0.0)
                .ok_or("deadlineSeconds must be above 0")?,
        },
    };
    Ok(ServiceClass {
        name: format!("{}@{}", key.name, key.namespace),
        priority: spec.priority,
        promise,
    })
}

fn bound(name: &str, spec: Option<BoundSpec>) -> Result<Option<Bound>, String> {
    let Some(spec) = spec else { return Ok(None) };
    let stated = [
        (spec.mean, Statistic::Mean),
        (spec.p50, Statistic::Quantile(0.5)),
        (spec.p90, Statistic::Quantile(0.9)),
        (spec.p95, Statistic::Quantile(0.95)),
        (spec.p99, Statistic::Quantile(0.99)),
    ];
    let mut stated = stated.into_iter().filter_map(|(v, s)| Some((v?, s)));
    let (Some((limit, statistic)), None) = (stated.next(), stated.next()) else {
        return Err(format!(
            "{name} needs exactly one of mean, p50, p90, p95, p99"
        ));
    };
    let positive = |v: f64, unit: f64| {
        let seconds = Seconds::new(v / unit).ok().filter(|_| v > 0.0);
        seconds.ok_or(format!("{name} must be milliseconds above 0, not {v}"))
    };
    Ok(Some(Bound {
        statistic,
        limit: positive(limit, 1e3)?,
        per_input_token: spec
            .per_1k_input_tokens
            .map_or(Ok(Seconds::ZERO), |v| positive(v, 1e6))?,
    }))
}

fn mean_ms(milliseconds: f64) -> Option<Bound> {
    let limit = Seconds::new(milliseconds / 1e3)
        .ok()
        .filter(|s| s.get() > 0.0)?;
    Some(Bound {
        statistic: Statistic::Mean,
        limit,
        per_input_token: Seconds::ZERO,
    })
}

/// A class of an old installation as it is for one model; the name says so, since each model had bounds of its own.
fn imported_class(class: &ClassImport, model: &str) -> Option<ServiceClass> {
    let objective = class.models.iter().find(|m| m.model == model)?;
    Some(ServiceClass {
        name: slashless(&format!("{} for {model}", class.name)),
        priority: class.priority,
        promise: Promise::Interactive(Slo {
            ttft: mean_ms(objective.ttft_ms),
            itl: mean_ms(objective.tpot_ms),
            e2e: None,
        }),
    })
}

/// Names of classes have no slash: keys of streams are taken apart at the last one.
fn slashless(name: &str) -> String {
    name.replace('/', "|")
}

fn inline(model: &ModelKey, slo: &InlineSlo) -> Option<ServiceClass> {
    let slo = Slo {
        ttft: slo.max_ttft.and_then(|ms| mean_ms(f64::from(ms))),
        itl: slo.max_itl.and_then(|ms| mean_ms(f64::from(ms))),
        e2e: None,
    };
    (slo != Slo::default()).then(|| ServiceClass {
        name: slashless(&format!("own class of {model}")),
        priority: 0,
        promise: Promise::Interactive(slo),
    })
}

/// What users of a chat service notice: a first token within 2 s plus 0.3 s per thousand tokens of prompt, and text that
/// comes no slower than ten tokens a second, for 95 of 100 requests.
fn built_in() -> ServiceClass {
    let ms = |limit: f64, per_1k: f64| Bound {
        statistic: Statistic::Quantile(0.95),
        limit: Seconds::new(limit / 1e3).expect("a positive constant"),
        per_input_token: Seconds::new(per_1k / 1e6).expect("a positive constant"),
    };
    ServiceClass {
        name: BUILT_IN.into(),
        priority: 0,
        promise: Promise::Interactive(Slo {
            ttft: Some(ms(2000.0, 300.0)),
            itl: Some(ms(100.0, 0.0)),
            e2e: None,
        }),
    }
}

/// Puts an `Accelerator` object on top of the catalogue.
pub(super) fn merge_accelerator(
    catalogue: &mut Catalogue,
    object: &str,
    spec: &AcceleratorSpec,
) -> Result<(), String> {
    let name = spec.name.as_deref().unwrap_or(object);
    let known = catalogue.accelerator(name).cloned();
    let positive = |field: &str, stated: Option<f64>, base: Option<f64>| match stated.or(base) {
        Some(v) if v.is_finite() && v > 0.0 && v <= 1e9 => Ok(v),
        Some(v) => Err(format!("is ignored: {field} must be above 0, not {v}")),
        None => Err(format!(
            "is ignored: it is not built in, so it needs {field}"
        )),
    };
    let optional = |stated: Option<f64>, base: Option<f64>| {
        stated.filter(|v| v.is_finite() && *v > 0.0).or(base)
    };
    let base = known.as_ref();
    let price = match spec.price_per_hour_usd {
        Some(price) => Some(DollarsPerHour::new(price).map_err(|e| format!("is ignored: {e}"))?),
        None => base.and_then(|b| b.price_per_hour_usd),
    };
    let mut aliases = base.map(|b| b.aliases.clone()).unwrap_or_default();
    aliases.extend(spec.aliases.iter().cloned());
    let made = Accelerator {
        name: base.map_or_else(|| name.to_owned(), |b| b.name.clone()),
        aliases,
        memory_gb: positive("memoryGb", spec.memory_gb, base.map(|b| b.memory_gb))?,
        bandwidth_tb_s: positive(
            "bandwidthTBs",
            spec.bandwidth_tb_s,
            base.map(|b| b.bandwidth_tb_s),
        )?,
        bf16_tflops: positive("bf16Tflops", spec.bf16_tflops, base.map(|b| b.bf16_tflops))?,
        fp8_tflops: optional(spec.fp8_tflops, base.and_then(|b| b.fp8_tflops)),
        power_w: optional(spec.power_w, base.and_then(|b| b.power_w)),
        link_gb_s: base.and_then(|b| b.link_gb_s),
        price_per_hour_usd: price,
        source: base.map_or_else(|| format!("Accelerator {object}"), |b| b.source.clone()),
    };
    match catalogue
        .accelerators
        .iter_mut()
        .find(|a| a.name == made.name)
    {
        Some(slot) => *slot = made,
        None => catalogue.accelerators.push(made),
    }
    Ok(())
}
