//! Why a catalogue cannot be made: always where, what value, and what to do about it.

use std::fmt;
use std::sync::Arc;

use super::floor::LatencyKind;
use crate::service_class::Statistic;

/// A place in a file, as `file:line:column`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, or whatever the text came from.
    pub origin: Arc<str>,
    /// Line and column, both from 1, where known.
    pub line: Option<(u32, u32)>,
}

impl Place {
    /// Somewhere in the file.
    #[must_use]
    pub fn file(origin: &str) -> Self {
        Self {
            origin: origin.into(),
            line: None,
        }
    }

    /// A line and column of the file, both from 1; line 0 means unknown.
    #[must_use]
    pub fn at(origin: &str, line: u64, column: u64) -> Self {
        Self {
            origin: origin.into(),
            line: match (u32::try_from(line), u32::try_from(column)) {
                (Ok(line), Ok(column)) if line > 0 => Some((line, column)),
                _ => None,
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some((line, column)) = self.line {
            write!(f, ":{line}:{column}")?;
        }
        Ok(())
    }
}

/// Why a text is not a catalogue. The message reads `file:line:column: what is wrong; what to do`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CatalogueError {
    /// Not YAML, or a key, type or number that the format does not allow.
    #[error("{place}: {message}{}", excerpt(.line))]
    Yaml {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
        /// The offending line, cut to 100 characters; empty where unknown.
        line: String,
    },
    /// The text says nothing, and something is needed.
    #[error(
        "{place}: there is nothing in it but comments or blanks; the files in `examples/` are good starts"
    )]
    Empty {
        /// Which file.
        place: Place,
    },
    /// The text is larger than anyone writes by hand.
    #[error("{place}: {bytes} bytes of YAML are too many; at most {limit} are read")]
    TooLarge {
        /// Which file.
        place: Place,
        /// Its size.
        bytes: usize,
        /// Greatest size, bytes.
        limit: usize,
    },
    /// A name that nothing has.
    #[error("{place}: unknown {kind} `{name}`{}", remedy(.nearest.as_deref(), .kind, .known))]
    Unknown {
        /// Where.
        place: Place,
        /// `accelerator`, `model`, `variant` or `class`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The most similar known name, if any is similar.
        nearest: Option<Box<str>>,
        /// All known names.
        known: Box<[String]>,
    },
    /// Two entries of one kind with one name.
    #[error("{place}: {kind} `{name}` is there twice; remove one{}", rename(.kind))]
    Duplicate {
        /// Where the second one is.
        place: Place,
        /// `accelerator`, `model`, `variant`, `class` or `stock`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A new accelerator or model without all its figures.
    #[error(
        "{place}: {kind} `{name}` is not built in, so it needs {}; to change a built-in one, use its name{}",
        .missing.join(", "), .nearest.as_ref().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default()
    )]
    Incomplete {
        /// Where.
        place: Place,
        /// `accelerator` or `model`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Keys that are missing.
        missing: Vec<&'static str>,
        /// A similar built-in name, if any.
        nearest: Option<Box<str>>,
    },
    /// A number outside its domain.
    #[error("{place}: {what} of `{name}` must be {domain}, not {value}")]
    Invalid {
        /// Where.
        place: Place,
        /// Which number.
        what: &'static str,
        /// Of what.
        name: String,
        /// Its domain in words.
        domain: &'static str,
        /// The number.
        value: f64,
    },
    /// A lower limit above its upper limit.
    #[error(
        "{place}: variant `{variant}` has min_replicas {min} above max_replicas {max}; lower the one or raise the other"
    )]
    MinAboveMax {
        /// Where.
        place: Place,
        /// Variant name.
        variant: String,
        /// Fewest replicas.
        min: u32,
        /// Most replicas.
        max: u32,
    },
    /// Nobody knows what a replica costs.
    #[error(
        "{place}: variant `{variant}` has no price and no price of {accelerator} is known; give the variant \
         price_per_hour_usd (per replica), or `accelerators: [{{name: {accelerator}, price_per_hour_usd: ...}}]` (per device)"
    )]
    NoPrice {
        /// Where.
        place: Place,
        /// Variant name.
        variant: String,
        /// Accelerator name.
        accelerator: String,
    },
    /// Tensor parallelism that the model's heads cannot be split over.
    #[error(
        "{place}: tensor_parallel {value} does not divide the heads of {model}; possible are {}",
        list(.possible)
    )]
    Indivisible {
        /// Where.
        place: Place,
        /// Model name.
        model: String,
        /// The tensor parallelism.
        value: u32,
        /// Values up to 16 that would do.
        possible: Vec<u32>,
    },
    /// The weights leave no memory for a KV cache.
    #[error(
        "{place}: {model} does not fit {accelerator} with tensor_parallel {tensor_parallel}: {missing_gb:.1} GB a device are \
         missing; {}", fitting_split(*.fitting)
    )]
    DoesNotFit {
        /// Where.
        place: Place,
        /// Model name.
        model: String,
        /// Accelerator name.
        accelerator: String,
        /// Devices per replica.
        tensor_parallel: u32,
        /// What is missing on each device, GB (10⁹ bytes).
        missing_gb: f64,
        /// Smallest tensor parallelism that fits, if one up to 16 does.
        fitting: Option<u32>,
    },
    /// Prefill replicas without decode replicas or the other way round.
    #[error(
        "{place}: model {model} has {present} variants but no {absent} variant to pair them with; add one, or use role both"
    )]
    Unpaired {
        /// Which file.
        place: Place,
        /// Model name.
        model: String,
        /// Role that is there.
        present: &'static str,
        /// Role that is not.
        absent: &'static str,
    },
    /// No accelerator with a price fits a model for which no variant is given.
    #[error(
        "{place}: no accelerator with a price (and stock) fits {model}; add a variant for it under `variants`"
    )]
    NothingToOffer {
        /// Which file.
        place: Place,
        /// Model name.
        model: String,
    },
    /// A bound that physics rules out on every variant.
    #[error(
        "{place}: class `{class}` asks for {kind} {statistic} ≤ {limit_ms:.1} ms, but no variant of {model} can go below \
         {floor_ms:.1} ms for these requests ({}, {variant}); raise the bound, or add a faster or more parallel variant",
        .kind.reason()
    )]
    BelowFloor {
        /// Which file.
        place: Place,
        /// Class name.
        class: Box<str>,
        /// Model name.
        model: Box<str>,
        /// Which latency.
        kind: LatencyKind,
        /// Statistic of the bound.
        statistic: Statistic,
        /// The bound, ms; for a bound that grows with the input, without the growth.
        limit_ms: f64,
        /// Least possible value of the statistic (less the growth), ms.
        floor_ms: f64,
        /// The variant that comes closest.
        variant: Box<str>,
    },
}

fn excerpt(line: &str) -> String {
    if line.is_empty() {
        String::new()
    } else {
        format!(" (in `{line}`)")
    }
}

fn remedy(nearest: Option<&str>, kind: &str, known: &[String]) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None if known.is_empty() => format!("; there is no {kind} yet, add it"),
        None => format!("; known are {}", known.join(", ")),
    }
}

fn rename(kind: &str) -> &'static str {
    if kind == "variant" {
        ", or give it another `name`"
    } else {
        ""
    }
}

fn list(values: &[u32]) -> String {
    let words: Vec<String> = values.iter().map(u32::to_string).collect();
    words.join(", ")
}

fn fitting_split(tensor_parallel: Option<u32>) -> String {
    tensor_parallel.map_or_else(
        || {
            "no tensor_parallel up to 16 fits: use a larger device or a smaller precision"
                .to_owned()
        },
        |tp| format!("tensor_parallel {tp} fits"),
    )
}
