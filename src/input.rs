//! Files that the user names: read whole, and refused with one clear message when they cannot be used.

use std::fs;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use wva_models::catalogue::names;

use crate::diagnostic::Diagnostic;
use crate::failure::Failure;

/// A text file and the name to call it by in messages.
#[derive(Debug, Clone)]
pub struct Input {
    /// The path as the user wrote it, or `<stdin>`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Input {
    /// Reads the file at `path`, or stdin for `-`. What it should be is said in words for messages: "a scenario".
    pub fn read(path: &Path, what: &str) -> Result<Self, Failure> {
        let name = name_of(path);
        let bytes = bytes(path).map_err(|e| unreadable(path, what, &e))?;
        tracing::debug!(file = %name, bytes = bytes.len(), "read");
        let text = String::from_utf8(bytes).map_err(|e| not_text(&name, what, &e))?;
        if text.contains('\0') {
            return Err(binary(&name, what, "it holds zero bytes").into());
        }
        Ok(Self { name, text })
    }

    /// A message that points into this file; line and column count from 1, 0 where they are not known.
    pub fn complaint(&self, message: impl Into<String>, line: usize, column: usize) -> Diagnostic {
        Diagnostic::new(message).at(&self.name, &self.text, line, column)
    }
}

/// Opens a file that is too large to be read whole, or stdin for `-`.
pub fn open(path: &Path, what: &str) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).and_then(|file| {
        if path.is_dir() {
            Err(io::ErrorKind::IsADirectory.into())
        } else {
            Ok(file)
        }
    });
    let file = file.map_err(|e| unreadable(path, what, &e))?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, file)))
}

/// What a file is called in messages.
pub fn name_of(path: &Path) -> String {
    if path == Path::new("-") {
        "<stdin>".to_owned()
    } else {
        path.display().to_string()
    }
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    fs::read(path)
}

fn unreadable(path: &Path, what: &str, error: &io::Error) -> Diagnostic {
    let shown = path.display();
    if path.is_dir() {
        return Diagnostic::new(format!("`{shown}` is a folder, not {what}"))
            .help(format!("name {what} file in it"));
    }
    if error.kind() == io::ErrorKind::NotFound {
        let missing = Diagnostic::new(format!("there is no file `{shown}`"));
        return match neighbour(path) {
            Some(near) => missing.help(format!("did you mean `{near}`?")),
            None => missing.help(format!("name {what} that exists, or `-` for stdin")),
        };
    }
    Diagnostic::new(format!("cannot read `{shown}`: {error}"))
}

/// The file beside `path` whose name is nearest to it.
fn neighbour(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let found: Vec<String> = entries
        .filter_map(|e| {
            e.ok()
                .filter(|e| e.path().is_file())?
                .file_name()
                .into_string()
                .ok()
        })
        .collect();
    let near = names::nearest(
        path.file_name()?.to_str()?,
        found.iter().map(String::as_str),
        str::to_lowercase,
    )?;
    Some(path.with_file_name(near).display().to_string())
}

fn not_text(name: &str, what: &str, error: &std::string::FromUtf8Error) -> Diagnostic {
    let good = error.utf8_error().valid_up_to();
    let line = 1 + error.as_bytes()[..good]
        .iter()
        .filter(|&&b| b == b'\n')
        .count();
    binary(name, what, &format!("line {line} is not UTF-8"))
}

fn binary(name: &str, what: &str, why: &str) -> Diagnostic {
    Diagnostic::new(format!("`{name}` is not text: {why}"))
        .help(format!("give {what}; if it is compressed, unpack it first"))
}
