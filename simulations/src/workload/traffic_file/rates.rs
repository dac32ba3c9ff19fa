//! Rate files: `t_s, rate_rps[, client_cv]`, a row an interval.
//!
//! Rows are means over the interval that they start (that is how the ServeGen traces are made), so the rate is held and
//! not joined: joining would move all traffic half an interval back. An absent or empty cv is 1. A cv above
//! [`MOST_CLIENT_CV`] is taken as that: means over clients are carried off by single clients whose gaps are as long as the
//! interval itself, which the rates show already; as the gaps of all requests, a cv of 40 would mean heaps of 800
//! requests at one instant.

use std::io::BufRead;

use super::bad_line::{BadLine, LineProblem, TrafficFileError};
use super::columns::{self, RateColumns};
use super::lines::Lines;
use super::requests::refuse;
use super::{Notes, RateFile, ReadOptions};
use crate::workload::curve::{Between, Beyond, GREATEST_RATE, Knot, RateCurve};

/// Greatest cv of gaps that is taken from a file.
pub const MOST_CLIENT_CV: f64 = 4.0;
/// Length of a file with a single row, seconds.
const SINGLE_ROW: f64 = 600.0;

pub(super) fn read<R: BufRead>(
    columns: &RateColumns,
    lines: &mut Lines<R>,
    options: ReadOptions,
) -> Result<RateFile, TrafficFileError> {
    let mut notes = Notes::default();
    let mut rows: Vec<Knot> = Vec::new();
    let mut start = None;
    while let Some((number, text)) = lines.next_line()? {
        let parsed = text.and_then(|t| {
            let latest = rows.last().map(|k| k.at);
            row(t, columns, &mut start, latest).map_err(|problem| BadLine {
                line: number,
                problem,
            })
        });
        match parsed {
            Ok(_) if rows.len() == options.most_requests => {
                return Err(TrafficFileError::TooMany {
                    origin: lines.origin.clone(),
                    most: options.most_requests,
                });
            }
            Ok(knot) => rows.push(knot),
            Err(bad) => refuse(bad, &lines.origin, options.on_bad_line, &mut notes)?,
        }
    }
    finish(rows, notes, &lines.origin)
}

fn row(
    text: &str,
    columns: &RateColumns,
    start: &mut Option<i64>,
    latest: Option<f64>,
) -> Result<Knot, LineProblem> {
    let cells: Vec<&str> = columns::fields(text, columns.delimiter).collect();
    let cell = |i: usize, field| cells.get(i).ok_or(LineProblem::Missing { field });
    let time_cell = cell(columns.time.0, "the time")?;
    let time = columns::time(time_cell, columns.time.1)?;
    let at = time.saturating_sub(*start.get_or_insert(time)) as f64 / 1e9;
    if latest.is_some_and(|l| at <= l) {
        return Err(LineProblem::value(
            "the time",
            time_cell,
            "a time after that of the row before",
        ));
    }
    let rate = number("the rate", cell(columns.rate, "the rate")?)?;
    let cv = match columns.cv.and_then(|i| cells.get(i)) {
        Some(text) if !text.is_empty() => number("the cv", text)?.min(MOST_CLIENT_CV),
        _ => 1.0,
    };
    Ok(Knot { at, rate, cv })
}

fn number(field: &'static str, text: &str) -> Result<f64, LineProblem> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=GREATEST_RATE).contains(&x) => Ok(x),
        _ => Err(LineProblem::value(
            field,
            text,
            "a number between 0 and 1e6",
        )),
    }
}

fn finish(mut rows: Vec<Knot>, notes: Notes, origin: &str) -> Result<RateFile, TrafficFileError> {
    if rows.iter().all(|k| k.rate == 0.0) {
        return Err(TrafficFileError::Empty {
            origin: origin.to_owned(),
            skipped: notes.skipped,
        });
    }
    let last = rows[rows.len() - 1].at;
    let step = match rows.len() {
        1 => SINGLE_ROW,
        n => last - rows[n - 2].at,
    };
    let length = last + step;
    rows.push(Knot {
        at: length,
        rate: 0.0,
        cv: 1.0,
    });
    let curve = RateCurve::new(rows, Between::Held, Beyond::Lasts).map_err(|source| {
        TrafficFileError::Rates {
            origin: origin.to_owned(),
            source,
        }
    })?;
    Ok(RateFile {
        curve,
        length,
        notes,
    })
}
