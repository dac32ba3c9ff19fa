//! What can be wrong with a traffic file, and what to do about it.

/// What to do about lines that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBadLine {
    /// Stop at the first one. The default: a wrong unit or column spoils every line, and half a trace is another trace.
    #[default]
    Fail,
    /// Leave them out; the notes have their number and the first few.
    Skip,
}

/// Why a traffic file cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrafficFileError {
    /// Reading failed.
    #[error("{origin}: cannot be read: {message}")]
    Read {
        /// Name of the file.
        origin: String,
        /// What the operating system says.
        message: String,
    },
    /// A line cannot be used.
    #[error("{origin}:{bad} (fix it, or leave out such lines with --on-bad-line skip)")]
    Line {
        /// Name of the file.
        origin: String,
        /// The line and its problem.
        bad: BadLine,
    },
    /// No line is left.
    #[error(
        "{origin}: no traffic in it ({skipped} bad lines skipped); expected a request a line below a CSV header, a JSON object a \
         line, or rates of which some are above 0"
    )]
    Empty {
        /// Name of the file.
        origin: String,
        /// Bad lines skipped.
        skipped: u64,
    },
    /// Neither a known CSV header nor JSON lines.
    #[error(
        "{origin}:{line}: unknown format; expected a CSV header with a time, input-token and output-token column \
         (`TIMESTAMP,ContextTokens,GeneratedTokens`), one with a time and a rate (`t_s,rate_rps`), or a JSON object a \
         line (`{{\"timestamp\": 0, \"input_length\": 10, \"output_length\": 5}}`), not `{first_line}`"
    )]
    UnknownFormat {
        /// Name of the file.
        origin: String,
        /// Number of the first line with content.
        line: u64,
        /// Its beginning.
        first_line: String,
    },
    /// More requests than memory is meant for.
    #[error("{origin}: more than {most} requests; cut the file into pieces")]
    TooMany {
        /// Name of the file.
        origin: String,
        /// The limit.
        most: usize,
    },
    /// The rows of a rate file do not make a curve.
    #[error("{origin}: {source}")]
    Rates {
        /// Name of the file.
        origin: String,
        /// Why not.
        source: crate::workload::curve::CurveError,
    },
}

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{line}: {problem}")]
pub struct BadLine {
    /// Line number, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: LineProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LineProblem {
    /// It is too long to be a request.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// It is not UTF-8.
    #[error("not UTF-8 text")]
    NotText,
    /// It is not the JSON object that lines before it were.
    #[error("not a JSON object: {message}")]
    NotJson {
        /// What the JSON parser says.
        message: String,
    },
    /// A field that every line needs is not there.
    #[error("{field} is missing")]
    Missing {
        /// Which field.
        field: &'static str,
    },
    /// A field's value cannot be used.
    #[error("{field} is `{value}`; expected {expected}")]
    Value {
        /// Which field.
        field: &'static str,
        /// The value, shortened.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// The time is far from the latest one before.
    #[error(
        "its time is {seconds:.0} s {direction} the latest line before it: are these several traces in one file?"
    )]
    FarOff {
        /// How far.
        seconds: f64,
        /// `behind` or `ahead of`.
        direction: &'static str,
    },
}

impl LineProblem {
    pub(super) fn value(field: &'static str, value: &str, expected: &'static str) -> Self {
        Self::Value {
            field,
            value: value.chars().take(40).collect(),
            expected,
        }
    }
}
