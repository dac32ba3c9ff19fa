//! How the fleet starts and is watched.

use std::collections::BTreeMap;

use wva_models::catalogue::{Catalogue, Spanned};

use super::error::ScenarioError;
use super::place;
use super::text::FleetText;

/// How the fleet starts and is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// Ready replicas at the start per variant, in the catalogue's order; `None`: as planned for the first minutes.
    pub initial: Option<Vec<u32>>,
    /// Seconds between scrapes of the metrics.
    pub scrape_interval_s: f64,
    /// Coefficient of variation of start-up times.
    pub start_up_cv: f64,
}

impl Fleet {
    pub(super) fn new(
        text: &FleetText,
        catalogue: &Catalogue,
        origin: &str,
    ) -> Result<Self, ScenarioError> {
        let within = |number: &Spanned<f64>, low, high, what, domain| {
            if (low..=high).contains(&number.value) {
                Ok(number.value)
            } else {
                Err(ScenarioError::Invalid {
                    place: place(origin, number),
                    what,
                    domain,
                    value: number.value,
                })
            }
        };
        let scrape = &text.scrape_seconds;
        let initial = text.initial.as_ref();
        Ok(Self {
            initial: initial
                .map(|i| replicas(i, catalogue, origin))
                .transpose()?,
            scrape_interval_s: within(scrape, 0.1, 600.0, "scrape_seconds", "between 0.1 and 600")?,
            start_up_cv: within(
                &text.start_up_cv,
                0.0,
                2.0,
                "start_up_cv",
                "between 0 and 2",
            )?,
        })
    }
}

/// Replicas per variant; checked against bounds and stock.
fn replicas(
    written: &BTreeMap<String, Spanned<u32>>,
    catalogue: &Catalogue,
    origin: &str,
) -> Result<Vec<u32>, ScenarioError> {
    let mut replicas = vec![0; catalogue.variants.len()];
    let mut devices: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in written {
        let contradiction = |what, remedy| ScenarioError::Contradiction {
            place: place(origin, count),
            what,
            remedy,
        };
        let index = catalogue.variants.iter().position(|v| &v.name == name);
        let index = index.ok_or_else(|| {
            let known = catalogue.variants.iter().map(|v| v.name.as_str());
            ScenarioError::unknown(place(origin, count), "variant", name, known)
        })?;
        let variant = &catalogue.variants[index];
        if let Some(most) = variant.max_replicas.filter(|&most| count.value > most) {
            return Err(contradiction(
                format!(
                    "{} initial replicas of `{name}`, whose max_replicas is {most}",
                    count.value
                ),
                "start with fewer, or raise max_replicas",
            ));
        }
        let used = devices.entry(&variant.accelerator).or_default();
        *used += u64::from(count.value) * u64::from(variant.tensor_parallel);
        let stock = catalogue.stock.get(&variant.accelerator);
        if let Some(stock) = stock.filter(|&&stock| *used > u64::from(stock)) {
            return Err(contradiction(
                format!(
                    "the initial fleet needs {used} {}, the stock has {stock}",
                    variant.accelerator
                ),
                "start with fewer replicas, or raise the stock",
            ));
        }
        replicas[index] = count.value;
    }
    Ok(replicas)
}
