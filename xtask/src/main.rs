//! The project's own recipes: `cargo xtask <recipe>`.
//!
//! One entrance with nothing to install first: whoever has Rust has this. CI runs the very same recipes, so
//! what passes on a desk passes there. A recipe of checks never stops at its first finding: it reports all of
//! them, each with its place and its remedy. Shell scripts or a makefile would need tools that differ from
//! machine to machine, and could not be unit-tested against bad samples as the checkers here are.

mod bench;
mod chart;
mod components;
mod duplicates;
mod fuzz;
mod layers;
mod licences;
mod recipe;
mod sizes;
mod source;
mod spdx;
mod test;
mod test_output;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use recipe::{Recipe, Report};
use workspace::Workspace;

/// What `cargo xtask check` goes through, cheapest first.
const CHECKS: &[Recipe] = &[
    Recipe {
        name: "fmt",
        purpose: "the code is formatted",
        run: toolchain::fmt,
    },
    Recipe {
        name: "sizes",
        purpose: "short files, no unwrap, mod.rs or unfinished code",
        run: sizes::run,
    },
    Recipe {
        name: "layers",
        purpose: "pure crates stay pure, dependencies point downwards",
        run: layers::run,
    },
    Recipe {
        name: "licences",
        purpose: "every dependency's licence is one we accept",
        run: licences::run,
    },
    Recipe {
        name: "duplicates",
        purpose: "one version of each big dependency, no C crypto",
        run: duplicates::run,
    },
    Recipe {
        name: "clippy",
        purpose: "clippy finds nothing, in any target",
        run: toolchain::clippy,
    },
    Recipe {
        name: "doc",
        purpose: "the documentation builds without warnings",
        run: toolchain::doc,
    },
];

/// The recipes that are not a single check.
const WORK: &[Recipe] = &[
    Recipe {
        name: "test",
        purpose: "install what the tests need, run them all, sum up",
        run: test::run,
    },
    Recipe {
        name: "check",
        purpose: "all the checks below",
        run: check,
    },
    Recipe {
        name: "ci",
        purpose: "check, then test: what CI runs",
        run: ci,
    },
    Recipe {
        name: "components",
        purpose: "install the real components that tests start, say where they are",
        run: components::run,
    },
    Recipe {
        name: "chart",
        purpose: "lint and render the Helm chart; words after it go to helm template",
        run: chart::run,
    },
    Recipe {
        name: "fuzz",
        purpose: "mutate what strangers send to the picker; CPU-minutes each, then names of targets",
        run: fuzz::run,
    },
    Recipe {
        name: "bench",
        purpose: "run the benchmarks; words after it filter them by name",
        run: bench::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    };
    if ["help", "-h", "--help"].contains(&name.as_str()) {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(recipe) = find(name) else {
        eprintln!("error: there is no recipe {name:?}\n\n{}", usage());
        return ExitCode::from(2);
    };
    if recipe.perform(&Workspace::here(), rest) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The recipe of that name, if there is one.
fn find(name: &str) -> Option<&'static Recipe> {
    WORK.iter().chain(CHECKS).find(|r| r.name == name)
}

fn check(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<Report> {
    recipe::perform_all(CHECKS, workspace, arguments)
}

fn ci(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<Report> {
    let steps: Vec<Recipe> = ["check", "test"]
        .iter()
        .filter_map(|n| find(n).copied())
        .collect();
    recipe::perform_all(&steps, workspace, arguments)
}

/// What `cargo xtask` says when it is asked for nothing.
fn usage() -> String {
    let table = |recipes: &[Recipe]| -> String {
        recipes
            .iter()
            .map(|r| format!("  {:<11} {}\n", r.name, r.purpose))
            .collect()
    };
    format!(
        "The project's recipes: cargo xtask <recipe> [arguments]\n\n{}\nOne check at a time:\n{}\n\
         Arguments of test, clippy, doc and bench go to cargo:\n  \
         cargo xtask test -p wva-models capacity    the tests of one package with this in their name\n  \
         cargo xtask clippy -p wva-models           one package\n  \
         cargo xtask bench solver                   the benchmarks with this in their name\n\n\
         Before you push: cargo xtask ci\n",
        table(WORK),
        table(CHECKS)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_found_by_its_name_and_taught() {
        let text = usage();
        for recipe in WORK.iter().chain(CHECKS) {
            assert_eq!(find(recipe.name).map(|r| r.purpose), Some(recipe.purpose));
            assert!(text.contains(recipe.purpose), "{}", recipe.name);
        }
        assert!(find("no-such-recipe").is_none());
    }
}
