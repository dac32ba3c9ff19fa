//! Variants from short texts: names, tensor parallelism and engine settings filled in, then checked.

use serde_saphyr::Spanned;

use super::names::precision_hint;
use super::resolve::{check_price, named, place};
use super::split::{KV_SHARE, check_split, choose_split, smallest_split};
use super::{Catalogue, CatalogueError, EngineText, Place, VariantText};
use crate::accelerator::Accelerator;
use crate::iteration::IterationLaw;
use crate::model::{Model, Precision};
use crate::variant::{EngineSettings, Role, Variant};

impl Catalogue {
    pub(super) fn add_variant(
        &mut self,
        text: Spanned<VariantText>,
        origin: &str,
    ) -> Result<(), CatalogueError> {
        let at = place(origin, &text);
        let variant = self.variant_from(text.value, &at, origin)?;
        self.push_variant(variant, at)
    }

    fn push_variant(&mut self, variant: Variant, place: Place) -> Result<(), CatalogueError> {
        if self.variant(&variant.name).is_some() {
            return Err(CatalogueError::Duplicate {
                place,
                kind: "variant",
                name: variant.name,
            });
        }
        self.variants.push(variant);
        Ok(())
    }

    fn variant_from(
        &self,
        text: VariantText,
        at: &Place,
        origin: &str,
    ) -> Result<Variant, CatalogueError> {
        let model = self.model(&text.model.value).ok_or_else(|| {
            self.unknown_model(place(origin, &text.model), text.model.value.clone())
        })?;
        let accelerator = self.accelerator(&text.accelerator.value).ok_or_else(|| {
            self.unknown_accelerator(
                place(origin, &text.accelerator),
                text.accelerator.value.clone(),
            )
        })?;
        let precision = precision_hint(&text.model.value).unwrap_or(model.precision);
        let engine = text.engine.settings(precision);
        let tensor_parallel = match &text.tensor_parallel {
            Some(tp) => check_split(
                model,
                accelerator,
                &engine,
                tp.value.get(),
                place(origin, tp),
            )?,
            None => choose_split(model, accelerator, &engine, at)?,
        };
        let name = match &text.name {
            Some(name) => named("variant", name, origin)?,
            None => generated_name(
                model,
                accelerator,
                tensor_parallel,
                text.role,
                engine.precision,
            ),
        };
        let price = text.price_per_hour_usd.as_ref().map(|p| p.value);
        check_numbers(&text, &name, origin)?;
        check_price(at, &name, price)?;
        if price.or(accelerator.price_per_hour_usd).is_none() {
            return Err(CatalogueError::NoPrice {
                place: at.clone(),
                variant: name,
                accelerator: accelerator.name.clone(),
            });
        }
        Ok(Variant {
            name,
            model: model.name.clone(),
            accelerator: accelerator.name.clone(),
            tensor_parallel,
            role: text.role,
            engine,
            min_replicas: text.min_replicas,
            max_replicas: text.max_replicas.map(|m| m.value),
            start_up: text
                .start_up_seconds
                .unwrap_or_else(Variant::default_start_up),
            price_per_hour_usd: price,
            law: text.law.map(|l| l.value),
        })
    }

    /// Prefill and decode variants of a model come in pairs.
    pub(super) fn check_pairs(&self, origin: &str) -> Result<(), CatalogueError> {
        for variant in &self.variants {
            let (present, absent, partner) = match variant.role {
                Role::Both => continue,
                Role::Prefill => ("prefill", "decode", Role::Decode),
                Role::Decode => ("decode", "prefill", Role::Prefill),
            };
            if !self
                .variants
                .iter()
                .any(|v| v.model == variant.model && v.role == partner)
            {
                return Err(CatalogueError::Unpaired {
                    place: Place::file(origin),
                    model: variant.model.clone(),
                    present,
                    absent,
                });
            }
        }
        Ok(())
    }

