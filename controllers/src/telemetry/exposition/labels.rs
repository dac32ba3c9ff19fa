//! Labels between braces.

use std::borrow::Cow;

use super::LabelSet;

/// The labels of one series: a slice of the page, checked once, taken apart when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Labels<'a>(&'a str);

impl<'a> Labels<'a> {
    /// Cuts the labels off `text`, which begins just after the opening brace, and gives back what follows the closing one;
    /// `None` when they are malformed.
    pub(super) fn cut(text: &'a str) -> Option<(Self, &'a str)> {
        let bytes = text.as_bytes();
        let mut at = 0;
        loop {
            at += blanks(&bytes[at..]);
            if *bytes.get(at)? == b'}' {
                return Some((Self(&text[..at]), &text[at + 1..]));
            }
            let name = bytes[at..].iter().position(|b| !is_name(*b))?;
            at += name;
            at += blanks(&bytes[at..]);
            if name == 0 || *bytes.get(at)? != b'=' {
                return None;
            }
            at += 1;
            at += blanks(&bytes[at..]);
            if *bytes.get(at)? != b'"' {
                return None;
            }
            at += 1 + quoted(&bytes[at + 1..])?;
            at += blanks(&bytes[at..]);
            match *bytes.get(at)? {
                b',' => at += 1,
                b'}' => {}
                _ => return None,
            }
        }
    }

    /// Label names and values, in order.
    #[must_use]
    pub const fn pairs(self) -> Pairs<'a> {
        Pairs(self.0)
    }

    /// The text between the braces.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The value of the label `name`; an empty value counts as absent.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.pairs()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
            .filter(|v| !v.is_empty())
    }
}

impl LabelSet for Labels<'_> {
    fn label(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name)
    }
}

/// Iterator over label names and values.
#[derive(Debug, Clone)]
pub struct Pairs<'a>(&'a str);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start_matches([' ', '\t', ',']);
        let (name, rest) = text.split_once('=')?;
        let value = rest.trim_start_matches([' ', '\t']).strip_prefix('"')?;
        let end = quoted(value.as_bytes())?;
        self.0 = &value[end..];
        Some((
            name.trim_end_matches([' ', '\t']),
            unescaped(&value[..end - 1]),
        ))
    }
}

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn blanks(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count()
}

/// Length up to and with the closing quote.
fn quoted(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// `\\`, `\"` and `\n` resolved; any other escape stays as it is.
fn unescaped(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some(c @ ('"' | '\\')) => out.push(c),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    Cow::Owned(out)
}
