//! Values that remember where they stood.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use wva_models::catalogue::{Place, Spanned};

use super::ConfigError;
use super::fields::Fields;

/// Any YAML.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Null,
    Flag(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyTree)
    }
}

struct AnyTree;

impl<'de> Visitor<'de> for AnyTree {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}

impl Tree {
    fn found(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("`{}`", text.chars().take(60).collect::<String>()),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }
}

/// A value and where it stood.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub value: T,
    pub place: Place,
}

impl At<String> {
    pub(super) fn wrong(&self, key: &str, expected: &str) -> ConfigError {
        ConfigError::Wrong {
            place: self.place.clone(),
            key: key.to_owned(),
            expected: expected.to_owned(),
            found: format!("`{}`", self.value),
        }
    }
}

impl At<Tree> {
    pub(super) fn wrong(&self, key: &str, expected: &str) -> ConfigError {
        let found = self.value.found();
        let (key, expected) = (key.to_owned(), expected.to_owned());
        ConfigError::Wrong {
            place: self.place.clone(),
            key,
            expected,
            found,
        }
    }

    pub(super) fn into_text(self, key: &str) -> Result<At<String>, ConfigError> {
        match self.value {
            Tree::Text(text) => Ok(At {
                value: text,
                place: self.place,
            }),
            Tree::Number(number) => Ok(At {
                value: number.to_string(),
                place: self.place,
            }),
            Tree::Flag(flag) => Ok(At {
                value: flag.to_string(),
                place: self.place,
            }),
            _ => Err(self.wrong(key, "text")),
        }
    }

    pub(super) fn into_fields(self, origin: &str, of: &str) -> Result<Fields, ConfigError> {
        Fields::at(self, origin, of)
    }
}
