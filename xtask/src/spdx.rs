//! SPDX licence expressions: is there a way to meet one with the licences we accept?
//!
//! The grammar, loosest binding first: `A OR B`, `A AND B`, `A WITH exception`, parentheses. Old crates write
//! `MIT/Apache-2.0` for OR. A whole SPDX crate would bring the list of every licence there is; we only ever
//! compare with a short list of our own, so reading the expression is all that is needed.

use std::fmt;

/// Why an expression cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum SpdxError {
    /// It ends where a licence or a parenthesis is due.
    Incomplete,
    /// This word stands where it makes no sense.
    Unexpected(String),
}

impl fmt::Display for SpdxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => write!(f, "the expression is incomplete"),
            Self::Unexpected(word) => write!(f, "{word:?} is out of place"),
        }
    }
}

/// Whether the expression can be met by choosing among the accepted licences.
///
/// A licence with an exception counts as `"Apache-2.0 WITH LLVM-exception"`, and is also met where the licence
/// alone is accepted: an exception only grants more. A trailing `+` (or later) is met by the version named.
pub fn satisfiable(expression: &str, accepted: &[&str]) -> Result<bool, SpdxError> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut reader = Reader {
        words: spaced.split_whitespace().collect(),
        next: 0,
        accepted,
    };
    let met = reader.any_of()?;
    match reader.peek() {
        None => Ok(met),
        Some(word) => Err(SpdxError::Unexpected(word.to_owned())),
    }
}

struct Reader<'a> {
    words: Vec<&'a str>,
    next: usize,
    accepted: &'a [&'a str],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    /// Steps over the word if it comes next.
    fn takes(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|w| w == word);
        self.next += usize::from(found);
        found
    }

    fn word(&mut self) -> Result<&'a str, SpdxError> {
        let word = self.peek().ok_or(SpdxError::Incomplete)?;
        self.next += 1;
        Ok(word)
    }

    fn any_of(&mut self) -> Result<bool, SpdxError> {
        let mut met = self.all_of()?;
        while self.takes("OR") {
            met |= self.all_of()?;
        }
        Ok(met)
    }

    fn all_of(&mut self) -> Result<bool, SpdxError> {
        let mut met = self.one()?;
        while self.takes("AND") {
            met &= self.one()?;
        }
        Ok(met)
    }

    fn one(&mut self) -> Result<bool, SpdxError> {
        if self.takes("(") {
            let met = self.any_of()?;
            let close = self.word()?;
            return match close {
                ")" => Ok(met),
                _ => Err(SpdxError::Unexpected(close.to_owned())),
            };
        }
        let licence = self.identifier()?;
        let licence = licence.strip_suffix('+').unwrap_or(licence);
        let mut met = self.accepts(licence);
        if self.takes("WITH") {
            let exception = self.identifier()?;
            met |= self.accepts(&format!("{licence} WITH {exception}"));
        }
        Ok(met)
    }

    fn identifier(&mut self) -> Result<&'a str, SpdxError> {
        let word = self.word()?;
        let operator = ["AND", "OR", "WITH", "(", ")"].contains(&word);
        let legal = |c: char| c.is_ascii_alphanumeric() || "-.+:".contains(c);
        if operator || !word.chars().all(legal) {
            return Err(SpdxError::Unexpected(word.to_owned()));
        }
        Ok(word)
    }

    fn accepts(&self, licence: &str) -> bool {
        self.accepted.contains(&licence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPTED: &[&str] = &[
        "MIT",
        "Apache-2.0",
        "BSD-3-Clause",
        "GPL-2.0 WITH classpath",
    ];

    fn met(expression: &str) -> bool {
        satisfiable(expression, ACCEPTED).unwrap()
    }

    #[test]
    fn single_licences() {
        assert!(met("MIT") && met(" MIT ") && met("Apache-2.0+"));
        assert!(!met("GPL-3.0-only") && !met("mit") && !met("GPL-2.0+"));
    }

    #[test]
    fn or_needs_one_and_needs_all() {
        assert!(met("GPL-3.0-only OR MIT") && met("MIT OR Apache-2.0 OR LGPL-2.1-or-later"));
        assert!(!met("GPL-3.0-only OR AGPL-3.0-only"));
        assert!(met("MIT AND BSD-3-Clause"));
        assert!(!met("MIT AND GPL-3.0-only"));
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(met("MIT OR GPL-3.0-only AND AGPL-3.0-only"));
        assert!(!met("(MIT OR GPL-3.0-only) AND AGPL-3.0-only"));
        assert!(met("(MIT OR Apache-2.0) AND BSD-3-Clause"));
        assert!(met("((MIT))"));
    }

    #[test]
    fn an_exception_grants_more_but_is_never_assumed() {
        assert!(met("Apache-2.0 WITH LLVM-exception"));
        assert!(met("GPL-2.0 WITH classpath"));
        assert!(!met("GPL-2.0") && !met("GPL-2.0 WITH other"));
        assert!(!met("GPL-2.0 WITH other AND MIT"));
    }

    #[test]
    fn the_old_slash_is_or() {
        assert!(met("GPL-3.0/MIT") && met("Apache-2.0 / MIT"));
        assert!(!met("GPL-3.0/AGPL-3.0"));
    }

    #[test]
    fn nonsense_is_an_error_not_a_pass() {
        let error = |text: &str| satisfiable(text, ACCEPTED).unwrap_err();
        assert_eq!(error(""), SpdxError::Incomplete);
        assert_eq!(error("MIT OR"), SpdxError::Incomplete);
        assert_eq!(error("(MIT"), SpdxError::Incomplete);
        assert_eq!(error("MIT)"), SpdxError::Unexpected(")".to_owned()));
        assert_eq!(
            error("MIT Apache-2.0"),
            SpdxError::Unexpected("Apache-2.0".to_owned())
        );
        assert_eq!(error("AND MIT"), SpdxError::Unexpected("AND".to_owned()));
        assert_eq!(error("MIT, ISC"), SpdxError::Unexpected("MIT,".to_owned()));
        assert_eq!(error("MIT WITH OR"), SpdxError::Unexpected("OR".to_owned()));
    }
}
