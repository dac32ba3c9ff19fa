//! The fleet as a catalogue: one model per service (namespace and model id), one variant per scale target.
//!
//! A model id in two namespaces is two services with traffic of their own, so models are renamed to `namespace/id`; their
//! architecture is looked up under the id. Names are compared exactly from here on.

use std::collections::{BTreeMap, BTreeSet};

use wva_models::catalogue::{Catalogue, names};
use wva_models::iteration::IterationLaw;
use wva_models::model::{Model, Precision};
use wva_models::roofline::Roofline;
use wva_models::units::{DollarsPerHour, Seconds};
use wva_models::variant::{EngineSettings, Role, Variant};

use super::architecture;
use crate::index::Finding;
use crate::index::fleet::{Fleet, ModelKey, Prior, VariantView};
use crate::telemetry::Gathered;

pub(super) struct Made {
    pub catalogue: Catalogue,
    pub left_out: BTreeMap<String, Finding>,
    pub guesses: BTreeMap<String, Vec<Finding>>,
}

/// Cost of a replica that nobody knows the price of: what old objects carry, $/h.
const UNKNOWN_COST: f64 = 10.0;
/// Share of the device memory that is taken to be KV cache where the arithmetic leaves nothing, but replicas run.
const LEFTOVER_KV: f64 = 0.1;

pub(super) fn of(fleet: &Fleet, gathered: &Gathered, known: &Catalogue) -> Made {
    let mut made = Made {
        catalogue: Catalogue {
            accelerators: fleet.accelerators.clone(),
            classes: fleet.classes.clone(),
            ..Catalogue::default()
        },
        left_out: BTreeMap::new(),
        guesses: BTreeMap::new(),
    };
    let measured = measured_kv(gathered);
    let stated_costs = models_with_costs(fleet);
    let controlled = models_in_control(fleet);
    let started = started_with(fleet);
    let mut models: BTreeMap<&ModelKey, Option<String>> = BTreeMap::new();
    for view in &fleet.variants {
        let name = view.name();
        let key = match takes_part(view) {
            Ok(key) => key,
            Err(finding) => {
                made.left_out.insert(name, finding);
                continue;
            }
        };
        let guess = models.entry(key).or_insert_with(|| {
            let told = started.get(key).map(Vec::as_slice).unwrap_or_default();
            let found = architecture::of(known, &key.id, told, key.to_string());
            found.and_then(|architecture| {
                made.catalogue.models.push(architecture.model);
                architecture.guess
            })
        });
        let mut guesses: Vec<Finding> = guess
            .iter()
            .map(|g| finding(view, "ModelGuessed", g.clone()))
            .collect();
        let context = Context {
            kv_tokens: measured.get(name.as_str()).copied(),
            literal_cost: stated_costs.contains(key),
            pinned: view.paused || (!view.in_control() && controlled.contains(key)),
        };
        if let Some(variant) = variant(view, key, &made.catalogue, &context, &mut guesses) {
            made.catalogue.variants.push(variant);
        }
        if !guesses.is_empty() {
            made.guesses.insert(name, guesses);
        }
    }
    pair(&mut made, fleet);
    made
}

/// What the variant's own view does not say.
struct Context {
    /// KV cache as its engines report it, tokens.
    kv_tokens: Option<f64>,
    /// Costs of this model were stated, so that the old default is meant as a number.
    literal_cost: bool,
    /// Replicas stay as they are.
    pinned: bool,
}

fn takes_part(view: &VariantView) -> Result<&ModelKey, Finding> {
    if !view.found {
        let target = &view.target;
        let text = format!("{} {} does not exist", target.kind, target.name);
        return Err(finding(view, "TargetNotFound", text));
    }
    if view.accelerator.is_none() {
        let told = view
            .findings
            .iter()
            .rev()
            .find(|f| f.code == "UnknownAccelerator");
        return Err(told.cloned().unwrap_or_else(|| {
            finding(
                view,
                "UnknownAccelerator",
                "its accelerator is not known".into(),
            )
        }));
    }
    view.model.as_ref().ok_or_else(|| {
        let text = format!(
            "nothing says which model it serves; label it {}=MODEL",
            crate::api::keys::MODEL_ID
        );
        finding(view, "UnknownModel", text)
    })
}

fn finding(view: &VariantView, code: &'static str, text: String) -> Finding {
    Finding {
        subject: format!(
            "{} {}/{}",
            view.subject.kind, view.key.namespace, view.subject.name
        ),
        code,
        text,
    }
}

