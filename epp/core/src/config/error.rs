//! Why a text is not a configuration: where, what, and what to do about it.

use wva_models::catalogue::{CatalogueError, Place};

/// Why. The message reads `file:line:column: what is wrong; what to do`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// Not YAML, or too much of it.
    #[error(transparent)]
    Text(#[from] CatalogueError),
    /// A key that is not known here.
    #[error("{place}: {of} has no `{key}`{}", hint(.nearest.as_deref()))]
    UnknownKey {
        /// Where.
        place: Place,
        /// What it stands in.
        of: String,
        /// The key.
        key: String,
        /// The known key that is spelled most alike.
        nearest: Option<String>,
    },
    /// A key that must be there.
    #[error("{place}: {of} needs `{key}`")]
    Missing {
        /// Where.
        place: Place,
        /// What it is missing in.
        of: String,
        /// The key.
        key: &'static str,
    },
    /// A value of the wrong kind or out of range.
    #[error("{place}: `{key}` must be {expected}, not {found}")]
    Wrong {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A plugin type that nobody knows.
    #[error("{place}: no plugin is called `{name}`{}", hint(.nearest.as_deref()))]
    UnknownPlugin {
        /// Where.
        place: Place,
        /// The name.
        name: String,
        /// The known name that is spelled most alike.
        nearest: Option<String>,
    },
    /// A plugin type of the upstream that does not exist here.
    #[error("{place}: plugin `{name}` is not supported; {instead}")]
    Unsupported {
        /// Where.
        place: Place,
        /// The name.
        name: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// A reference to a plugin that is not listed.
    #[error("{place}: no plugin named `{name}` is listed under `plugins`{}", hint(.nearest.as_deref()))]
    UnknownReference {
        /// Where.
        place: Place,
        /// The name.
        name: String,
        /// The listed name that is spelled most alike.
        nearest: Option<String>,
    },
    /// A reference to a plugin of another kind.
    #[error("{place}: plugin `{name}` is no {wanted}")]
    WrongKind {
        /// Where.
        place: Place,
        /// The name.
        name: String,
        /// What is needed here.
        wanted: &'static str,
    },
    /// Two of what there may be one of.
    #[error("{place}: {what} `{name}` is there twice")]
    Twice {
        /// Where the second is.
        place: Place,
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Profiles and profile handler do not go together.
    #[error("{place}: {problem}")]
    Profiles {
        /// Where.
        place: Place,
        /// What is wrong and what to do.
        problem: &'static str,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!("; did you mean `{n}`?"))
}
