//! Proposals: what becomes of each object.

use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;
use wva_controllers::index::Kind;

use super::collection::{Collection, Named, SCALERS};
use super::original::Original;
use super::{autoscaling, hpa, keda, settings};

/// What the user chose.
#[derive(Debug, Clone, Copy)]
pub struct Choices<'a> {
    /// HPAs become ScaledObjects.
    pub keda: bool,
    /// Where KEDA finds wva.
    pub scaler_address: &'a str,
    /// Only these; all where empty.
    pub only: &'a [Named],
}

/// What is to be done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Apply the changed object.
    Change,
    /// Apply a new one.
    Create,
    /// Delete it, once the others are applied.
    Remove,
    /// Leave it.
    Keep,
}

/// Something that the user should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Whether something is lost.
    pub lost: bool,
    /// In words.
    pub text: String,
}

/// What becomes of one object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// Kind.
    pub kind: String,
    /// Namespace; empty where none is written, and for objects of the cluster.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The file that it is from; `cluster` otherwise.
    pub origin: String,
    /// What to do.
    pub action: Action,
    /// What is and what is not carried over.
    pub notes: Vec<Note>,
    /// The difference, unified.
    pub diff: String,
    /// The object as it is to be; absent where it is to go or to stay.
    pub yaml: Option<String>,
    /// The same as data.
    #[serde(skip)]
    pub value: Option<Value>,
}

impl Proposal {
    /// The object stays as it is.
    pub fn keep(original: &Original, notes: Vec<Note>) -> Self {
        Self::new(original, Action::Keep, None, notes)
    }

    /// The object is to go.
    pub fn remove(original: &Original, notes: Vec<Note>) -> Self {
        Self::new(original, Action::Remove, None, notes)
    }

    /// The object is to become this; kept where that is the same.
    pub fn change(original: &Original, value: Value, notes: Vec<Note>) -> Self {
        if value == original.value {
            return Self::keep(original, notes);
        }
        Self::new(original, Action::Change, Some(value), notes)
    }

    /// A new object, because of an old one.
    pub fn create(because_of: &Original, value: Value, notes: Vec<Note>) -> Self {
        let read = Original::read(value.clone(), &because_of.origin);
        let mut original = read.unwrap_or_else(|| because_of.clone());
        original.value = Value::Null;
        Self::new(&original, Action::Create, Some(value), notes)
    }

    fn new(original: &Original, action: Action, value: Option<Value>, notes: Vec<Note>) -> Self {
        let before = if original.value.is_null() {
            String::new()
        } else {
            yaml(&original.value)
        };
        let after = value.as_ref().map(yaml);
        let diff = match action {
            Action::Keep => String::new(),
            _ => difference(original, &before, after.as_deref().unwrap_or_default()),
        };
        Self {
            kind: original.kind.names().1.to_owned(),
            namespace: original.namespace.clone(),
            name: original.name.clone(),
            origin: original.origin.clone(),
            action,
            notes,
            diff,
            yaml: after,
            value,
        }
    }
}

/// An object as YAML.
pub fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}

fn difference(original: &Original, before: &str, after: &str) -> String {
    let name = format!("{}/{}", original.kind.names().2, original.name);
    let side = |text: &str, side: &str| {
        if text.is_empty() {
            "/dev/null".to_owned()
        } else {
            format!("{side}/{name}")
        }
    };
    TextDiff::from_lines(before, after)
        .unified_diff()
        .header(&side(before, "a"), &side(after, "b"))
        .to_string()
}

/// Notes as they are made.
#[derive(Debug, Default)]
pub struct Notes(pub Vec<Note>);

impl Notes {
    /// Something is carried over, or worth knowing.
    pub fn told(&mut self, text: impl Into<String>) {
        self.add(false, text.into());
    }

    /// Something is not carried over.
    pub fn lost(&mut self, text: impl Into<String>) {
        self.add(true, text.into());
    }

    fn add(&mut self, lost: bool, text: String) {
        self.0.push(Note { lost, text });
    }
}

/// One proposal per object that means something: settings first, then scalers, then what becomes superfluous.
pub fn propose(collection: &Collection, choices: &Choices<'_>) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    if choices.only.is_empty() {
        proposals.extend(settings::propose(collection));
    }
    for kind in [
        Kind::HorizontalPodAutoscaler,
        Kind::ScaledObject,
        Kind::VariantAutoscaling,
    ] {
        debug_assert!(SCALERS.contains(&kind));
        for object in collection
            .of(kind)
            .filter(|o| collection.means(o, choices.only))
        {
            proposals.extend(match kind {
                Kind::HorizontalPodAutoscaler if choices.keda => {
                    keda::from_hpa(collection, object, choices)
                }
                Kind::HorizontalPodAutoscaler => vec![hpa::propose(collection, object)],
                Kind::ScaledObject => vec![keda::propose(collection, object, choices)],
                _ => autoscaling::propose(collection, object),
            });
        }
    }
    proposals
}
