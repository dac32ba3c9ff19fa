//! Recorded traffic: one reader for every format, told apart by content.
//!
//! | first line | taken as |
//! |---|---|
//! | `{…}` | one JSON object a line: Mooncake (`timestamp` in ms, `input_length`, `output_length`, `hash_ids`) and its variants |
//! | a CSV header with a time, an input and an output column | a request a line: Azure, BurstGPT, Splitwise, Vidur, … |
//! | a CSV header with a time and a rate column | a rate file: `t_s, rate_rps[, client_cv]` |
//!
//! Columns are known by name, whatever their case and punctuation, see [`columns`]; others are ignored. Telling formats
//! apart by content and not by file name means that a renamed or piped file works.
//!
//! What is done with odd lines, and why:
//!
//! - *Zero output tokens* become 1: traces write 0 for requests that failed or were cancelled, which still had their
//!   prompt computed. *Zero input tokens* become 1. Both are counted in the notes.
//! - *NaN, negative, fractional or more than ten million tokens*, unreadable times, missing fields, invalid UTF-8 and
//!   lines beyond a megabyte are bad lines: see [`OnBadLine`].
//! - *Times out of order* are sorted and noted. A line more than an hour behind the latest one, or more than a day ahead
//!   of it, is a bad line: such a file is two traces in one, or its clock is broken.
//! - *Ticks*: where requests share timestamps and those are at least 50 ms apart, the recorder has rounded; each request
//!   is later placed uniformly inside its tick, see [`super::trace`]. Taken literally, ticks look like violent bursts.

use std::io::BufRead;

use super::curve::RateCurve;
use super::trace::Trace;

pub mod bad_line;
pub mod columns;
mod lines;
mod rates;
mod requests;

pub use bad_line::{BadLine, LineProblem, OnBadLine, TrafficFileError};
use columns::Header;
use lines::Lines;

/// What a traffic file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Recording {
    /// Single requests.
    Requests(Trace),
    /// Rates over time: requests and their sizes are drawn.
    Rates(RateFile),
}

/// A recorded rate curve.
#[derive(Debug, Clone, PartialEq)]
pub struct RateFile {
    /// The rate: each row's is held until the next, since rows are means over their interval; 0 after the last one.
    pub curve: RateCurve,
    /// Seconds that the file covers: its last row counts for as long as the one before it.
    pub length: f64,
    /// What was odd about the file.
    pub notes: Notes,
}

/// How to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// What to do about lines that cannot be used.
    pub on_bad_line: OnBadLine,
    /// Most requests to hold in memory (about 50 bytes each, plus prefix hashes).
    pub most_requests: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            on_bad_line: OnBadLine::Fail,
            most_requests: 50_000_000,
        }
    }
}

/// What was odd about a file, without being wrong.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Notes {
    /// Lines skipped because they could not be used.
    pub skipped: u64,
    /// The first few of them.
    pub first_skipped: Vec<BadLine>,
    /// Lines earlier than one before them.
    pub out_of_order: u64,
    /// Requests without output tokens, taken as 1.
    pub zero_outputs: u64,
    /// Requests without input tokens, taken as 1.
    pub zero_inputs: u64,
    /// Seconds of the recorder's clock tick, where it rounded.
    pub tick_seconds: Option<f64>,
}

impl Notes {
    /// The notes as sentences for people, none when nothing was odd.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.skipped > 0 {
            let first: Vec<_> = self.first_skipped.iter().map(ToString::to_string).collect();
            all.push(format!(
                "{} bad lines skipped: {}",
                self.skipped,
                first.join("; ")
            ));
        }
        let counted = [
            (
                self.out_of_order,
                "lines were out of order and have been sorted",
            ),
            (
                self.zero_outputs,
                "requests had 0 output tokens and count as 1",
            ),
            (
                self.zero_inputs,
                "requests had 0 input tokens and count as 1",
            ),
        ];
        for (count, what) in counted {
            if count > 0 {
                all.push(format!("{count} {what}"));
            }
        }
        if let Some(tick) = self.tick_seconds {
            all.push(format!(
                "timestamps are rounded to {tick:.3} s: requests are placed uniformly inside"
            ));
        }
        all
    }

    fn skip(&mut self, line: BadLine) {
        self.skipped += 1;
        if self.first_skipped.len() < 3 {
            self.first_skipped.push(line);
        }
    }
}

/// Reads the traffic in `input`; `origin` is its name in messages.
///
/// Memory: one line at a time, and for requests what [`Trace`] keeps of them.
///
/// # Errors
/// [`TrafficFileError`] when reading fails, the format is unknown, a line is bad and [`OnBadLine::Fail`] holds, there
/// are more than [`ReadOptions::most_requests`], or nothing is left.
pub fn read(
    input: impl BufRead,
    origin: &str,
    options: ReadOptions,
) -> Result<Recording, TrafficFileError> {
    let mut lines = Lines::new(input, origin);
    let Some((number, first)) = lines.next_line()? else {
        return Err(TrafficFileError::Empty {
            origin: origin.to_owned(),
            skipped: 0,
        });
    };
    let unknown = |first_line: &str| TrafficFileError::UnknownFormat {
        origin: origin.to_owned(),
        line: number,
        first_line: first_line.chars().take(80).collect(),
    };
    let first = first
        .map_err(|_| unknown("something that is not text"))?
        .to_owned();
    if first.starts_with('{') {
        return requests::read_json(&first, number, &mut lines, options).map(Recording::Requests);
    }
    match Header::parse(&first) {
        Some(Header::Requests(columns)) => {
            requests::read_csv(&columns, &mut lines, options).map(Recording::Requests)
        }
        Some(Header::Rates(columns)) => {
            rates::read(&columns, &mut lines, options).map(Recording::Rates)
        }
        None => Err(unknown(&first)),
    }
}
