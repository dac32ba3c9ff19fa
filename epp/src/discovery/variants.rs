//! Numbers for the variants that endpoints are of, so that fitted latency models can be attached to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pod label with the name of its variant.
pub const VARIANT_LABEL: &str = "llm-d.ai/variant";
/// Pod label with its accelerator, which tells variants apart where nothing names them.
pub const ACCELERATOR_LABEL: &str = "inference.optimization/acceleratorName";

/// Names of variants, each with its number, which it keeps. A variant may have several names.
#[derive(Debug, Default)]
pub struct Variants(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    /// The first name of each, by number.
    first: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        let number = u32::try_from(self.first.len()).expect("fewer variants than pods");
        self.first.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

impl Variants {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the variant that a pod's labels name, or that its workload is; `None` where nothing tells.
    #[must_use]
    pub fn of_pod(&self, labels: &BTreeMap<String, String>, workload: Option<&str>) -> Option<u32> {
        let label = |key: &str| labels.get(key).map(String::as_str);
        let named = label(VARIANT_LABEL)
            .or(workload)
            .or(label(ACCELERATOR_LABEL));
        named
            .filter(|name| !name.is_empty())
            .map(|name| self.number(name))
    }

    /// The number of a name; a new one for a new name.
    #[must_use]
    pub fn number(&self, name: &str) -> u32 {
        self.names().number(name)
    }

    /// The numbers of one variant that has all of these names: one, unless pods were told apart by them before.
    #[must_use]
    pub fn numbers_of<'a>(&self, known_as: impl IntoIterator<Item = &'a str>) -> Vec<u32> {
        let mut names = self.names();
        let known_as: Vec<&str> = known_as.into_iter().filter(|n| !n.is_empty()).collect();
        let known = known_as.iter().filter_map(|n| names.numbers.get(*n));
        let mut numbers: Vec<u32> = known.copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        if let ([], Some(name)) = (numbers.as_slice(), known_as.first()) {
            numbers.push(names.number(name));
        }
        for name in known_as {
            names.numbers.entry(name.to_owned()).or_insert(numbers[0]);
        }
        numbers
    }

    /// The first names of all so far, by number.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.names().first.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_with_two_names_has_one_number() {
        let variants = Variants::default();
        let pods = variants.of_pod(&BTreeMap::new(), Some("server"));
        assert_eq!(pods, Some(0));
        assert_eq!(variants.numbers_of(["hpa", "server"]), [0]);
        assert_eq!((variants.number("hpa"), variants.number("server")), (0, 0));
        assert_eq!(variants.numbers_of(["new", ""]), [1]);
        let apart = variants.number("late");
        assert_eq!(variants.numbers_of(["hpa", "late"]), [0, apart]);
        assert_eq!(variants.numbers_of(["", ""]), [0; 0]);
    }
}
