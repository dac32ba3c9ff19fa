//! The real components that tests start (a browser, an API server): where they come from, and where they lie.
//!
//! A recipe is a shell script that fills a folder. The folder is kept outside the checkout, because CI
//! clones afresh each time, and is named after the component, its version and a hash of the recipe: a changed
//! recipe makes a new folder, and nothing has to be cleared by hand. A folder appears there complete or not at
//! all, so two checkouts may prepare the same component at once.
//!
//! Recipes take from package registries only (Go modules, PyPI, Debian), each of which verifies what it
//! delivers: release pages and image registries are out of reach for many who build behind a proxy.
//!
//! A test finds a component in the variable `WVA_COMPONENT_<NAME>` (a folder). Where that is not set, the test
//! has no component: see [`crate::test`] for what it does then. Components are only prepared for packages that
//! depend on `wva-testbed`, which starts them.
//!
//! To add one: put the script into `xtask/components/NAME.sh`, files it reads into `xtask/components/NAME/`, and
//! an entry into [`COMPONENTS`].

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::recipe::Report;
use crate::workspace::{Workspace, shown};

/// A component and how to get it.
pub struct Component {
    /// Lower case, with hyphens.
    pub name: &'static str,
    /// Shown to people, and part of the folder's name.
    pub version: &'static str,
    /// A POSIX shell script, run in the folder it is to fill, with the version in `$VERSION`.
    pub script: &'static str,
    /// What lies in that folder when the script starts: names and contents.
    pub files: &'static [(&'static str, &'static str)],
}

/// All of them, in the order in which they are prepared.
pub const COMPONENTS: &[Component] = &[
    Component {
        name: "etcd",
        version: "3.4.23",
        script: concat!(
            "PACKAGE=etcd-server\n",
            include_str!("../components/debian.sh")
        ),
        files: &[],
    },
    Component {
        name: "prometheus",
        version: "2.42.0",
        script: concat!(
            "PACKAGE=prometheus\n",
            include_str!("../components/debian.sh")
        ),
        files: &[],
    },
    Component {
        name: "envoy",
        version: "1.40.0",
        script: include_str!("../components/envoy.sh"),
        files: &[],
    },
    Component {
        name: "keda",
        version: "2.21.0",
        script: concat!(
            "MODULE=github.com/kedacore/keda/v2\n",
            "SUM=h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=\n",
            "FOLDER=config/crd/bases\n",
            include_str!("../components/definitions.sh")
        ),
        files: &[],
    },
    Component {
        name: "prometheus-operator",
        version: "0.85.0",
        script: concat!(
            "MODULE=github.com/prometheus-operator/prometheus-operator\n",
            "SUM=h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=\n",
            "FOLDER=example/prometheus-operator-crd\n",
            include_str!("../components/definitions.sh")
        ),
        files: &[],
    },
    Component {
        name: "cert-manager",
        version: "1.21.2",
        script: concat!(
            "MODULE=github.com/cert-manager/cert-manager\n",
            "SUM=h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=\n",
            "FOLDER=deploy/crds\n",
            include_str!("../components/definitions.sh")
        ),
        files: &[],
    },
    Component {
        name: "kubernetes",
        version: "1.34.2",
        script: include_str!("../components/kubernetes.sh"),
        files: &[
            ("go.mod", include_str!("../components/kubernetes/go.mod")),
            ("go.sum", include_str!("../components/kubernetes/go.sum")),
        ],
    },
    Component {
        name: "helm",
        version: "4.3.1",
        script: include_str!("../components/helm.sh"),
        files: &[
            ("go.mod", include_str!("../components/helm/go.mod")),
            ("go.sum", include_str!("../components/helm/go.sum")),
        ],
    },
];

impl Component {
    /// The variable that tells tests where the component lies.
    pub fn variable(&self) -> String {
        let name = self.name.to_uppercase().replace('-', "_");
        format!("WVA_COMPONENT_{name}")
    }