/// Models of which some variant states a cost.
fn models_with_costs(fleet: &Fleet) -> BTreeSet<&ModelKey> {
    let stated = fleet.variants.iter().filter(|v| v.cost.is_some());
    stated.filter_map(|v| v.model.as_ref()).collect()
}

/// What the engines of each model were told to load: the id by which a model is served may be any name at all.
fn started_with(fleet: &Fleet) -> BTreeMap<&ModelKey, Vec<&str>> {
    let mut out: BTreeMap<&ModelKey, Vec<&str>> = BTreeMap::new();
    for view in &fleet.variants {
        if let (Some(key), Some(told)) = (&view.model, view.args.model.as_deref()) {
            out.entry(key).or_default().push(told);
        }
    }
    out
}

/// Models of which some variant is scaled.
fn models_in_control(fleet: &Fleet) -> BTreeSet<&ModelKey> {
    let scaled = fleet.variants.iter().filter(|v| v.in_control() && v.found);
    scaled.filter_map(|v| v.model.as_ref()).collect()
}

/// KV cache per replica as engines report it, tokens, by variant: the least of its pods.
fn measured_kv(gathered: &Gathered) -> BTreeMap<&str, f64> {
    let mut out: BTreeMap<&str, f64> = BTreeMap::new();
    for pod in &gathered.pods {
        let reported = pod.engine.as_ref().and_then(|e| e.kv_tokens);
        if let Some(tokens) = reported.filter(|t| t.is_finite() && *t >= 1.0) {
            let least = out.entry(&pod.variant).or_insert(tokens);
            *least = least.min(tokens);
        }
    }
    out
}

fn variant(
    view: &VariantView,
    key: &ModelKey,
    catalogue: &Catalogue,
    context: &Context,
    guesses: &mut Vec<Finding>,
) -> Option<Variant> {
    let model_name = key.to_string();
    let model = catalogue.models.iter().find(|m| m.name == model_name)?;
    let accelerator = view.accelerator.clone()?;
    let pinned = context.pinned.then_some(view.desired);
    let mut variant = Variant {
        name: view.name(),
        model: model_name.clone(),
        accelerator,
        tensor_parallel: view.devices,
        role: view.role,
        engine: engine(view, model, context.kv_tokens),
        min_replicas: pinned.unwrap_or(view.min),
        max_replicas: pinned.or(view.max),
        start_up: start_up(view),
        price_per_hour_usd: None,
        law: view.prior.as_ref().map(law),
    };
    variant.price_per_hour_usd = price(view, &variant, catalogue, context.literal_cost, guesses);
    make_room(view, &mut variant, catalogue, guesses);
    Some(variant)
}

fn start_up(view: &VariantView) -> Seconds {
    let stated = view.start_up_s.and_then(|s| Seconds::new(s).ok());
    stated.unwrap_or_else(Variant::default_start_up)
}

fn engine(view: &VariantView, model: &Model, kv_tokens: Option<f64>) -> EngineSettings {
    let args = &view.args;
    let default = EngineSettings::default();
    let stated = args.quantization.as_deref().map(|q| format!("-{q}"));
    let stated = stated.as_deref().and_then(names::precision_hint);
    let named = || {
        let served = view.model.as_ref().map(|m| m.id.as_str());
        let all = args.model.as_deref().into_iter().chain(served);
        all.filter_map(names::precision_hint).next()
    };
    let reported = kv_tokens.map(|t| t.min(f64::from(u32::MAX)) as u32);
    EngineSettings {
        max_num_seqs: args
            .max_num_seqs
            .or(view.max_batch)
            .unwrap_or(default.max_num_seqs),
        max_num_batched_tokens: args
            .max_num_batched_tokens
            .unwrap_or(default.max_num_batched_tokens),
        gpu_memory_utilization: args
            .gpu_memory_utilization
            .unwrap_or(default.gpu_memory_utilization),
        precision: stated.or_else(named).unwrap_or(model.precision),
        kv_precision: match args.kv_cache_dtype.as_deref() {
            Some(format) if format.starts_with("fp8") => Precision::Fp8,
            _ => default.kv_precision,
        },
        kv_cache_tokens: view.kv_cache_tokens.or(reported),
        prefix_caching: args.prefix_caching.unwrap_or(default.prefix_caching),
    }
}

