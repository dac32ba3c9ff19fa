//! What the controller decided and what it decided from, in files: audit lines, and bundles that replay bit for bit.
//!
//! ```text
//! cycle ─┬─ what changed ────────► decisions.jsonl, one decision a line        ─► wva explain
//!        └─ snapshot and outcome ► DIR/cycles-1790000000.jsonl, a cycle a line ─► wva replay, wva explain
//! ```
//! A bundle begins with the catalogue, the settings and everything that was remembered when it began, so that it replays
//! although the process had run for weeks. When the catalogue changes another one begins. Files are bounded: the oldest
//! bundles are deleted, and the log is put aside once when it is full.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wva_models::catalogue::Catalogue;
use wva_optimizer::decision::Decision;
use wva_optimizer::replay;
use wva_optimizer::step::Settings;

use crate::cycle::Outcome;

/// Most bytes of the log, and of a bundle.
const MOST_BYTES: u64 = 64 << 20;
/// Bundles that are kept.
const MOST_BUNDLES: usize = 8;
/// Beginning and end of a bundle's name.
const BUNDLE: (&str, &str) = ("cycles-", ".jsonl");

/// What is written where; nothing unless told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordSettings {
    /// File of audit lines.
    pub decisions: Option<PathBuf>,
    /// Folder of bundles.
    pub cycles: Option<PathBuf>,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot record in {}: {source}", path.display())]
pub struct RecordError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Open files.
#[derive(Debug)]
pub struct Records {
    settings: RecordSettings,
    log: Option<File>,
    bundle: Option<Bundle>,
    /// Target and leading reason of each variant as last written.
    told: BTreeMap<String, (u32, String)>,
}

#[derive(Debug)]
struct Bundle {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    catalogue: Catalogue,
    settings: Settings,
}

impl Records {
    /// Opens what is to be written.
    ///
    /// # Errors
    /// [`RecordError`] where the log cannot be opened or the folder not be made.
    pub fn open(settings: &RecordSettings) -> Result<Self, RecordError> {
        let log = settings.decisions.as_deref().map(appending).transpose()?;
        if let Some(folder) = &settings.cycles {
            fs::create_dir_all(folder).map_err(|e| about(folder, e))?;
        }
        Ok(Self {
            settings: settings.clone(),
            log,
            bundle: None,
            told: BTreeMap::new(),
        })
    }

    /// Takes a cycle in.
    ///
    /// # Errors
    /// [`RecordError`] for the first file that cannot be written; the cycle counts all the same.
    pub fn take(&mut self, outcome: &Outcome) -> Result<(), RecordError> {
        self.log(outcome)?;
        let Some(folder) = self.settings.cycles.clone() else {
            return Ok(());
        };
        let now = &outcome.posed.autoscaler;
        let same = self
            .bundle
            .as_ref()
            .is_some_and(|b| b.catalogue == now.catalogue && b.settings == now.settings);
        if let Some(bundle) = self.bundle.as_mut().filter(|_| same) {
            bundle.write(&replay::record(&outcome.posed.snapshot, &outcome.cycle))?;
            if bundle.bytes < MOST_BYTES {
                return Ok(());
            }
        }
        // What is remembered now is what the next cycle starts from.
        self.bundle = None;
        self.bundle = Some(Bundle::begin(&folder, outcome)?);
        prune(&folder)
    }

    fn log(&mut self, outcome: &Outcome) -> Result<(), RecordError> {
        let (Some(path), Some(_)) = (self.settings.decisions.clone(), &self.log) else {
            return Ok(());
        };
        let mut lines = String::new();
        for decision in &outcome.cycle.decisions {
            if self.is_news(decision) {
                let line = serde_json::to_string(decision).expect("plain data serialises");
                lines.push_str(&line);
                lines.push('\n');
            }
        }
        let names = outcome.cycle.decisions.iter().map(|d| d.variant.as_str());
        let names: std::collections::BTreeSet<&str> = names.collect();
        self.told.retain(|name, _| names.contains(name.as_str()));
        if lines.is_empty() {
            return Ok(());
        }
        let full = fs::metadata(&path).is_ok_and(|m| m.len() >= MOST_BYTES);
        if full {
            let aside = path.with_extension("1.jsonl");
            fs::rename(&path, &aside).map_err(|e| about(&aside, e))?;
            self.log = Some(appending(&path)?);
        }
        let log = self.log.as_mut().expect("it was open above");
        log.write_all(lines.as_bytes()).map_err(|e| about(&path, e))
    }

    /// Whether something else was decided than what was written last, or somebody has to act on it.
    fn is_news(&mut self, decision: &Decision) -> bool {
        let code = decision.reasons.first().map(|r| r.code.clone());
        let now = (decision.target, code.unwrap_or_default());
        let before = self.told.insert(decision.variant.clone(), now.clone());
        before.as_ref() != Some(&now)
    }
}

impl Bundle {
    fn begin(folder: &Path, outcome: &Outcome) -> Result<Self, RecordError> {
        let autoscaler = &outcome.posed.autoscaler;
        let mut at = outcome.posed.snapshot.at as u64;
        let named = |at: u64| folder.join(format!("{}{at}{}", BUNDLE.0, BUNDLE.1));
        while named(at).exists() {
            at += 1;
        }
        let path = named(at);
        let file = File::create(&path).map_err(|e| about(&path, e))?;
        let mut bundle = Self {
            path,
            file: BufWriter::new(file),
            bytes: 0,
            catalogue: autoscaler.catalogue.clone(),
            settings: autoscaler.settings.clone(),
        };
        let state = outcome.memory.whole();
        bundle.write(&replay::resumed_header(autoscaler, &state))?;
        Ok(bundle)
    }

    fn write(&mut self, line: &str) -> Result<(), RecordError> {
        self.bytes += line.len() as u64 + 1;
        let written = writeln!(self.file, "{line}").and_then(|()| self.file.flush());
        written.map_err(|e| about(&self.path, e))
    }
}

fn appending(path: &Path) -> Result<File, RecordError> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|e| about(path, e))
}

/// Deletes all but the newest bundles.
fn prune(folder: &Path) -> Result<(), RecordError> {
    let listed = fs::read_dir(folder).map_err(|e| about(folder, e))?;
    let mut bundles: Vec<(u64, PathBuf)> = listed
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let at = name.strip_prefix(BUNDLE.0)?.strip_suffix(BUNDLE.1)?;
            Some((at.parse().ok()?, folder.join(&name)))
        })
        .collect();
    bundles.sort();
    let surplus = bundles.len().saturating_sub(MOST_BUNDLES);
    for (_, path) in &bundles[..surplus] {
        fs::remove_file(path).map_err(|e| about(path, e))?;
    }
    Ok(())
}

fn about(path: &Path, source: io::Error) -> RecordError {
    RecordError {
        path: path.to_owned(),
        source,
    }
}