    fn folder(&self) -> String {
        let mut recipe = self.script.to_owned();
        for (name, content) in self.files {
            recipe.extend(["\0", name, "\0", content]);
        }
        let hash = fnv1a(recipe.as_bytes());
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
        for (name, content) in self.files {
            std::fs::write(folder.join(name), content)
                .with_context(|| format!("cannot write its {name}"))?;
        }
        let mut shell = workspace.command("sh");
        shell
            .current_dir(folder)
            .args(["-euc", self.script])
            .env("VERSION", self.version);
        let output = shell
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("cannot start {}", shown(&shell)))?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = complaint.trim().lines().collect();
        let last = lines[lines.len().saturating_sub(3)..].join(" | ");
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

/// Prepares them all, and prints what a shell must export for `cargo test` to find them.
pub fn run(workspace: &Workspace, _arguments: &[String]) -> anyhow::Result<Report> {
    let cache = cache()?;
    for component in COMPONENTS {
        let folder = component
            .prepare(workspace, &cache)
            .with_context(|| format!("{} {}", component.name, component.version))?;
        println!("export {}='{}'", component.variable(), folder.display());
    }
    Ok(Report {
        summary: format!("{} components", COMPONENTS.len()),
        ..Report::default()
    })
}

/// Whether tests chosen by these arguments of `cargo test` may start components.
pub fn needed(metadata: &Value, arguments: &[String]) -> bool {
    let chosen = chosen_packages(arguments);
    let packages = metadata["packages"].as_array().into_iter().flatten();
    chosen.is_empty()
        || packages
            .filter(|p| p["name"].as_str().is_some_and(|n| chosen.contains(&n)))
            .any(starts_components)
}

fn starts_components(package: &Value) -> bool {
    let starter = |of: &Value| of["name"] == "wva-testbed";
    let dependencies = package["dependencies"].as_array();
    starter(package) || dependencies.into_iter().flatten().any(starter)
}

/// The packages that the arguments name; none means all of them.
fn chosen_packages(arguments: &[String]) -> Vec<&str> {
    let mut chosen = Vec::new();
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--workspace" => return Vec::new(),
            "--" => break,
            "-p" | "--package" => chosen.extend(words.next()),
            _ => chosen.extend(
                word.strip_prefix("--package=")
                    .or_else(|| word.strip_prefix("-p")),
            ),
        }
    }
    chosen
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
            files: &[],
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
    fn files_are_there_for_the_script_and_part_of_the_recipe() {
        let cache = empty_cache("files");
        let with = |files| Component {
            files,
            ..sample("cat input >output; echo $VERSION >>output")
        };
        let component = with(&[("input", "one\n")]);
        let folder = component.prepare(&Workspace::here(), &cache).unwrap();
        assert_eq!(
            std::fs::read_to_string(folder.join("output")).unwrap(),
            "one\n1.0\n"
        );
        assert_ne!(component.folder(), with(&[("input", "two\n")]).folder());
        std::fs::remove_dir_all(cache).unwrap();
    }

    #[test]
    fn go_recipes_pin_the_version_they_are_named_after() {
        for component in COMPONENTS {
            for (_, content) in component.files.iter().filter(|(name, _)| *name == "go.mod") {
                let line = format!(" v{}", component.version);
                assert!(content.contains(&line), "{}: {line}", component.name);
            }
        }
    }

    #[test]
    fn components_are_for_those_who_start_them() {
        let metadata = serde_json::json!({"packages": [
            {"name": "models", "dependencies": [{"name": "serde"}]},
            {"name": "wva", "dependencies": [{"name": "models"}, {"name": "wva-testbed"}]},
            {"name": "wva-testbed", "dependencies": []},
        ]});
        let needed = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            super::needed(&metadata, &words)
        };
        assert!(needed("a_test_name"));
        assert!(needed("-p wva"));
        assert!(needed("-pwva-testbed a_name"));
        assert!(needed("-p models --package=wva"));
        assert!(needed("-p models --workspace"));
        assert!(!needed("-p models"));
        assert!(!needed("--package models -- -p wva"));
    }

    #[test]
    fn fnv1a_is_the_published_function() {
        // Test vectors of the FNV reference code (Noll): "" and "a".
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
