//! The real components that tests start (a browser, an API server): where they come from, and where they lie.
//!
//! A recipe is a shell script that fills an empty folder. The folder is kept outside the checkout, because CI
//! clones afresh each time, and is named after the component, its version and a hash of the script: a changed
//! script makes a new folder, and nothing has to be cleared by hand. A folder appears there complete or not at
//! all, so two checkouts may prepare the same component at once.
//!
//! A test finds a component in the variable `WVA_COMPONENT_<NAME>` (a folder). Where that is not set, the test
//! has no component: see [`crate::test`] for what it does then.
//!
//! To add one: put the script into `xtask/components/NAME.sh`, and a line for it into [`COMPONENTS`].

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};

use crate::workspace::{Workspace, shown};

/// A component and how to get it.
pub struct Component {
    /// Lower case, with hyphens.
    pub name: &'static str,
    /// Shown to people, and part of the folder's name.
    pub version: &'static str,
    /// A POSIX shell script, run in the folder it is to fill.
    pub script: &'static str,
}

/// All of them, in the order in which they are prepared.
pub const COMPONENTS: &[Component] = &[];

impl Component {
    /// The variable that tells tests where the component lies.
    pub fn variable(&self) -> String {
        let name = self.name.to_uppercase().replace('-', "_");
        format!("WVA_COMPONENT_{name}")
    }

    fn folder(&self) -> String {
        let hash = fnv1a(self.script.as_bytes());
        format!("{}-{}-{:08x}", self.name, self.version, hash as u32)
    }

    /// The folder with the component in it, prepared first if it is not there yet.
    pub fn prepare(&self, workspace: &Workspace, cache: &Path) -> anyhow::Result<PathBuf> {
        let ready = cache.join(self.folder());
        if ready.is_dir() {
            return Ok(ready);
        }
        println!(
            "   preparing {} {} in {}",
            self.name,
            self.version,
            ready.display()
        );
        let unfinished = cache.join(format!("{}.part-{}", self.folder(), std::process::id()));
        std::fs::create_dir_all(&unfinished)
            .with_context(|| format!("cannot make {}", unfinished.display()))?;
        let outcome = self
            .fill(workspace, &unfinished)
            .and_then(|()| publish(&unfinished, &ready));
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished)
                .with_context(|| format!("cannot remove {}", unfinished.display()))?;
        }
        outcome.map(|()| ready)
    }

    fn fill(&self, workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
        let mut shell = workspace.command("sh");
        shell.current_dir(folder).args(["-euc", self.script]);
        let output = shell
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("cannot start {}", shown(&shell)))?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.trim().lines().next_back().unwrap_or("no message");
        bail!("its recipe failed ({}): {last}", output.status)
    }
}

/// Moves the filled folder to its place, unless another checkout was faster.
fn publish(filled: &Path, ready: &Path) -> anyhow::Result<()> {
    match std::fs::rename(filled, ready) {
        Err(_) if ready.is_dir() => Ok(()),
        result => result.with_context(|| format!("cannot move to {}", ready.display())),
    }
}

/// Where components are kept: `$WVA_TESTBED`, else `wva-testbed` in the user's cache.
pub fn cache() -> anyhow::Result<PathBuf> {
    let set = |name: &str| {
        let value = std::env::var_os(name).filter(|v| !v.is_empty());
        value.map(PathBuf::from)
    };
    set("WVA_TESTBED")
        .or_else(|| set("XDG_CACHE_HOME").map(|c| c.join("wva-testbed")))
        .or_else(|| set("HOME").map(|h| h.join(".cache/wva-testbed")))
        .context("set WVA_TESTBED to a folder for the test components")
}

/// FNV-1a: the same on every machine and in every Rust, unlike the hasher of the standard library.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of its own for each test, empty.
    fn empty_cache(name: &str) -> PathBuf {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("wva-xtask-{name}-{id}"));
        std::fs::remove_dir_all(&folder).ok();
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn sample(script: &'static str) -> Component {
        Component {
            name: "a-sample",
            version: "1.0",
            script,
        }
    }

    fn entries(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_component_is_prepared_once() {
        let cache = empty_cache("once");
        let component = sample("date +%N > stamp; echo tool > tool");
        let workspace = Workspace::here();
        let folder = component.prepare(&workspace, &cache).unwrap();
        let stamp = std::fs::read(folder.join("stamp")).unwrap();
        assert_eq!(component.prepare(&workspace, &cache).unwrap(), folder);
        assert_eq!(std::fs::read(folder.join("stamp")).unwrap(), stamp);
        assert_eq!(entries(&cache), 1);
        std::fs::remove_dir_all(cache).unwrap();
    }

    #[test]
    fn a_failing_recipe_leaves_nothing_and_says_why() {
        let cache = empty_cache("fails");
        let component = sample("touch half; echo 'no network' >&2; false; touch rest");
        let error = component.prepare(&Workspace::here(), &cache).unwrap_err();
        assert!(error.to_string().contains("no network"), "{error:#}");
        assert_eq!(entries(&cache), 0);
        std::fs::remove_dir_all(cache).unwrap();
    }

    #[test]
    fn another_script_is_another_folder() {
        assert_ne!(sample("a").folder(), sample("b").folder());
        assert_eq!(sample("").folder(), "a-sample-1.0-84222325");
        assert_eq!(sample("").variable(), "WVA_COMPONENT_A_SAMPLE");
    }

    #[test]
    fn fnv1a_is_the_published_function() {
        // Test vectors of the FNV reference code (Noll): "" and "a".
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
