//! From texts to a checked catalogue: merge by name, then variants, classes and stock in the order of their dependence.

use std::collections::BTreeSet;

use serde_saphyr::Spanned;

use super::names::{self, device_key, model_key};
use super::{AcceleratorText, Catalogue, CatalogueError, CatalogueText, ModelText, Place};
use crate::model::Model;
use crate::service_class::{ServiceClass, ServiceClassText};
use crate::units::DollarsPerHour;

/// Greatest price accepted, $/h: products with device counts stay finite.
const MOST_DOLLARS: f64 = 1e9;

impl CatalogueText {
    /// The built-in catalogue with these entries on top. `origin` names the file in errors.
    ///
    /// # Errors
    /// [`CatalogueError`] for names that are unknown or double, figures that are missing or contradict each other, and
    /// models that do not fit.
    pub fn resolve(self, origin: &str) -> Result<Catalogue, CatalogueError> {
        let mut catalogue = Catalogue::builtin();
        let devices = catalogue.merge_accelerators(self.accelerators, origin)?;
        let models = catalogue.merge_models(self.models, origin)?;
        for (name, count) in self.stock {
            catalogue.add_stock(name, &count, origin)?;
        }
        let offer = self.variants.is_none();
        for text in self.variants.unwrap_or_default() {
            catalogue.add_variant(text, origin)?;
        }
        catalogue.check_pairs(origin)?;
        for text in self.classes {
            catalogue.add_class(text, origin)?;
        }
        if offer {
            catalogue.offer_listed(&models, &devices, origin)?;
        }
        Ok(catalogue)
    }

    /// The catalogue of these accelerators and models alone.
    pub(super) fn onto_empty(self) -> Result<Catalogue, CatalogueError> {
        let mut catalogue = Catalogue::default();
        catalogue.merge_accelerators(self.accelerators, "built-in accelerators")?;
        catalogue.merge_models(self.models, "built-in models")?;
        Ok(catalogue)
    }
}

impl Catalogue {
    /// Merges accelerators by name; returns the catalogue's names of those that the file lists.
    fn merge_accelerators(
        &mut self,
        texts: Vec<Spanned<AcceleratorText>>,
        origin: &str,
    ) -> Result<Vec<String>, CatalogueError> {
        let mut seen = Vec::new();
        for text in texts {
            let place = place(origin, &text.value.name);
            let written = named("accelerator", &text.value.name, origin)?;
            let base = self.accelerator(&written).cloned();
            let made = text.value.onto(base.as_ref()).map_err(|missing| {
                incomplete(
                    place.clone(),
                    "accelerator",
                    &written,
                    missing,
                    names::nearest(
                        &written,
                        self.accelerators.iter().map(|a| a.name.as_str()),
                        device_key,
                    ),
                )
            })?;
            check_price(&place, &written, made.price_per_hour_usd)?;
            note(&mut seen, &made.name, "accelerator", place)?;
            match self.accelerators.iter_mut().find(|a| a.name == made.name) {
                Some(slot) => *slot = made,
                None => self.accelerators.push(made),
            }
        }
        Ok(seen)
    }

    /// Merges models by name; returns the catalogue's names of those that the file lists.
    fn merge_models(
        &mut self,
        texts: Vec<Spanned<ModelText>>,
        origin: &str,
    ) -> Result<Vec<String>, CatalogueError> {
        let mut seen = Vec::new();
        for text in texts {
            let place = place(origin, &text.value.name);
            let written = named("model", &text.value.name, origin)?;
            let base = self.model(&written).cloned();
            let made = text.value.onto(base.as_ref()).map_err(|missing| {
                incomplete(
                    place.clone(),
                    "model",
                    &written,
                    missing,
                    names::nearest(
                        &written,
                        self.models.iter().map(|m| m.name.as_str()),
                        model_key,
                    ),
                )
            })?;
            check_experts(&place, &made)?;
            note(&mut seen, &made.name, "model", place)?;
            match self.models.iter_mut().find(|m| m.name == made.name) {
                Some(slot) => *slot = made,
                None => self.models.push(made),
            }
        }
        Ok(seen)
    }

    fn add_stock(
        &mut self,
        name: String,
        count: &Spanned<u32>,
        origin: &str,
    ) -> Result<(), CatalogueError> {
        let place = place(origin, count);
        let canonical = match self.accelerator(&name) {
            Some(accelerator) => accelerator.name.clone(),
            None => return Err(self.unknown_accelerator(place, name)),
        };
        if self.stock.insert(canonical.clone(), count.value).is_some() {
            return Err(CatalogueError::Duplicate {
                place,
                kind: "stock",
                name: canonical,
            });
        }
        Ok(())
    }

