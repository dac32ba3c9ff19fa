//! Rust source told apart into code, comments and literals, and into tests and the rest.
//!
//! The rules in `sizes` are about words in the code, so a word in a comment or in a string must not count.
//! This reads just enough of the language for that. A real parser (syn) would take longer to compile than all
//! the other recipes together; a search for plain text would cry wolf.

use std::ops::Range;

/// What a byte of the source belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// A source file, taken apart. Both texts have the lines of the original: what does not belong is blank.
pub struct Source {
    /// The code alone, without tests, comments and the inside of literals.
    pub code: String,
    /// The comments alone, those in tests too.
    pub comments: String,
    /// How many lines lie outside `#[cfg(test)]` and `#[test]` items.
    pub lines: usize,
}

impl Source {
    /// Takes a file apart. Text that is not Rust gives some answer too: it does not compile anyway.
    pub fn new(text: &str) -> Self {
        let kinds = kinds(text.as_bytes());
        let code = only(Kind::Code, text, &kinds);
        let tests = test_items(code.as_bytes());
        let mut bytes = code.into_bytes();
        for range in &tests {
            blank(&mut bytes[range.clone()]);
        }
        let in_tests = |r: &Range<usize>| text[r.clone()].matches('\n').count();
        Self {
            code: String::from_utf8_lossy(&bytes).into_owned(),
            comments: only(Kind::Comment, text, &kinds),
            lines: text.lines().count() - tests.iter().map(in_tests).sum::<usize>(),
        }
    }
}

/// The lines (counted from 1) of `text` where `word` begins, unless it is the end of a longer word.
pub fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let starts_name = word.starts_with(is_name);
    text.match_indices(word)
        .filter(|(at, _)| !(starts_name && text[..*at].ends_with(is_name)))
        .map(|(at, _)| text[..at].matches('\n').count() + 1)
        .collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text with everything blank that is not of this kind.
fn only(kind: Kind, text: &str, kinds: &[Kind]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (byte, k) in bytes.iter_mut().zip(kinds) {
        if *k != kind {
            blank(std::slice::from_mut(byte));
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|b| **b != b'\n') {
        *byte = b' ';
    }
}

fn kinds(text: &[u8]) -> Vec<Kind> {
    let mut kinds = vec![Kind::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let (end, kind) = token(text, at).unwrap_or((at + 1, Kind::Code));
        let end = end.min(text.len());
        kinds[at..end].fill(kind);
        at = end;
    }
    kinds
}

/// Where the comment or literal that begins here ends; `None` if none begins here.
fn token(text: &[u8], at: usize) -> Option<(usize, Kind)> {
    let rest = &text[at..];
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        return Some((at + length, Kind::Comment));
    }
    if rest.starts_with(b"/*") {
        return Some((at + block_comment(rest), Kind::Comment));
    }
    let length = match rest[0] {
        b'r' => raw_string(text, at),
        b'"' => Some(quoted(rest, b'"')),
        b'\'' => character(rest),
        _ => None,
    };
    length.map(|n| (at + n, Kind::Literal))
}

/// The length of a block comment; they nest.
fn block_comment(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a literal in quotes, with escapes.
fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of `r"…"`, `r#"…"#` and so on; `b` and `c` before the `r` are taken for code.
fn raw_string(text: &[u8], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map_or(b' ', |i| text[i]);
    let prefixed = matches!(before, b'b' | b'c');
    if (before.is_ascii_alphanumeric() || before == b'_') && !prefixed {
        return None;
    }
    let rest = &text[at..];
    let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = 2 + hashes;
    let length = rest[body..]
        .windows(close.len())
        .position(|w| w == close)
        .map_or(rest.len(), |n| body + n + close.len());
    Some(length)
}

/// The length of a character literal; `None` for a lifetime.
fn character(text: &[u8]) -> Option<usize> {
    let first = *text.get(1)?;
    if first == b'\\' {
        return Some(quoted(text, b'\''));
    }
    let width = match first {
        0..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        _ => 4,
    };
    (text.get(1 + width) == Some(&b'\'')).then_some(2 + width)
}

/// Where the items for tests lie, with their attribute. Expects code alone.
fn test_items(code: &[u8]) -> Vec<Range<usize>> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let Some(attribute) = test_attribute(&code[at..]) else {
            at += 1;
            continue;
        };
        let end = match code[at + 1] {
            b'!' => code.len(),
            _ => at + attribute + item(&code[at + attribute..]),
        };
        items.push(at..end);
        at = end;
    }
    items
}

