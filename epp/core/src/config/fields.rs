//! Reading a map key by key: what was not asked for is unknown, and an error says so.

use wva_models::catalogue::names::nearest;
use wva_models::catalogue::{Place, Spanned};

use super::ConfigError;
use super::duration::{quantity, seconds};
use super::tree::{At, Tree};

/// A map that is read key by key; what was not asked for is unknown.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    entries: Vec<(At<String>, At<Tree>)>,
    asked: Vec<&'static str>,
    pub(super) origin: String,
    /// What the map is, for errors.
    pub(super) of: String,
    pub(super) place: Place,
}

impl Fields {
    pub(super) fn of(tree: Tree, origin: &str, of: &str) -> Result<Self, ConfigError> {
        let place = Place::at(origin, 1, 1);
        Self::at(At { value: tree, place }, origin, of)
    }

    pub(super) fn at(tree: At<Tree>, origin: &str, of: &str) -> Result<Self, ConfigError> {
        let at = |l: &serde_saphyr::Location| Place::at(origin, l.line(), l.column());
        let entries = match tree.value {
            Tree::Null => Vec::new(),
            Tree::Map(entries) => entries
                .into_iter()
                .map(|(key, value)| {
                    let place = at(&key.referenced);
                    let value = At {
                        place: at(&value.referenced),
                        value: value.value,
                    };
                    (
                        At {
                            value: key.value,
                            place,
                        },
                        value,
                    )
                })
                .collect(),
            _ => return Err(tree.wrong(of, "a map")),
        };
        let (origin, of) = (origin.to_owned(), of.to_owned());
        Ok(Self {
            entries,
            asked: Vec::new(),
            origin,
            of,
            place: tree.place,
        })
    }

    /// No keys at all.
    pub(super) fn empty(of: &str, place: Place) -> Self {
        let origin = place.origin.to_string();
        Self {
            entries: Vec::new(),
            asked: Vec::new(),
            origin,
            of: of.to_owned(),
            place,
        }
    }

    /// The value of a key, if there is one that is not null.
    pub(super) fn take(&mut self, key: &'static str) -> Option<At<Tree>> {
        self.asked.push(key);
        let at = self.entries.iter().position(|(k, _)| k.value == key)?;
        let (_, value) = self.entries.remove(at);
        (!matches!(value.value, Tree::Null)).then_some(value)
    }

    pub(super) fn ignore(&mut self, key: &'static str) {
        self.take(key);
    }

    /// Leaves everything unread.
    pub(super) fn ignore_all(&mut self) {
        self.entries.clear();
    }

    pub(super) fn missing(&self, key: &'static str) -> ConfigError {
        ConfigError::Missing {
            place: self.place.clone(),
            of: self.of.clone(),
            key,
        }
    }

    pub(super) fn optional_text(
        &mut self,
        key: &'static str,
    ) -> Result<Option<At<String>>, ConfigError> {
        self.take(key).map(|v| v.into_text(key)).transpose()
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<At<String>, ConfigError> {
        self.optional_text(key)?.ok_or_else(|| self.missing(key))
    }

    /// The name of a header, in lower case.
    pub(super) fn header(
        &mut self,
        key: &'static str,
        default: &str,
    ) -> Result<String, ConfigError> {
        let name = self.optional_text(key)?;
        Ok(name.map_or_else(|| default.to_owned(), |n| n.value.to_lowercase()))
    }

    /// A number between `low` and `high`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        default: f64,
        low: f64,
        high: f64,
    ) -> Result<f64, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(default);
        };
        match value.value {
            Tree::Number(x) if (low..=high).contains(&x) => Ok(x),
            _ if high == f64::MAX => Err(value.wrong(key, &format!("a number of at least {low}"))),
            _ => Err(value.wrong(key, &format!("a number from {low} to {high}"))),
        }
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(default);
        };
        match value.value {
            Tree::Flag(flag) => Ok(flag),
            _ => Err(value.wrong(key, "true or false")),
        }
    }

    /// A duration such as `1m30s` in seconds.
    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let read = match &value.value {
            Tree::Text(text) => seconds(text),
            Tree::Number(zero) if *zero == 0.0 => Some(0.0),
            _ => None,
        };
        read.map(Some)
            .ok_or_else(|| value.wrong(key, "a duration such as 500ms or 1m30s"))
    }

    /// A Kubernetes quantity such as `1Gi`.
    pub(super) fn quantity(&mut self, key: &'static str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let read = match &value.value {
            Tree::Number(number) if *number >= 0.0 && number.is_finite() => Some(*number),
            Tree::Text(text) => quantity(text),
            _ => None,
        };
        read.map(Some)
            .ok_or_else(|| value.wrong(key, "a quantity such as 100, 5k or 1Gi"))
    }

    pub(super) fn optional_fields(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Self>, ConfigError> {
        self.take(key)
            .map(|v| v.into_fields(&self.origin, key))
            .transpose()
    }

    /// The items of a list; none where the key is absent.
    pub(super) fn list(&mut self, key: &'static str) -> Result<Vec<At<Tree>>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(Vec::new());
        };
        let Tree::List(items) = value.value else {
            return Err(value.wrong(key, "a list"));
        };
        let place =
            |s: &Spanned<Tree>| Place::at(&self.origin, s.referenced.line(), s.referenced.column());
        Ok(items
            .into_iter()
            .map(|s| At {
                place: place(&s),
                value: s.value,
            })
            .collect())
    }

    /// The items of a list of maps.
    pub(super) fn maps(&mut self, key: &'static str, of: &str) -> Result<Vec<Self>, ConfigError> {
        let items = self.list(key)?;
        items
            .into_iter()
            .map(|i| i.into_fields(&self.origin, of))
            .collect()
    }

    /// The entries of a map of texts.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(String, String)>, ConfigError> {
        let Some(fields) = self.optional_fields(key)? else {
            return Ok(Vec::new());
        };
        let entry = |(k, v): (At<String>, At<Tree>)| Ok((k.value, v.into_text(key)?.value));
        fields.entries.into_iter().map(entry).collect()
    }

    /// An error for the first key that was not asked for.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let Some((key, _)) = self.entries.into_iter().next() else {
            return Ok(());
        };
        let nearest = nearest(&key.value, self.asked, str::to_lowercase).map(str::to_owned);
        Err(ConfigError::UnknownKey {
            place: key.place,
            of: self.of,
            key: key.value,
            nearest,
        })
    }
}
