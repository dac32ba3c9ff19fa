//! Short files, and nothing in them that is unfinished or may panic without saying why.
//!
//! A file one can read at a sitting is a file one can hold in the head, so the limit is a rule, not advice.
//! Files that git knows, or would add, are looked at; generated ones (`@generated` in the first lines) are not.

use std::path::{Component, Path};

use crate::recipe::{Finding, Report};
use crate::source::{Source, lines_with};
use crate::workspace::{Workspace, capture};

/// More lines than this outside tests, and the file must be split.
const LIMIT: usize = 500;

/// More than this, and it is worth a look.
const WORTH_A_LOOK: usize = 350;

/// Macros that have no place in finished code.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Words in comments that announce unfinished code.
const PROMISES: &[&str] = &["TODO", "FIXME", "XXX"];

/// The check on this workspace.
pub fn run(workspace: &Workspace, _arguments: &[String]) -> anyhow::Result<Report> {
    let mut git = workspace.command("git");
    let listing = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let listed = capture(git.args(listing).args(["--", "*.rs"]))?;
    let mut report = Report::default();
    let mut files = 0;
    for path in listed.split_terminator('\0') {
        if !workspace.root.join(path).exists() {
            continue; // removed, but not yet from the index
        }
        files += 1;
        let (findings, note) = judge(path, &workspace.read(path)?);
        report.findings.extend(findings);
        report.notes.extend(note);
    }
    report.summary = format!("{files} Rust files");
    Ok(report)
}

/// The broken rules of one file, and a note if it is getting long.
fn judge(path: &str, text: &str) -> (Vec<Finding>, Option<String>) {
    if text.lines().take(5).any(|l| l.contains("@generated")) {
        return (Vec::new(), None);
    }
    let source = Source::new(text);
    let mut findings: Vec<Finding> = naming(path).into_iter().collect();
    findings.extend(words(path, &source));
    let lines = source.lines;
    if lines > LIMIT {
        let problem = format!("{lines} lines outside tests; the limit is {LIMIT}");
        findings.push(Finding::new(
            path,
            problem,
            "split it along a noun of the domain",
        ));
    }
    let long = (WORTH_A_LOOK + 1..=LIMIT).contains(&lines);
    let note = long.then(|| format!("{path}: {lines} lines outside tests, over {WORTH_A_LOOK}"));
    (findings, note)
}

fn naming(path: &str) -> Option<Finding> {
    (Path::new(path).file_name()? == "mod.rs").then(|| {
        let remedy = "name it after its folder: foo.rs beside foo/; several test files that share \
                      code are modules of one tests/<name>/main.rs";
        Finding::new(path, "no mod.rs in this project", remedy)
    })
}

/// The words that have no place in this file.
fn words(path: &str, source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut search = |text: &str, word: &str, remedy: &str| {
        for line in lines_with(text, word) {
            found.push(Finding::new(
                format!("{path}:{line}"),
                format!("{word} here"),
                remedy,
            ));
        }
    };
    if !is_test(path) {
        let remedy = "return the error, or state the invariant: .expect(\"why it holds\")";
        search(&source.code, ".unwrap()", remedy);
    }
    for word in UNFINISHED {
        search(&source.code, word, "finish it or take it out");
    }
    for word in PROMISES {
        search(
            &source.comments,
            word,
            "do it now, or say in CHANGELOG.md what is missing",
        );
    }
    found
}

/// Whether the whole file is for tests or benchmarks.
fn is_test(path: &str) -> bool {
    let path = Path::new(path);
    let folder = |c: Component<'_>| ["tests", "benches"].iter().any(|f| c.as_os_str() == *f);
    path.components().any(folder) || path.file_name().is_some_and(|n| n == "tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let (findings, _) = judge(path, text);
        findings
            .iter()
            .map(|f| format!("{}: {}", f.place, f.problem))
            .collect()
    }

    #[test]
    fn a_long_file_is_noted_and_a_very_long_one_found() {
        let file = |lines: usize| "fn a() {}\n".repeat(lines);
        assert_eq!(judge("a.rs", &file(350)), (Vec::new(), None));
        let (findings, note) = judge("a.rs", &file(500));
        assert!(findings.is_empty() && note.is_some_and(|n| n.contains("500 lines")));
        assert_eq!(
            problems("a.rs", &file(501)),
            ["a.rs: 501 lines outside tests; the limit is 500"]
        );
    }

    #[test]
    fn tests_do_not_count_as_lines_wherever_they_stand() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(600));
        assert!(problems("a.rs", &format!("{tests}fn a() {{}}\n")).is_empty());
        let hidden = format!("#[cfg(test)]\nfn t() {{}}\n{}", "fn a() {}\n".repeat(501));
        assert_eq!(problems("a.rs", &hidden).len(), 1);
    }

    #[test]
    fn unwrap_is_found_outside_tests_only() {
        let text = "fn a() {\n    b\n        .unwrap();\n}\n";
        assert_eq!(problems("src/a.rs", text), ["src/a.rs:3: .unwrap() here"]);
        assert!(problems("tests/a.rs", text).is_empty());
        assert!(problems("x/benches/a.rs", text).is_empty());
        assert!(problems("src/a/tests.rs", text).is_empty());
        assert!(problems("src/a.rs", "/// a.unwrap()\nfn a() { \".unwrap()\"; }").is_empty());
        assert!(problems("src/a.rs", "#[cfg(test)]\nmod t { fn a() { b.unwrap() } }").is_empty());
    }

    #[test]
    fn unfinished_code_is_found_in_tests_too() {
        for word in UNFINISHED {
            let text = format!("fn a() {{ {word}(1) }}");
            assert_eq!(problems("tests/a.rs", &text).len(), 1, "{word}");
        }
        for word in PROMISES {
            assert_eq!(
                problems("a.rs", &format!("// {word} later")).len(),
                1,
                "{word}"
            );
            assert!(problems("a.rs", &format!("const {word}: u8 = 1;")).is_empty());
        }
    }

    #[test]
    fn mod_rs_is_found() {
        assert_eq!(problems("a/mod.rs", "").len(), 1);
        assert!(problems("a/model.rs", "").is_empty());
    }

    #[test]
    fn generated_files_are_left_alone() {
        let text = format!("// @generated by prost\n{}", "a.unwrap();\n".repeat(600));
        assert!(problems("a.rs", &text).is_empty());
    }
}