    /// Adds one variant of `model` on each accelerator in `among` (all where empty) that has a price, is not out of
    /// stock and fits; returns how many. Meant for models that a file names without any variant.
    ///
    /// # Errors
    /// [`CatalogueError::Unknown`] for the model, [`CatalogueError::NothingToOffer`] when nothing fits.
    pub fn offer(
        &mut self,
        model: &str,
        among: &[String],
        origin: &str,
    ) -> Result<usize, CatalogueError> {
        let at = Place::file(origin);
        let Some(found) = self.model(model) else {
            return Err(self.unknown_model(at, model.to_owned()));
        };
        let engine =
            EngineText::default().settings(precision_hint(model).unwrap_or(found.precision));
        let offers: Vec<Variant> = self
            .accelerators
            .iter()
            .filter(|a| among.is_empty() || among.contains(&a.name))
            .filter(|a| self.stock.is_empty() || self.stock.get(&a.name).is_some_and(|&n| n > 0))
            .filter(|a| a.price_per_hour_usd.is_some())
            .filter_map(|a| offered(found, a, &engine))
            .filter(|v| self.variant(&v.name).is_none())
            .collect();
        if offers.is_empty() {
            return Err(CatalogueError::NothingToOffer {
                place: at,
                model: found.name.clone(),
            });
        }
        let count = offers.len();
        self.variants.extend(offers);
        Ok(count)
    }

    /// Offers for every model that the file lists, where it has no variants at all.
    pub(super) fn offer_listed(
        &mut self,
        models: &[String],
        devices: &[String],
        origin: &str,
    ) -> Result<(), CatalogueError> {
        let among = if self.stock.is_empty() { devices } else { &[] };
        for model in models {
            self.offer(model, among, origin)?;
        }
        Ok(())
    }
}

fn offered(model: &Model, accelerator: &Accelerator, engine: &EngineSettings) -> Option<Variant> {
    let tensor_parallel = smallest_split(model, accelerator, engine, KV_SHARE)?;
    Some(Variant {
        name: generated_name(
            model,
            accelerator,
            tensor_parallel,
            Role::Both,
            engine.precision,
        ),
        model: model.name.clone(),
        accelerator: accelerator.name.clone(),
        tensor_parallel,
        role: Role::Both,
        engine: *engine,
        min_replicas: 0,
        max_replicas: None,
        start_up: Variant::default_start_up(),
        price_per_hour_usd: None,
        law: None,
    })
}

/// `llama-3.1-8b-h100`, with `-tp2`, `-fp8`, `-prefill` where they differ from the plain case.
fn generated_name(
    model: &Model,
    accelerator: &Accelerator,
    tensor_parallel: u32,
    role: Role,
    precision: Precision,
) -> String {
    let mut name = format!("{}-{}", model.name, accelerator.name).to_lowercase();
    if tensor_parallel > 1 {
        name.push_str(&format!("-tp{tensor_parallel}"));
    }
    if precision != model.precision {
        name.push_str(match precision {
            Precision::Bf16 => "-bf16",
            Precision::Fp8 => "-fp8",
            Precision::Int4 => "-int4",
        });
    }
    name.push_str(match role {
        Role::Both => "",
        Role::Prefill => "-prefill",
        Role::Decode => "-decode",
    });
    name
}

/// Replica limits and the measured law, where stated.
fn check_numbers(text: &VariantText, name: &str, origin: &str) -> Result<(), CatalogueError> {
    if let Some(max) = &text.max_replicas
        && max.value < text.min_replicas
    {
        return Err(CatalogueError::MinAboveMax {
            place: place(origin, max),
            variant: name.to_owned(),
            min: text.min_replicas,
            max: max.value,
        });
    }
    text.law.as_ref().map_or(Ok(()), |law| {
        check_law(&law.value, name, place(origin, law))
    })
}

/// Every parameter is a finite time of at most 1000 s, and an iteration takes some time.
fn check_law(law: &IterationLaw, variant: &str, place: Place) -> Result<(), CatalogueError> {
    let parameters = [
        ("law.overhead_s", law.overhead_s),
        ("law.floor_s", law.floor_s),
        ("law.per_token_s", law.per_token_s),
        ("law.per_kv_token_s", law.per_kv_token_s),
        ("law.per_sequence_s", law.per_sequence_s),
        ("law.per_chunk_context_s", law.per_chunk_context_s),
        ("law.prefill_overhead_s", law.prefill_overhead_s),
        ("law.front_end_s", law.front_end_s),
    ];
    let invalid = |what, domain, value| CatalogueError::Invalid {
        place: place.clone(),
        what,
        name: variant.to_owned(),
        domain,
        value,
    };
    if let Some(&(what, value)) = parameters.iter().find(|(_, v)| !(0.0..=1e3).contains(v)) {
        return Err(invalid(what, "between 0 and 1000 s", value));
    }
    let fixed = law.overhead_s + law.floor_s;
    if fixed <= 0.0 {
        return Err(invalid("law.overhead_s + law.floor_s", "above 0 s", fixed));
    }
    Ok(())
}