/// The length of an attribute for tests that begins here.
fn test_attribute(code: &[u8]) -> Option<usize> {
    if !(code.starts_with(b"#[") || code.starts_with(b"#![")) {
        return None;
    }
    let length = group(code)?;
    let inside: String = code[..length]
        .iter()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|&b| char::from(b))
        .collect();
    let inside = inside.trim_start_matches(['#', '!', '[']);
    let test =
        inside == "test]" || inside.starts_with("cfg(test)") || inside.starts_with("cfg(all(test,");
    test.then_some(length)
}

/// The length up to the end of the first bracketed group.
fn group(code: &[u8]) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in code.iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The length of an item: up to a semicolon, or to the end of its block.
fn item(code: &[u8]) -> usize {
    let mut at = 0;
    while at < code.len() {
        match code[at] {
            b';' => return at + 1,
            b'{' => return group(&code[at..]).map_or(code.len(), |n| at + n),
            b'(' | b'[' => at += group(&code[at..]).unwrap_or(1),
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let words = Source::new(text).code;
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_blank() {
        assert_eq!(code("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(code("f(\"x \\\" y\") + g"), "f( ) + g");
        assert_eq!(
            code("f(r#\"x \" y\"#, br\"z\") + r#type"),
            "f( , b ) + r#type"
        );
        assert_eq!(code("f('\"', '\\'', 'é') + \"x\""), "f( , , ) +");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("var\"x\" y"), "var y");
    }

    #[test]
    fn comments_are_kept_apart() {
        let source = Source::new("let a = \"// no\"; // yes\n/* and */ b");
        let words: Vec<_> = source.comments.split_whitespace().collect();
        assert_eq!(words, ["//", "yes", "/*", "and", "*/"]);
    }

    #[test]
    fn test_items_are_left_out_and_not_counted() {
        let text = "fn a() {}\n#[cfg(test)]\n#[rustfmt::skip]\nmod tests {\n  fn b() { \"}\" }\n}\nfn c() {}\n";
        assert_eq!(code(text), "fn a() {} fn c() {}");
        assert_eq!(Source::new(text).lines, 3);
        assert_eq!(code("#[cfg(test)] mod tests; fn a() {}"), "fn a() {}");
        assert_eq!(code("#[cfg(all(test, unix))] use x::{a}; b"), "; b");
        assert_eq!(code("#[test] fn t(x: [u8; 2]) { x } b"), "b");
        assert_eq!(code("#![cfg(test)] fn a() {}"), "");
    }

    #[test]
    fn other_attributes_stay() {
        let text = "#[cfg(not(test))] fn a() {} #[derive(Debug)] struct B;";
        assert_eq!(code(text), text);
    }

    #[test]
    fn half_a_file_is_no_reason_to_panic() {
        for text in [
            "\"",
            "'",
            "r#\"",
            "/*",
            "#[",
            "#[cfg(test)]",
            "#[test] fn {",
            "'\\",
            "é'",
        ] {
            Source::new(text);
        }
    }

    #[test]
    fn words_are_found_by_line_and_not_inside_others() {
        assert_eq!(lines_with("a\nx.go()\n x.go()", ".go()"), [2, 3]);
        assert_eq!(lines_with("todo!()\nmy_todo!()", "todo!"), [1]);
    }
}
