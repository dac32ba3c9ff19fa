//! What `cargo test` prints, summed up.
//!
//! The lines of libtest are read as they pass, because its JSON output is not stable. Lines that are not
//! understood are only passed on.

/// The tests of one run, over all binaries.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many test binaries (and groups of documentation tests) began.
    pub started: usize,
    /// How many of them reported.
    pub binaries: usize,
    /// How many tests passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// The names of tests that failed.
    pub failures: Vec<String>,
    /// The names of tests marked `#[ignore]`, with the reason given.
    pub ignored: Vec<String>,
}

impl Tally {
    /// Takes in one line of output.
    pub fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.binaries += 1;
            self.passed += number_before(result, " passed");
            self.failed += number_before(result, " failed");
            return;
        }
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.started += 1;
        }
        let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        if outcome == "FAILED" {
            self.failures.push(name.to_owned());
        } else if let Some(reason) = outcome.strip_prefix("ignored") {
            self.ignored.push(format!("{name}{reason}"));
        }
    }
}

/// The number that stands before these words; 0 if there is none.
fn number_before(text: &str, words: &str) -> usize {
    let number = text
        .split(words)
        .next()
        .filter(|before| before.len() < text.len())
        .and_then(|before| before.rsplit(' ').next());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn all_binaries_are_summed_up() {
        let found = tally(
            "running 3 tests\n\
             test queue::mm1 ... ok\n\
             test report::opens_in_browser ... ignored, needs a browser\n\
             test plan::cheapest - should panic ... FAILED\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s\n\
             \n\
             running 1 test\n\
             test src/lib.rs - example (line 3) ... ok\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s\n",
        );
        assert_eq!((found.started, found.binaries), (2, 2));
        assert_eq!((found.passed, found.failed), (2, 1));
        assert_eq!(found.failures, ["plan::cheapest - should panic"]);
        assert_eq!(found.ignored, ["report::opens_in_browser, needs a browser"]);
    }

    #[test]
    fn other_lines_count_for_nothing() {
        let text = "test\ntest result\ntesting ... FAILED\nthread 'a' panicked\ntest result: odd\n";
        let found = tally(text);
        assert_eq!((found.passed, found.failed), (0, 0));
        assert!(found.failures.is_empty());
    }
}
