//! Reading YAML from people one does not trust, with errors that say where.
//!
//! Other file formats have the catalogue's five keys at their top level beside their own. `#[serde(flatten)]` would
//! switch off the check for unknown keys and lose lines and columns, so the recipe is to repeat the five fields and hand
//! them over:
//!
//! ```
//! use serde::Deserialize;
//! use wva_models::catalogue::{AcceleratorText, CatalogueText, ModelText, Spanned, VariantText, from_yaml};
//! use wva_models::service_class::ServiceClassText;
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct FleetText {
//!     #[serde(default)]
//!     accelerators: Vec<Spanned<AcceleratorText>>,
//!     #[serde(default)]
//!     models: Vec<Spanned<ModelText>>,
//!     variants: Option<Vec<Spanned<VariantText>>>,
//!     #[serde(default)]
//!     classes: Vec<Spanned<ServiceClassText>>,
//!     #[serde(default)]
//!     stock: std::collections::BTreeMap<String, Spanned<u32>>,
//!     /// The format's own key.
//!     hours: f64,
//! }
//!
//! let text: FleetText = from_yaml("hours: 24\nvariants: [{model: llama-3.1-8b, accelerator: H100}]", "day.yaml")?;
//! let catalogue = CatalogueText {
//!     accelerators: text.accelerators,
//!     models: text.models,
//!     variants: text.variants,
//!     classes: text.classes,
//!     stock: text.stock,
//! }
//! .resolve("day.yaml")?;
//! assert_eq!((catalogue.variants[0].name.as_str(), text.hours), ("llama-3.1-8b-h100", 24.0));
//! # Ok::<(), wva_models::catalogue::CatalogueError>(())
//! ```

use serde::de::DeserializeOwned;
use serde_saphyr::options::AliasLimits;

pub use serde_saphyr::Spanned;

use super::{CatalogueError, Place};

/// Largest text that is read, bytes.
pub const MOST_BYTES: usize = 8 << 20;

/// Reads one YAML document. Duplicate keys, unknown keys (where the type says so), alias bombs and texts over
/// [`MOST_BYTES`] are errors; `origin` names the file in them.
///
/// # Errors
/// [`CatalogueError::TooLarge`], [`CatalogueError::Empty`] or [`CatalogueError::Yaml`].
pub fn from_yaml<T: DeserializeOwned>(yaml: &str, origin: &str) -> Result<T, CatalogueError> {
    if yaml.len() > MOST_BYTES {
        return Err(CatalogueError::TooLarge {
            place: Place::file(origin),
            bytes: yaml.len(),
            limit: MOST_BYTES,
        });
    }
    serde_saphyr::from_str_with_options(yaml, options()).map_err(|e| explain(yaml, origin, &e))
}

/// Whether a text has nothing but blank lines, comments and document marks.
#[must_use]
pub fn is_blank(yaml: &str) -> bool {
    let mut lines = yaml.lines().map(str::trim);
    lines.all(|line| line.is_empty() || line == "---" || line.starts_with('#'))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_events: 500_000, max_aliases: 1_000, max_anchors: 1_000 },
        alias_limits: AliasLimits::default(),
        with_snippet: false,
    }
}

fn explain(yaml: &str, origin: &str, error: &serde_saphyr::Error) -> CatalogueError {
    if is_blank(yaml) {
        return CatalogueError::Empty {
            place: Place::file(origin),
        };
    }
    let place = error.location().map_or_else(
        || Place::file(origin),
        |at| Place::at(origin, at.line(), at.column()),
    );
    let mut message = error.without_snippet().to_string();
    // The place is said once, in front.
    if let Some(end) = message.rfind(" at line ") {
        message.truncate(end);
    }
    let line = place
        .line
        .and_then(|(line, _)| {
            yaml.lines()
                .nth(usize::try_from(line).ok()?.checked_sub(1)?)
        })
        .map(|text| text.trim().chars().take(100).collect())
        .unwrap_or_default();
    CatalogueError::Yaml {
        place,
        message,
        line,
    }
}
