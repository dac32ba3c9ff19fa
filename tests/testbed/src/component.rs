//! Where the components lie, and what a test does when one is missing.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;

use crate::Error;

/// The folder of a component, as `cargo xtask test` announces it in `WVA_COMPONENT_<NAME>`.
///
/// # Errors
/// [`Error::MissingComponent`] when it does not.
pub fn folder(name: &str) -> Result<PathBuf, Error> {
    let variable = format!("WVA_COMPONENT_{}", name.to_uppercase().replace('-', "_"));
    match std::env::var_os(&variable) {
        Some(folder) if !folder.is_empty() => Ok(folder.into()),
        _ => Err(Error::MissingComponent {
            name: name.to_owned(),
            variable,
        }),
    }
}

/// The component that was started, or `None` after noting that this test was skipped.
///
/// # Panics
/// In CI (`CI=true`), where nothing is skipped: with the error, which names the component.
#[track_caller]
pub fn or_skip<T, E: Display>(started: Result<T, E>) -> Option<T> {
    let error = match started {
        Ok(component) => return Some(component),
        Err(error) => error.to_string(),
    };
    let ci = std::env::var("CI").is_ok_and(|v| v == "true" || v == "1");
    assert!(!ci, "{error}");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("skipped: {test}: {error}");
    note(test, error.lines().next().unwrap_or_default());
    None
}

/// Adds a line to the file that `cargo xtask test` reads when the tests are over.
fn note(test: &str, reason: &str) {
    let Some(file) = std::env::var_os("WVA_SKIPPED_TESTS") else {
        return;
    };
    let opened = std::fs::File::options()
        .append(true)
        .create(true)
        .open(&file);
    // One write of one line: test binaries and threads append side by side.
    let line = format!("{test}: {reason}\n");
    if let Err(error) = opened.and_then(|mut f| f.write_all(line.as_bytes())) {
        eprintln!("cannot note a skipped test in {}: {error}", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_nobody_prepared_is_named() {
        let error = folder("no-such-thing").unwrap_err().to_string();
        assert!(error.contains("no-such-thing"), "{error}");
        assert!(error.contains("WVA_COMPONENT_NO_SUCH_THING"), "{error}");
    }

    #[test]
    fn what_started_is_handed_on() {
        assert_eq!(or_skip(Ok::<_, Error>(3)), Some(3));
    }
}
