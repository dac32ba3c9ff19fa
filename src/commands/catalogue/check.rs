//! A file that was found sound, and what is allowed but odd about it.

use serde::Serialize;
use wva_models::catalogue::Catalogue;
use wva_models::service_class::ServiceClass;
use wva_models::shape::RequestShape;
use wva_models::variant::Variant;

use super::listing::Listing;
use crate::console::{Answer, Page};
use crate::figures::{count, grouped};
use crate::table::Tone;

/// What there is in the file on top of what is built in, with remarks.
#[derive(Debug, Serialize)]
pub struct Checked {
    file: String,
    valid: bool,
    warnings: Vec<String>,
    #[serde(flatten)]
    listing: Listing,
}

impl Checked {
    /// Looks the catalogue of a file over.
    pub fn new(file: &str, catalogue: &Catalogue) -> Self {
        let mut warnings: Vec<String> = catalogue
            .variants
            .iter()
            .flat_map(|v| oddities(catalogue, v))
            .collect();
        warnings.extend(
            catalogue
                .classes
                .iter()
                .flat_map(|c| beyond_physics(catalogue, c, file)),
        );
        Self {
            file: file.to_owned(),
            valid: true,
            warnings,
            listing: Listing::new(catalogue),
        }
    }
}

impl Answer for Checked {
    const VERB: &'static str = "catalogue";

    fn describe(&self, page: &mut Page) {
        let sound = page.toned("sound", Tone::Good);
        let variants = count(self.listing.variants.len(), "variant", "variants");
        let classes = count(self.listing.classes.len(), "class", "classes");
        page.line(format!("{}: {sound}: {variants}, {classes}", self.file));
        for warning in &self.warnings {
            page.line(format!("  note: {warning}"));
        }
    }
}

fn oddities(catalogue: &Catalogue, variant: &Variant) -> Vec<String> {
    let roofline = catalogue.roofline(variant);
    let (name, device) = (&variant.name, &variant.accelerator);
    let mut found = Vec::new();
    if roofline.crosses_nodes() {
        found.push(format!(
            "`{name}` spreads each layer over several nodes: the network will slow it down"
        ));
    }
    let context = f64::from(roofline.model.max_context_tokens);
    if roofline.kv_tokens() < context {
        let (kv, context) = (grouped(roofline.kv_tokens()), grouped(context));
        found.push(format!("`{name}` holds {kv} KV-cache tokens, less than the {context} of the model's longest context"));
    }
    let devices = variant.min_replicas.saturating_mul(variant.tensor_parallel);
    if let Some(&stock) = catalogue
        .stock
        .get(device)
        .filter(|&&stock| stock < devices)
    {
        found.push(format!(
            "`{name}` needs at least {devices} {device} for its min_replicas, the stock has {stock}"
        ));
    }
    found
}

/// Models on which not even the smallest request could meet the class's bounds. Which model a class is for is known only
/// where there is traffic, so this is no error yet.
fn beyond_physics(catalogue: &Catalogue, class: &ServiceClass, file: &str) -> Vec<String> {
    let smallest = RequestShape::fixed(1.0, 2.0).expect("positive numbers of tokens");
    let mut models: Vec<&str> = catalogue
        .variants
        .iter()
        .map(|v| v.model.as_str())
        .collect();
    models.dedup();
    let floor = |model: &&str| catalogue.check_floor(class, model, &smallest, file).err();
    let errors = models.iter().filter_map(floor).map(|e| e.to_string());
    errors
        .map(|e| {
            e.strip_prefix(&format!("{file}: "))
                .unwrap_or(&e)
                .to_owned()
        })
        .collect()
}
