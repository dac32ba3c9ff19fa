//! The catalogue of any of this program's files: a catalogue, a scenario or a plan file, told apart by their keys.
//!
//! Whoever has a scenario wants to ask about its variants, without copying half of it into another file.

use wva_models::catalogue::{Catalogue, CatalogueText, from_yaml};
use wva_models::shape::{RequestShape, ShapeText};
use wva_simulations::scenario::text::ScenarioText;

use crate::commands::plan::file;
use crate::failure::Failure;
use crate::input::Input;

/// A catalogue, and the sizes of requests that the file states.
#[derive(Debug)]
pub struct Fleet {
    /// Accelerators, models, variants, classes, stock.
    pub catalogue: Catalogue,
    /// Model, class and shape of each traffic or demand that has a shape.
    shapes: Vec<(String, String, RequestShape)>,
}

impl Fleet {
    /// Reads the catalogue of a file.
    pub fn read(input: &Input) -> Result<Self, Failure> {
        let has = |key: &str| input.text.lines().any(|line| line.starts_with(key));
        if has("demands:") {
            return Ok(file::read(input)?.into_fleet());
        }
        if has("traffic:") {
            return scenario(input);
        }
        let catalogue = Catalogue::parse(&input.text, &input.name)?;
        Ok(Self {
            catalogue,
            shapes: Vec::new(),
        })
    }

    /// A catalogue whose traffic has these shapes, by model and class.
    pub fn new(catalogue: Catalogue, shapes: Vec<(String, String, RequestShape)>) -> Self {
        Self { catalogue, shapes }
    }

    /// The first shape that the file states for a model, and for a class where one is wanted.
    pub fn shape(&self, model: &str, class: Option<&str>) -> Option<&RequestShape> {
        let of_model = |name: &str| self.catalogue.model(name).is_some_and(|m| m.name == model);
        let fits = |(m, c, _): &&(String, String, RequestShape)| {
            of_model(m) && class.is_none_or(|class| class == c)
        };
        self.shapes.iter().find(fits).map(|(.., shape)| shape)
    }
}

/// Only the catalogue's keys are resolved: files of recorded traffic need not be there.
fn scenario(input: &Input) -> Result<Fleet, Failure> {
    let text: ScenarioText = from_yaml(&input.text, &input.name)?;
    let shape = |shape: &Option<ShapeText>| shape.as_ref().and_then(|s| s.shape().ok());
    let shapes = text.traffic.iter().filter_map(|t| {
        let t = &t.value;
        Some((
            t.model.value.clone(),
            t.class.value.clone(),
            shape(&t.shape)?,
        ))
    });
    let shapes = shapes.collect();
    let catalogue = CatalogueText {
        accelerators: text.accelerators,
        models: text.models,
        variants: text.variants,
        classes: text.classes,
        stock: text.stock,
    };
    Ok(Fleet::new(catalogue.resolve(&input.name)?, shapes))
}
