//! A metrics page as its bytes come: lines, and what a line says.
//!
//! A page of a busy engine has some five hundred lines of which six matter. So a line is looked at only as far as its name,
//! where it stands in the piece that came from the network; nothing is collected first, and nothing is copied but the
//! line that a piece breaks off in.

use memchr::{memchr, memchr_iter, memchr2};

/// Longest line that is read. The longest ones are lists of adapters.
const LONGEST_LINE: usize = 64 << 10;

/// Cuts pieces into lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    /// Whether that line is too long to be read.
    overlong: bool,
}

impl Lines {
    /// Hands each line that ends in `piece` to `line`, without its newline. Lines of more than 64 KiB are left out.
    pub fn feed(&mut self, piece: &[u8], mut line: impl FnMut(&[u8])) {
        let mut rest = piece;
        if !self.begun.is_empty() || self.overlong {
            let Some(end) = memchr(b'\n', piece) else {
                return self.begin(piece);
            };
            self.begin(&piece[..end]);
            if !self.overlong {
                line(&self.begun);
            }
            self.restart();
            rest = &piece[end + 1..];
        }
        let mut start = 0;
        for end in memchr_iter(b'\n', rest) {
            if end - start <= LONGEST_LINE {
                line(&rest[start..end]);
            }
            start = end + 1;
        }
        self.begin(&rest[start..]);
    }

    fn begin(&mut self, piece: &[u8]) {
        if self.overlong || self.begun.len() + piece.len() > LONGEST_LINE {
            self.begun.clear();
            self.overlong = true;
        } else {
            self.begun.extend_from_slice(piece);
        }
    }

    /// Forgets a line that has only begun: a page that breaks off may have meant 123 with its 12.
    pub fn restart(&mut self) {
        self.begun.clear();
        self.overlong = false;
    }
}

/// The metric's name and what follows it; `None` for comments and blank lines.
#[must_use]
pub fn name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if matches!(line.first()?, b'#' | b' ' | b'\t' | b'\r') {
        return None;
    }
    let end = memchr2(b'{', b' ', line)?;
    Some(line.split_at(end))
}

/// Labels and value of what follows a name; `None` where it is malformed.
#[must_use]
pub fn sample(rest: &[u8]) -> Option<(Labels<'_>, f64)> {
    let (labels, value) = match rest.strip_prefix(b"{") {
        Some(inside) => {
            let end = closing(inside)?;
            (Labels(&inside[..end]), &inside[end + 1..])
        }
        None => (Labels(b""), rest),
    };
    let mut words = value.split(|b| b.is_ascii_whitespace());
    let word = words.find(|w| !w.is_empty())?;
    // A float as Go writes it: `NaN`, `+Inf`, `1.5e+06`.
    let value = std::str::from_utf8(word).ok()?.parse().ok()?;
    Some((labels, value))
}

/// Where the brace closes that labels stand in: quoted values may have braces in them.
fn closing(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'}', &inside[at..])?;
        if inside[at] == b'}' {
            return Some(at);
        }
        at += 1 + quoted(&inside[at + 1..])? + 1;
    }
}

/// Length of a value up to its closing quote.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// What stands between the braces of a line.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Labels<'a> {
    /// The value of a label as it is written; names of models and adapters have nothing in them that is escaped.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        let mut rest = self.0;
        loop {
            let equals = memchr(b'=', rest)?;
            let key = rest[..equals].trim_ascii();
            let open = equals + 1 + memchr(b'"', &rest[equals + 1..])?;
            let length = quoted(&rest[open + 1..])?;
            if key == name.as_bytes() {
                return std::str::from_utf8(&rest[open + 1..open + 1 + length]).ok();
            }
            rest = &rest[open + 1 + length + 1..];
            rest = rest.trim_ascii_start();
            rest = rest.strip_prefix(b",").unwrap_or(rest);
        }
    }

    /// The value of a label that is a whole number.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    /// The text between the braces.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| all.push(line.to_vec()));
        }
        all
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        assert_eq!(lines(&[b"ab\n\nc\nd"]), [&b"ab"[..], b"", b"c"]);
        assert_eq!(
            lines(&[b"a", b"", b"b\n", b"\nc", b"\n", b"d"]),
            [&b"ab"[..], b"", b"c"]
        );
    }

    #[test]
    fn a_line_without_end_costs_itself_only() {
        let long = vec![b'x'; LONGEST_LINE / 2 + 1];
        let pieces = [&b"a 1\n"[..], &long, &long, &long, b"x\nb 2\n"];
        assert_eq!(lines(&pieces), [&b"a 1"[..], b"b 2"]);
        assert_eq!(lines(&[&pieces.concat()]), [&b"a 1"[..], b"b 2"]);
    }

    #[test]
    fn samples_have_names_labels_and_values() {
        let read = |line: &'static [u8]| {
            let (name, rest) = name(line)?;
            sample(rest).map(|(labels, value)| (name, labels, value))
        };
        let (name, labels, value) =
            read(b"a:b{x=\"1\", le=\"}\\\"{\",y=\"\",z=\"=,\"} 2.5e+06 17").unwrap();
        assert_eq!((name, value), (&b"a:b"[..], 2.5e6));
        assert_eq!(labels.number("x"), Some(1));
        assert_eq!(labels.get("le"), Some("}\\\"{"));
        assert_eq!((labels.get("y"), labels.get("z")), (Some(""), Some("=,")));
        assert_eq!(labels.get("e"), None);
        assert_eq!(read(b"a 3\r").unwrap().2, 3.0);
        assert!(read(b"a NaN").unwrap().2.is_nan());
        assert_eq!(read(b"a{} +Inf").unwrap().2, f64::INFINITY);
        for bad in [
            &b"# HELP a b"[..],
            b"",
            b"a",
            b"a x",
            b"a{b=\"c} 1",
            b"a{b=\"c\"",
            b"a{}",
        ] {
            assert!(read(bad).is_none(), "{}", String::from_utf8_lossy(bad));
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(prop_oneof![
            any::<u8>(), Just(b'\n'), Just(b'{'), Just(b'}'), Just(b'"'), Just(b'\\'), Just(b'='), Just(b','), Just(b'a')
        ], 0..200), cut in 0_usize..200) {
            let cut = cut.min(bytes.len());
            let mut lines = Lines::default();
            let mut whole = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                lines.feed(piece, |line| {
                    whole.push(line.to_vec());
                    if let Some((labels, _)) = name(line).and_then(|(_, rest)| sample(rest)) {
                        let _ = labels.get("a");
                    }
                });
            }
            let mut expected: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
            expected.pop();
            prop_assert_eq!(whole, expected);
        }
    }
}
