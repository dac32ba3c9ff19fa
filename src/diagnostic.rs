//! One clear message about something wrong: what, where (file, line, column and the line itself), and what to do.
//!
//! ```text
//! error: no accelerator is called `H10`
//!   --> day.yaml:14:18
//!    |
//! 14 |     accelerator: H10
//!    |                  ^^^
//!   help: did you mean `H100`?
//! ```
//! A rendering crate would bring fonts, themes and a hundred kilobytes for these sixty lines.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use crate::table::{Tone, paint};

/// A source line is shown at most this wide, around the column.
const WIDTH: usize = 110;

/// A message for people, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    message: String,
    place: Option<Place>,
    help: Option<String>,
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: String,
    /// Line, counted from 1; 0 when only the file is known.
    line: usize,
    /// Column in characters, counted from 1; 0 when only the line is known.
    column: usize,
    /// The line itself; empty when it is not known.
    source: String,
}

impl Diagnostic {
    /// A message about no place in particular.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            help: None,
        }
    }

    /// From an error of the libraries, which reads `file:line:column: what is wrong; what to do`: the place and the
    /// remedy are taken out, and the line is looked up in the file. Any other text is a message as it is.
    pub fn placed(text: &str) -> Self {
        let (place, message) = split_place(text).map_or((None, text), |(p, m)| (Some(p), m));
        // Errors of the YAML parser quote the line; it is shown below the message.
        let quoted = message.strip_suffix("`)").and_then(|m| m.rfind(" (in `"));
        let message = &message[..quoted.filter(|_| place.is_some()).unwrap_or(message.len())];
        let (message, help) = split_remedy(message);
        Self {
            message: message.to_owned(),
            place,
            help: help.map(str::to_owned),
        }
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What to do about it, where nothing says that yet.
    pub fn or_help(self, help: &str) -> Self {
        match self.help {
            Some(_) => self,
            None => self.help(help),
        }
    }

    /// Points at a line and column (both from 1; 0 means not known) of a file with this text.
    pub fn at(mut self, file: &str, text: &str, line: usize, column: usize) -> Self {
        let source = line.checked_sub(1).and_then(|l| text.lines().nth(l));
        self.place = Some(Place {
            file: file.to_owned(),
            line,
            column,
            source: source.unwrap_or_default().trim_end().to_owned(),
        });
        self
    }

    /// The message as printed, with colours or without.
    pub fn render(&self, colour: bool) -> String {
        let mut out = paint("error:", Tone::Bad, colour);
        let _ = writeln!(
            out,
            " {}",
            paint(&visible(&self.message), Tone::Strong, colour)
        );
        if let Some(place) = &self.place {
            place.render(&mut out, colour);
        }
        if let Some(help) = &self.help {
            let label = paint("help:", Tone::Good, colour);
            let _ = writeln!(out, "  {label} {}", visible(help));
        }
        out
    }
}

impl Place {
    fn render(&self, out: &mut String, colour: bool) {
        let number = match (self.line, self.column) {
            (0, _) => String::new(),
            (line, 0) => format!(":{line}"),
            (line, column) => format!(":{line}:{column}"),
        };
        let _ = writeln!(
            out,
            "  {} {}{number}",
            paint("-->", Tone::Dim, colour),
            self.file
        );
        if self.source.is_empty() {
            return;
        }
        let (shown, column) = window(&self.source, self.column);
        let margin = self.line.to_string().len();
        let bar = paint("|", Tone::Dim, colour);
        let _ = writeln!(out, " {:margin$} {bar}", "");
        let _ = writeln!(out, " {} {bar} {shown}", self.line);
        if column > 0 {
            let carets = paint(&"^".repeat(word_length(&shown, column)), Tone::Bad, colour);
            let _ = writeln!(
                out,
                " {:margin$} {bar} {:indent$}{carets}",
                "",
                "",
                indent = column - 1
            );
        }
    }
}

/// The place at the beginning of `file:line: message` or `file:line:column: message`, and the message.
fn split_place(text: &str) -> Option<(Place, &str)> {
    let (head, message) = text
        .match_indices(": ")
        .map(|(i, _)| (&text[..i], &text[i + 2..]))
        .find(|(head, _)| {
            head.rsplit_once(':')
                .is_some_and(|(_, n)| n.parse::<usize>().is_ok())
        })?;
    let (rest, last) = head.rsplit_once(':')?;
    let last = last.parse().ok()?;
    let both = rest
        .rsplit_once(':')
        .and_then(|(file, line)| Some((file, line.parse().ok()?)));
    let (file, line, column) = both.map_or((rest, last, 0), |(file, line)| (file, line, last));
    let source = line_of(file, line).unwrap_or_default();
    Some((
        Place {
            file: file.to_owned(),
            line,
            column,
            source,
        },
        message,
    ))
}

