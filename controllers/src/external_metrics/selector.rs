//! Label selectors, as the API server reads them.
//!
//! ```text
//! selector    = "" | requirement { "," requirement }
//! requirement = key | "!" key | key ("=" | "==" | "!=") [value] | key ("in" | "notin") "(" [value] { "," [value] } ")"
//!             | key (">" | "<") integer
//! ```
//! Blanks separate words; `in` and `notin` are operators only where an operator stands, so that a label may be called `in`.
//! The grammar has no escapes: keys and values that would need them are not valid labels and are refused, as upstream.

use std::collections::BTreeSet;
use std::fmt;

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Something else should stand there.
    #[error("found {found:?}, expected {expected}")]
    Unexpected {
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// The key is not a label key.
    #[error(
        "{0:?} is not a label key: [prefix/]name, letters, digits, '-', '_', '.', at most 63 characters"
    )]
    Key(String),
    /// The value is not a label value.
    #[error("{0:?} is not a label value: letters, digits, '-', '_', '.', at most 63 characters")]
    Value(String),
    /// `<` and `>` compare integers.
    #[error("{0:?} is not an integer")]
    Integer(String),
}

/// What a selector asks of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is there.
    Exists,
    /// It is not there.
    Absent,
    /// It is there with one of these values.
    In(BTreeSet<String>),
    /// It is not there, or has another value.
    NotIn(BTreeSet<String>),
    /// It is there with an integer above this one.
    Above(i64),
    /// It is there with an integer below this one.
    Below(i64),
}

/// A condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// What it must fulfil.
    pub condition: Condition,
}

/// Requirements that all must hold; none holds for everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector(pub Vec<Requirement>);

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// [`SelectorError`] when the text is not one.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser {
            words: words(text),
            next: 0,
        };
        let mut requirements = Vec::new();
        if parser.peek().is_none() {
            return Ok(Self(requirements));
        }
        loop {
            requirements.push(parser.requirement()?);
            match parser.take() {
                None => return Ok(Self(requirements)),
                Some(",") => {}
                other => return Err(unexpected(other, "',' or the end")),
            }
        }
    }

    /// Whether the labels that `label` looks up fulfil it.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = label(&requirement.key);
            match &requirement.condition {
                Condition::Exists => value.is_some(),
                Condition::Absent => value.is_none(),
                Condition::In(set) => value.is_some_and(|v| set.contains(v)),
                Condition::NotIn(set) => value.is_none_or(|v| !set.contains(v)),
                Condition::Above(bound) => integer(value).is_some_and(|v| v > *bound),
                Condition::Below(bound) => integer(value).is_some_and(|v| v < *bound),
            }
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list =
            |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match &self.condition {
            Condition::Exists => write!(f, "{key}"),
            Condition::Absent => write!(f, "!{key}"),
            Condition::In(set) => write!(f, "{key} in ({})", list(set)),
            Condition::NotIn(set) => write!(f, "{key} notin ({})", list(set)),
            Condition::Above(bound) => write!(f, "{key}>{bound}"),
            Condition::Below(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

/// Symbols and the words between them.
fn words(text: &str) -> Vec<&str> {
    let special = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
    let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut rest = text.trim_start_matches(blank);
    let mut words = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = if special(first) {
            SYMBOLS
                .iter()
                .find(|symbol| rest.starts_with(**symbol))
                .map_or(1, |symbol| symbol.len())
        } else {
            rest.find(|c| special(c) || blank(c)).unwrap_or(rest.len())
        };
        let (word, after) = rest.split_at(length);
        words.push(word);
        rest = after.trim_start_matches(blank);
    }
    words
}

struct Parser<'a> {
    words: Vec<&'a str>,
    next: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    fn take(&mut self) -> Option<&'a str> {
        let word = self.peek();
        self.next += 1;
        word
    }

    /// The next word where it is no symbol.
    fn word(&mut self) -> Option<&'a str> {
        let word = self
            .peek()
            .filter(|w| !w.starts_with(['=', '!', '(', ')', ',', '>', '<']))?;
        self.next += 1;
        Some(word)
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let absent = self.peek() == Some("!");
        if absent {
            self.next += 1;
        }
        let key = self
            .word()
            .ok_or_else(|| unexpected(self.peek(), "a label key"))?;
        if !is_key(key) {
            return Err(SelectorError::Key(key.into()));
        }
        let condition = match self.peek() {
            _ if absent => Condition::Absent,
            None | Some(",") => Condition::Exists,
            Some(operator) => {
                self.next += 1;
                self.condition(operator)?
            }
        };
        Ok(Requirement {
            key: key.into(),
            condition,
        })
    }

    fn condition(&mut self, operator: &'a str) -> Result<Condition, SelectorError> {
        match operator {
            "=" | "==" => Ok(Condition::In(self.single()?.into())),
            "!=" => Ok(Condition::NotIn(self.single()?.into())),
            "in" => self.set().map(Condition::In),
            "notin" => self.set().map(Condition::NotIn),
            ">" => self.bound().map(Condition::Above),
            "<" => self.bound().map(Condition::Below),
            other => Err(unexpected(Some(other), "one of = == != in notin > <")),
        }
    }

    /// One value, which may be empty.
    fn single(&mut self) -> Result<[String; 1], SelectorError> {
        match self.peek() {
            None | Some(",") => Ok([String::new()]),
            found => {
                let value = self.word().ok_or_else(|| unexpected(found, "a value"))?;
                Ok([checked_value(value)?])
            }
        }
    }

    fn bound(&mut self) -> Result<i64, SelectorError> {
        let [value] = self.single()?;
        value.parse().map_err(|_| SelectorError::Integer(value))
    }

    fn set(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        match self.take() {
            Some("(") => {}
            other => return Err(unexpected(other, "'('")),
        }
        let mut set = BTreeSet::new();
        loop {
            set.insert(checked_value(self.word().unwrap_or_default())?);
            match self.take() {
                Some(")") => return Ok(set),
                Some(",") => {}
                other => return Err(unexpected(other, "',' or ')'")),
            }
        }
    }
}

fn unexpected(found: Option<&str>, expected: &'static str) -> SelectorError {
    SelectorError::Unexpected {
        found: found.unwrap_or_default().into(),
        expected,
    }
}

fn integer(value: Option<&str>) -> Option<i64> {
    value?.parse().ok()
}

fn checked_value(value: &str) -> Result<String, SelectorError> {
    if value.is_empty() || is_name(value) {
        Ok(value.into())
    } else {
        Err(SelectorError::Value(value.into()))
    }
}

/// `[prefix/]name`, the prefix a DNS subdomain.
fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
    }
}

/// 1 to 63 letters, digits, `-`, `_` and `.`, the first and the last a letter or digit.
fn is_name(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    name.len() <= 63 && name.bytes().all(inner) && ends_are_alphanumeric(name)
}

fn is_subdomain(text: &str) -> bool {
    let label = |part: &str| {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        part.bytes().all(inner) && ends_are_alphanumeric(part)
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn ends_are_alphanumeric(text: &str) -> bool {
    let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    alphanumeric(text.chars().next()) && alphanumeric(text.chars().last())
}
