//! HTML reports: whether, where, and what only the command line knows about them.

use std::path::Path;

use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;

/// Writes a page that was asked for.
pub fn write(console: &Console, path: &Path, page: &str) -> Result<(), Failure> {
    let shown = path.display();
    std::fs::write(path, page)
        .map_err(|e| Diagnostic::new(format!("cannot write `{shown}`: {e}")))?;
    console.note(&format!("report: {shown}"));
    Ok(())
}

/// The command line of this process, to make the same page again.
pub fn command() -> String {
    let words = std::env::args_os().skip(1);
    let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
    format!("wva {}", words.join(" "))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,=:@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_as_a_shell_needs() {
        for (word, shown) in [
            ("a.yaml", "a.yaml"),
            ("cost>5", "'cost>5'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
