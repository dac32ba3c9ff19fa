//! Numbers for the variants that endpoints are of, so that fitted latency models can be attached to them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pod label with the name of its variant.
pub const VARIANT_LABEL: &str = "llm-d.ai/variant";
/// Pod label with its accelerator, which tells variants apart where nothing names them.
pub const ACCELERATOR_LABEL: &str = "inference.optimization/acceleratorName";

/// Names of variants; the place of a name is its number, and stays it.
#[derive(Debug, Default)]
pub struct Variants(Mutex<Vec<String>>);

impl Variants {
    fn names(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the variant that a pod's labels name; `None` where they name none.
    #[must_use]
    pub fn of_labels(&self, labels: &BTreeMap<String, String>) -> Option<u32> {
        let named = labels.get(VARIANT_LABEL).or(labels.get(ACCELERATOR_LABEL));
        named
            .filter(|name| !name.is_empty())
            .map(|name| self.number(name))
    }

    /// The number of a name; a new one for a new name.
    #[must_use]
    pub fn number(&self, name: &str) -> u32 {
        let mut names = self.names();
        let place = names.iter().position(|n| n == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        u32::try_from(place).expect("fewer variants than pods")
    }

    /// All names so far, by number.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.names().clone()
    }
}
