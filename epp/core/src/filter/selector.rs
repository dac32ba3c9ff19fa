//! Label selectors, as Kubernetes has them.

use std::collections::BTreeMap;

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// The label has one of these values.
    In(String, Vec<String>),
    /// The label has none of these values, or is absent.
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// The label is not there.
    DoesNotExist(String),
    /// The label has one of these values, or is absent.
    InOrAbsent(String, Vec<String>),
}

/// Conditions that must all hold; none holds for everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// The conditions.
    pub requirements: Vec<Requirement>,
}

impl Selector {
    /// Whether the labels fulfil every condition.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|r| r.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
            Self::InOrAbsent(key, values) => labels.get(key).is_none_or(|v| values.contains(v)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_as_in_kubernetes() {
        let labels = BTreeMap::from([("role".to_owned(), "decode".to_owned())]);
        let yes = |r: Requirement| {
            Selector {
                requirements: vec![r],
            }
            .matches(&labels)
        };
        let key = || "role".to_owned();
        let values = |v: &str| vec![v.to_owned()];
        assert!(yes(Requirement::In(key(), values("decode"))));
        assert!(!yes(Requirement::In(key(), values("prefill"))));
        assert!(yes(Requirement::NotIn("zone".to_owned(), values("a"))));
        assert!(!yes(Requirement::NotIn(key(), values("decode"))));
        assert!(yes(Requirement::Exists(key())) && !yes(Requirement::DoesNotExist(key())));
        assert!(yes(Requirement::InOrAbsent("zone".to_owned(), values("a"))));
        assert!(Selector::default().matches(&labels));
    }
}
