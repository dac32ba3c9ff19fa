//! How faults are written.

use serde::Deserialize;
use wva_models::catalogue::{Catalogue, Spanned};

use super::error::ScenarioError;
use super::place;
use crate::fault::Fault;

/// A [`Fault`] as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultText {
    /// Metrics cannot be scraped.
    ScrapeOutage {
        /// When it begins.
        from_minute: f64,
        /// How long it lasts.
        minutes: f64,
        /// The variant; absent: all metrics.
        variant: Option<String>,
    },
    /// An accelerator is (nearly) sold out.
    StockOut {
        /// When it begins.
        from_minute: f64,
        /// How long it lasts.
        minutes: f64,
        /// Accelerator name.
        accelerator: String,
        /// Devices there are in all; absent: none.
        #[serde(default)]
        devices: u32,
    },
}

/// The fault that `text` describes, by the catalogue's names.
pub(super) fn fault(
    text: &Spanned<FaultText>,
    catalogue: &Catalogue,
    origin: &str,
) -> Result<Fault, ScenarioError> {
    let seconds = |value: f64, what, positive: bool| {
        if value.is_finite() && value >= 0.0 && !(positive && value == 0.0) {
            return Ok(value * 60.0);
        }
        let domain = if positive { "positive" } else { "at least 0" };
        Err(ScenarioError::Invalid {
            place: place(origin, text),
            what,
            domain,
            value,
        })
    };
    let span = |from, length| {
        let from = seconds(from, "from_minute", false)?;
        Ok::<_, ScenarioError>((from, from + seconds(length, "minutes", true)?))
    };
    match &text.value {
        FaultText::ScrapeOutage {
            from_minute,
            minutes,
            variant,
        } => {
            let (from, until) = span(*from_minute, *minutes)?;
            let ordinal = |name: &String| {
                let known = || catalogue.variants.iter().map(|v| v.name.as_str());
                let found = known().position(|v| v == name);
                found.ok_or_else(|| {
                    ScenarioError::unknown(place(origin, text), "variant", name, known())
                })
            };
            Ok(Fault::ScrapeOutage {
                from,
                until,
                variant: variant.as_ref().map(ordinal).transpose()?,
            })
        }
        FaultText::StockOut {
            from_minute,
            minutes,
            accelerator,
            devices,
        } => {
            let (from, until) = span(*from_minute, *minutes)?;
            let found = catalogue.accelerator(accelerator).ok_or_else(|| {
                let known = catalogue.accelerators.iter().map(|a| a.name.as_str());
                ScenarioError::unknown(place(origin, text), "accelerator", accelerator, known)
            })?;
            Ok(Fault::StockOut {
                from,
                until,
                accelerator: found.name.clone(),
                devices: *devices,
            })
        }
    }
}
