//! The file of `wva plan`: a catalogue, and demands at fixed rates.

use std::collections::BTreeMap;

use serde::Deserialize;
use wva_models::catalogue::{
    AcceleratorText, Catalogue, CatalogueText, ModelText, Place, Spanned, VariantText, from_yaml,
};
use wva_models::service_class::ServiceClassText;
use wva_models::shape::{RequestShape, ShapeText};
use wva_models::units::RequestsPerSecond;
use wva_optimizer::planner::{PlanInput, PlannerSettings, VariantBelief, Workload};

use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::input::Input;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanText {
    #[serde(default)]
    accelerators: Vec<Spanned<AcceleratorText>>,
    #[serde(default)]
    models: Vec<Spanned<ModelText>>,
    variants: Option<Vec<Spanned<VariantText>>>,
    #[serde(default)]
    classes: Vec<Spanned<ServiceClassText>>,
    #[serde(default)]
    stock: BTreeMap<String, Spanned<u32>>,
    demands: Vec<Spanned<DemandText>>,
    #[serde(default)]
    current: BTreeMap<String, Spanned<u32>>,
    #[serde(default)]
    settings: PlannerSettings,
}

/// One stream of requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DemandText {
    model: Spanned<String>,
    class: Spanned<String>,
    rate_rps: RequestsPerSecond,
    shape: Spanned<ShapeText>,
    /// Variance of the number of arrivals over its mean: 1 is Poisson.
    dispersion: Option<Spanned<f64>>,
}

/// A plan file, checked.
#[derive(Debug)]
pub struct PlanFile {
    /// What there is.
    pub catalogue: Catalogue,
    workloads: Vec<Workload>,
    current: Vec<u32>,
    settings: PlannerSettings,
}

/// Reads and checks a plan file.
pub fn read(input: &Input) -> Result<PlanFile, Failure> {
    let text: PlanText = from_yaml(&input.text, &input.name)?;
    let catalogue = CatalogueText {
        accelerators: text.accelerators,
        models: text.models,
        variants: text.variants,
        classes: text.classes,
        stock: text.stock,
    }
    .resolve(&input.name)?;
    let mut workloads: Vec<Workload> = Vec::new();
    for demand in &text.demands {
        let mut workload = workload(&catalogue, demand, input)?;
        let same = |w: &&Workload| w.model == workload.model && w.class == workload.class;
        workload.bucket = workloads.iter().filter(same).count();
        workloads.push(workload);
    }
    if workloads.is_empty() {
        return Err(input
            .complaint("`demands` is empty", 0, 0)
            .help("add `{model, class, rate_rps, shape}`")
            .into());
    }
    let current = current(&catalogue, &text.current, input)?;
    Ok(PlanFile {
        catalogue,
        workloads,
        current,
        settings: text.settings,
    })
}

fn place<T>(input: &Input, value: &Spanned<T>) -> Place {
    Place::at(
        &input.name,
        value.referenced.line(),
        value.referenced.column(),
    )
}

fn complaint<T>(input: &Input, value: &Spanned<T>, message: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::placed(&format!("{}: {message}", place(input, value)))
}

fn workload(
    catalogue: &Catalogue,
    demand: &Spanned<DemandText>,
    input: &Input,
) -> Result<Workload, Failure> {
    let text = &demand.value;
    let unknown_model =
        || catalogue.unknown_model(place(input, &text.model), text.model.value.clone());
    let model = &catalogue
        .model(&text.model.value)
        .ok_or_else(unknown_model)?
        .name;
    let unknown_class =
        || catalogue.unknown_class(place(input, &text.class), text.class.value.clone());
    let class = catalogue
        .class(&text.class.value)
        .ok_or_else(unknown_class)?;
    let shape: RequestShape = text
        .shape
        .value
        .shape()
        .map_err(|e| complaint(input, &text.shape, e))?;
    let dispersion = text.dispersion.as_ref().map_or(1.0, |d| d.value);
    if let Some(written) = text
        .dispersion
        .as_ref()
        .filter(|d| !(0.0..=1e3).contains(&d.value))
    {
        let message =
            format!("dispersion must be between 0 and 1000 (1 is Poisson), not {dispersion}");
        return Err(complaint(input, written, message).into());
    }
    if catalogue.variants_of(model).next().is_none() {
        let message =
            format!("there is no variant of {model} to serve this; add one under `variants`");
        return Err(complaint(input, &text.model, message).into());
    }
    catalogue.check_floor(class, model, &shape, &input.name)?;
    Ok(Workload {
        model: model.clone(),
        class: class.name.clone(),
        bucket: 0,
        rate: text.rate_rps.get(),
        shape,
        dispersion,
        capacity_factor: 1.0,
        doubt: 1.0,
    })
}

fn current(
    catalogue: &Catalogue,
    written: &BTreeMap<String, Spanned<u32>>,
    input: &Input,
) -> Result<Vec<u32>, Failure> {
    for (name, count) in written {
        if catalogue.variant(name).is_none() {
            return Err(catalogue
                .unknown_variant(place(input, count), name.clone())
                .into());
        }
    }
    let of = |name: &str| written.get(name).map_or(0, |count| count.value);
    Ok(catalogue.variants.iter().map(|v| of(&v.name)).collect())
}

impl PlanFile {
    /// The catalogue, and the shapes of the demands.
    pub fn into_fleet(self) -> Fleet {
        let shapes = self
            .workloads
            .into_iter()
            .map(|w| (w.model, w.class, w.shape));
        Fleet::new(self.catalogue, shapes.collect())
    }

    /// What to plan for, with all rates times `scale`.
    pub fn input(&self, scale: f64) -> PlanInput<'_> {
        let catalogue = &self.catalogue;
        let belief = |(v, &current)| VariantBelief {
            current,
            ..VariantBelief::on_paper(catalogue.replica_model(v))
        };
        let scaled = |w: &Workload| Workload {
            rate: w.rate * scale,
            ..w.clone()
        };
        PlanInput {
            catalogue,
            beliefs: catalogue
                .variants
                .iter()
                .zip(&self.current)
                .map(belief)
                .collect(),
            workloads: self.workloads.iter().map(scaled).collect(),
            stock: catalogue.stock.clone(),
            quotas: BTreeMap::new(),
            settings: self.settings.clone(),
        }
    }
}