    fn add_class(
        &mut self,
        text: Spanned<ServiceClassText>,
        origin: &str,
    ) -> Result<(), CatalogueError> {
        let place = place(origin, &text);
        let class = ServiceClass::try_from(text.value).map_err(|e| CatalogueError::Yaml {
            place: place.clone(),
            message: e.to_string(),
            line: String::new(),
        })?;
        if self.class(&class.name).is_some() {
            return Err(CatalogueError::Duplicate {
                place,
                kind: "class",
                name: class.name,
            });
        }
        self.classes.push(class);
        Ok(())
    }

    /// The error for an accelerator name that nothing has.
    #[must_use]
    pub fn unknown_accelerator(&self, place: Place, name: String) -> CatalogueError {
        let known = self.accelerators.iter().map(|a| a.name.as_str());
        unknown(place, "accelerator", name, known.collect(), device_key)
    }

    /// The error for a model name that nothing has.
    #[must_use]
    pub fn unknown_model(&self, place: Place, name: String) -> CatalogueError {
        let known = self.models.iter().map(|m| m.name.as_str());
        unknown(place, "model", name, known.collect(), model_key)
    }

    /// The error for a variant name that nothing has.
    #[must_use]
    pub fn unknown_variant(&self, place: Place, name: String) -> CatalogueError {
        let known = self.variants.iter().map(|v| v.name.as_str());
        unknown(place, "variant", name, known.collect(), str::to_lowercase)
    }

    /// The error for a class name that nothing has.
    #[must_use]
    pub fn unknown_class(&self, place: Place, name: String) -> CatalogueError {
        let known = self.classes.iter().map(|c| c.name.as_str());
        unknown(place, "class", name, known.collect(), str::to_lowercase)
    }
}

/// Where a value stands.
pub(super) fn place<T>(origin: &str, spanned: &Spanned<T>) -> Place {
    Place::at(
        origin,
        spanned.referenced.line(),
        spanned.referenced.column(),
    )
}

/// A price is at most [`MOST_DOLLARS`].
pub(super) fn check_price(
    place: &Place,
    name: &str,
    price: Option<DollarsPerHour>,
) -> Result<(), CatalogueError> {
    match price {
        Some(price) if price.get() > MOST_DOLLARS => Err(CatalogueError::Invalid {
            place: place.clone(),
            what: "price_per_hour_usd",
            name: name.to_owned(),
            domain: "at most 10⁹",
            value: price.get(),
        }),
        _ => Ok(()),
    }
}

/// A name that is not blank.
pub(super) fn named(
    kind: &'static str,
    name: &Spanned<String>,
    origin: &str,
) -> Result<String, CatalogueError> {
    if name.value.trim().is_empty() {
        return Err(CatalogueError::Yaml {
            place: place(origin, name),
            message: format!("the name of this {kind} is empty; give it one"),
            line: String::new(),
        });
    }
    Ok(name.value.clone())
}

fn check_experts(place: &Place, model: &Model) -> Result<(), CatalogueError> {
    let invalid = |what, domain, value| CatalogueError::Invalid {
        place: place.clone(),
        what,
        name: model.name.clone(),
        domain,
        value,
    };
    if let Some(active) = model.active_parameters_b
        && active > model.parameters_b
    {
        return Err(invalid(
            "active_parameters_b",
            "at most parameters_b",
            active,
        ));
    }
    match model.experts {
        Some(e) if e.per_token == 0 || e.per_token > e.total => Err(invalid(
            "experts.per_token",
            "at least 1 and at most experts.total",
            f64::from(e.per_token),
        )),
        _ => Ok(()),
    }
}

fn note(
    seen: &mut Vec<String>,
    name: &str,
    kind: &'static str,
    place: Place,
) -> Result<(), CatalogueError> {
    let name = name.to_owned();
    if seen.contains(&name) {
        return Err(CatalogueError::Duplicate { place, kind, name });
    }
    seen.push(name);
    Ok(())
}

fn incomplete(
    place: Place,
    kind: &'static str,
    name: &str,
    missing: Vec<&'static str>,
    nearest: Option<&str>,
) -> CatalogueError {
    CatalogueError::Incomplete {
        place,
        kind,
        name: name.to_owned(),
        missing,
        nearest: nearest.map(Into::into),
    }
}

fn unknown(
    place: Place,
    kind: &'static str,
    name: String,
    known: Vec<&str>,
    key: fn(&str) -> String,
) -> CatalogueError {
    CatalogueError::Unknown {
        place,
        kind,
        nearest: names::nearest(&name, known.iter().copied(), key).map(Into::into),
        known: known
            .into_iter()
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        name,
    }
}