/// Price of one replica where it is not the catalogue's. Old objects carry a default cost of 10 that nobody meant, until
/// somebody states another cost for the same model: then all of them are numbers on one scale.
fn price(
    view: &VariantView,
    variant: &Variant,
    catalogue: &Catalogue,
    literal: bool,
    guesses: &mut Vec<Finding>,
) -> Option<DollarsPerHour> {
    let priced = catalogue.accelerator(&variant.accelerator);
    let priced = priced.is_some_and(|a| a.price_per_hour_usd.is_some());
    let stated = view.cost.or(literal.then_some(UNKNOWN_COST));
    if stated.is_none() && !priced {
        let text = format!(
            "no price of {} is known; {UNKNOWN_COST} $/h a replica is assumed; state one in an Accelerator object or as {}",
            variant.accelerator,
            crate::api::keys::VARIANT_COST
        );
        guesses.push(finding(view, "PriceGuessed", text));
        return DollarsPerHour::new(UNKNOWN_COST).ok();
    }
    stated.and_then(|cost| DollarsPerHour::new(cost).ok())
}

/// Where the arithmetic leaves no memory for the KV cache, it is wrong about something: the replicas are there.
fn make_room(
    view: &VariantView,
    variant: &mut Variant,
    catalogue: &Catalogue,
    guesses: &mut Vec<Finding>,
) {
    let (Some(model), Some(accelerator)) = (
        catalogue.models.iter().find(|m| m.name == variant.model),
        catalogue.accelerator(&variant.accelerator),
    ) else {
        return;
    };
    let roofline = Roofline {
        model,
        accelerator,
        tensor_parallel: variant.tensor_parallel,
        engine: &variant.engine,
    };
    if roofline.kv_tokens() >= 1.0 {
        return;
    }
    let bytes = accelerator.memory_bytes() * f64::from(variant.tensor_parallel) * LEFTOVER_KV;
    let tokens = bytes / model.kv_bytes_per_token(variant.engine.kv_precision);
    variant.engine.kv_cache_tokens = Some(tokens.clamp(1.0, f64::from(u32::MAX)) as u32);
    let text = format!(
        "by the catalogue, {} does not fit {} × {}; a small KV cache is assumed; check the quantisation, or state {}",
        view.model.as_ref().map_or("the model", |m| m.id.as_str()),
        variant.tensor_parallel,
        variant.accelerator,
        crate::api::keys::KV_CACHE_TOKENS
    );
    guesses.push(finding(view, "MemoryGuessed", text));
}

/// A linear law in the terms of ours: `alpha` is what an iteration takes whatever is in it, `beta` what each sequence
/// adds, and a prefill of `gamma + delta · tokens` adds to that what is beyond `alpha`.
fn law(prior: &Prior) -> IterationLaw {
    IterationLaw {
        overhead_s: 0.1 * prior.alpha_s,
        floor_s: 0.9 * prior.alpha_s,
        per_token_s: prior.delta_s,
        per_kv_token_s: 0.0,
        per_sequence_s: prior.beta_s,
        per_chunk_context_s: 0.0,
        prefill_overhead_s: (prior.gamma_s - prior.alpha_s).max(0.0),
        front_end_s: 0.0,
    }
}

/// Prefill and decode variants come in pairs; one whose partner is missing serves nothing that can be planned.
fn pair(made: &mut Made, fleet: &Fleet) {
    let mut roles: BTreeMap<String, BTreeSet<Role>> = BTreeMap::new();
    for variant in &made.catalogue.variants {
        roles
            .entry(variant.model.clone())
            .or_default()
            .insert(variant.role);
    }
    let alone = |v: &Variant| match v.role {
        Role::Both => false,
        Role::Prefill => !roles[&v.model].contains(&Role::Decode),
        Role::Decode => !roles[&v.model].contains(&Role::Prefill),
    };
    let views: BTreeMap<String, &VariantView> =
        fleet.variants.iter().map(|v| (v.name(), v)).collect();
    let lonely: Vec<Variant> = made
        .catalogue
        .variants
        .extract_if(.., |v| alone(v))
        .collect();
    for variant in lonely {
        if let Some(view) = views.get(&variant.name) {
            let text =
                "a prefill variant needs a decode variant of its model, and the other way round"
                    .to_owned();
            made.left_out
                .insert(variant.name, finding(view, "Unpaired", text));
        }
    }
}