/// Line `line` (from 1) of a file, if it can still be read.
fn line_of(file: &str, line: usize) -> Option<String> {
    let reader = BufReader::new(File::open(file).ok()?);
    let text = reader.split(b'\n').nth(line.checked_sub(1)?)?.ok()?;
    Some(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// Message and remedy, apart at the first `; ` that is not inside a quoted value.
pub fn split_remedy(message: &str) -> (&str, Option<&str>) {
    let outside = |i: usize| message[..i].matches('`').count().is_multiple_of(2);
    match message.match_indices("; ").find(|&(i, _)| outside(i)) {
        Some((i, _)) => (&message[..i], Some(&message[i + 2..])),
        None => (message, None),
    }
}

/// At most [`WIDTH`] characters of a line around `column`, every one of them printable, and the column within them.
fn window(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    let start = if length <= WIDTH {
        0
    } else {
        column.saturating_sub(WIDTH / 2)
    };
    let mut shown: String = line
        .chars()
        .skip(start)
        .take(WIDTH)
        .map(printable)
        .collect();
    let mut column = column.saturating_sub(start);
    if start > 0 {
        shown.insert(0, '…');
        column += 1;
    }
    if start + WIDTH < length {
        shown.push('…');
    }
    (shown, column)
}

/// Characters to underline from `column` on: up to the end of the word, at least one.
fn word_length(line: &str, column: usize) -> usize {
    let ends = |c: &char| c.is_whitespace() || matches!(c, ',' | '}' | ']' | '…');
    line.chars()
        .skip(column - 1)
        .take_while(|c| !ends(c))
        .count()
        .max(1)
}

/// A text with its control characters (of a binary file, or made to fool a terminal) replaced; line breaks stay.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\n' { c } else { printable(c) })
        .collect()
}

fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_line_and_underlines_the_word() {
        let text = "a: 1\nb:\n  accelerator: H10, x: 2\n";
        let shown = Diagnostic::new("no accelerator is called `H10`")
            .at("f.yaml", text, 3, 16)
            .help("did you mean `H100`?")
            .render(false);
        assert_eq!(
            shown,
            "error: no accelerator is called `H10`\n  --> f.yaml:3:16\n   |\n 3 |   accelerator: H10, x: 2\n   \
             |                ^^^\n  help: did you mean `H100`?\n"
        );
    }

    #[test]
    fn takes_errors_of_the_libraries_apart() {
        let shown = |text: &str| Diagnostic::placed(text).render(false);
        let text = "no/such.yaml:3:12: unknown accelerator `a; b`; did you mean `A100`?";
        assert_eq!(
            shown(text),
            "error: unknown accelerator `a; b`\n  --> no/such.yaml:3:12\n  help: did you mean `A100`?\n"
        );
        assert_eq!(
            shown("t.csv:7: input is `x`; expected a number"),
            "error: input is `x`\n  --> t.csv:7\n  help: expected a number\n"
        );
        assert_eq!(
            shown("f.yaml:1:2: odd (in `a: b`)"),
            "error: odd\n  --> f.yaml:1:2\n"
        );
        assert_eq!(
            shown("f.yaml: nothing in it"),
            "error: f.yaml: nothing in it\n"
        );
        assert_eq!(
            shown("C:\\f.yaml:1:2: odd"),
            "error: odd\n  --> C:\\f.yaml:1:2\n"
        );
    }

    #[test]
    fn a_place_outside_the_text_names_the_file_only() {
        let shown = Diagnostic::new("m").at("f", "one line", 9, 1).render(false);
        assert_eq!(shown, "error: m\n  --> f:9:1\n");
        let shown = Diagnostic::new("m").at("f", "", 0, 0).render(false);
        assert_eq!(shown, "error: m\n  --> f\n");
    }

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        let line = format!("{}X{}", "a ".repeat(300), " b".repeat(300));
        let shown = Diagnostic::new("m").at("f", &line, 1, 601).render(false);
        let lines: Vec<Vec<char>> = shown.lines().map(|l| l.chars().collect()).collect();
        let caret = lines[4].iter().position(|&c| c == '^').expect("a caret");
        assert_eq!(lines[3][caret], 'X');
        assert!(lines.iter().all(|l| l.len() <= WIDTH + 10));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let shown = Diagnostic::new("bad \x1b[31m")
            .at("f", "x\x1b]0;t\x07y", 1, 2)
            .render(false);
        assert!(!shown.contains(['\x1b', '\x07']), "{shown:?}");
    }
}
