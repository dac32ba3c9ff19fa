//! The catalogue: accelerators, models, variants and service classes by name, with a built-in set.
//!
//! ```text
//! built-in YAML ──┐
//!                 ├─ merge by name ─ check ─ Catalogue          (no Catalogue with dangling names exists)
//! user's YAML ────┘
//! ```
//! A user's file states only what differs. `accelerators: [{name: H100, price_per_hour_usd: 2.5}]` changes one price;
//! `variants: [{model: llama-3.1-8b, accelerator: H100}]` is a whole variant: its name, tensor parallelism and engine
//! settings follow from the model and the device. The rules:
//!
//! - **Names** match case-insensitively, by alias, and as registries and node labels spell them
//!   (`meta-llama/Llama-3.1-8B-Instruct`, `NVIDIA-H100-80GB-HBM3`); see [`names`].
//! - **Tensor parallelism** that is absent becomes the smallest of 1, 2, 4, 8, 16 that divides the model's heads and
//!   leaves at least [`KV_SHARE`] of the device memory to the KV cache.
//! - **Variant names** that are absent become `model-accelerator`, with `-tp2`, `-fp8` (a precision other than the model's
//!   own), `-prefill` or `-decode` as needed.
//! - **No `variants` key at all**: every model that the file lists under `models` gets one variant on each accelerator that has
//!   a price, fits, and is in the file's `stock` or, without a stock, `accelerators` (without either: in the built-in set);
//!   see [`Catalogue::offer`].
//!
//! Why YAML text types of its own instead of deserialising [`Variant`] directly: a missing key has to be told from a
//! default in order to merge and to fill in, and each value has to carry its line and column.

mod error;
mod floor;
pub mod names;
mod resolve;
mod split;
mod text;
mod variants;
mod yaml;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Serialize;

pub use error::{CatalogueError, Place};
pub use floor::LatencyKind;
pub use split::KV_SHARE;
pub use text::{AcceleratorText, CatalogueText, EngineText, ModelText, Positive, VariantText};
pub use yaml::{MOST_BYTES, Spanned, from_yaml, is_blank};

use crate::accelerator::Accelerator;
use crate::iteration::ReplicaModel;
use crate::model::Model;
use crate::roofline::Roofline;
use crate::service_class::ServiceClass;
use crate::units::DollarsPerHour;
use crate::variant::Variant;

const BUILTIN_ACCELERATORS: &str = include_str!("catalogue/accelerators.yaml");
const BUILTIN_MODELS: &str = include_str!("catalogue/models.yaml");

/// Everything that has a name. Cross references are valid: a `Catalogue` cannot be made otherwise, as long as its parts
/// are not edited by hand.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Catalogue {
    /// Device types: the built-in ones with the file's changes, then the file's own.
    pub accelerators: Vec<Accelerator>,
    /// Model architectures: likewise.
    pub models: Vec<Model>,
    /// Variants of the file; `model` and `accelerator` are the catalogue's own spelling.
    pub variants: Vec<Variant>,
    /// Service classes of the file.
    pub classes: Vec<ServiceClass>,
    /// Devices that exist per accelerator; absent means unlimited.
    pub stock: BTreeMap<String, u32>,
}

impl Catalogue {
    /// The built-in accelerators and models, without variants and classes.
    #[must_use]
    pub fn builtin() -> Self {
        static BUILTIN: LazyLock<Catalogue> = LazyLock::new(read_builtin);
        BUILTIN.clone()
    }

    /// The built-in catalogue with a user's file on top. `origin` names the file in errors.
    ///
    /// # Errors
    /// [`CatalogueError`] with file, line and column where known, the value and the remedy.
    pub fn parse(yaml: &str, origin: &str) -> Result<Self, CatalogueError> {
        from_yaml::<CatalogueText>(yaml, origin)?.resolve(origin)
    }

    /// The catalogue as YAML that [`Catalogue::parse`] reads back to an equal one.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).expect("names and finite numbers always serialise")
    }

    /// The accelerator of this name, alias or label.
    #[must_use]
    pub fn accelerator(&self, name: &str) -> Option<&Accelerator> {
        names::find(
            &self.accelerators,
            name,
            names::device_key,
            |a| &a.name,
            |a| &a.aliases,
        )
    }

    /// The model of this name, alias or registry id.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        names::find(
            &self.models,
            name,
            names::model_key,
            |m| &m.name,
            |m| &m.aliases,
        )
    }

    /// The variant of exactly this name.
    #[must_use]
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|v| v.name == name)
    }

    /// The service class of exactly this name.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<&ServiceClass> {
        self.classes.iter().find(|c| c.name == name)
    }

    /// The variants that serve a model, by any of its names, in the file's order.
    pub fn variants_of(&self, model: &str) -> impl Iterator<Item = &Variant> {
        let name = self.model(model).map(|m| m.name.as_str());
        self.variants
            .iter()
            .filter(move |v| Some(v.model.as_str()) == name)
    }

    /// The roofline of a variant of this catalogue.
    ///
    /// # Panics
    /// When the variant names a model or accelerator that this catalogue lacks: a variant of another catalogue.
    #[must_use]
    pub fn roofline<'a>(&'a self, variant: &'a Variant) -> Roofline<'a> {
        Roofline {
            model: self
                .model(&variant.model)
                .expect("a variant's model exists"),
            accelerator: self
                .accelerator(&variant.accelerator)
                .expect("a variant's accelerator exists"),
            tensor_parallel: variant.tensor_parallel,
            engine: &variant.engine,
        }
    }

    /// What the models believe of one replica of a variant: its own measured law or else the roofline prior, with the
    /// limits that engine settings and memory give.
    ///
    /// # Panics
    /// As [`Catalogue::roofline`].
    #[must_use]
    pub fn replica_model(&self, variant: &Variant) -> ReplicaModel {
        let roofline = self.roofline(variant);
        ReplicaModel {
            law: variant.law.unwrap_or_else(|| roofline.law()),
            limits: roofline.limits(),
        }
    }

    /// Price of one replica: the variant's own, or devices × the accelerator's price.
    ///
    /// # Panics
    /// As [`Catalogue::roofline`].
    #[must_use]
    pub fn price_per_replica(&self, variant: &Variant) -> DollarsPerHour {
        variant.price_per_hour_usd.unwrap_or_else(|| {
            let device = self.roofline(variant).accelerator.price_per_hour_usd;
            let price = device.map_or(0.0, DollarsPerHour::get);
            DollarsPerHour::new(price * f64::from(variant.tensor_parallel))
                .expect("a price times a device count, both checked, is a price")
        })
    }
}

fn read_builtin() -> Catalogue {
    let read = |yaml: &str, origin: &str| {
        from_yaml::<CatalogueText>(yaml, origin).expect("a test reads the built-in catalogue")
    };
    CatalogueText {
        accelerators: read(BUILTIN_ACCELERATORS, "built-in accelerators").accelerators,
        models: read(BUILTIN_MODELS, "built-in models").models,
        ..CatalogueText::default()
    }
    .onto_empty()
    .expect("a test resolves the built-in catalogue")
}
