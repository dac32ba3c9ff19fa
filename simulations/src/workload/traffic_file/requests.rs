//! Request traces, a line a request.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::bad_line::{BadLine, LineProblem, OnBadLine, TrafficFileError};
use super::columns::{self, Column, RequestColumns, TimeUnit};
use super::lines::Lines;
use super::{Notes, ReadOptions};
use crate::workload::trace::{Recorded, Trace};

/// Furthest that a line may be behind the latest one before it, nanoseconds: an hour.
const FURTHEST_BEHIND: i64 = 3_600_000_000_000;
/// Furthest that it may be ahead of it: a day.
const FURTHEST_AHEAD: i64 = 24 * FURTHEST_BEHIND;

/// One request with the recorder's own time in nanoseconds.
struct Line {
    time: i64,
    input: u32,
    output: u32,
    hash_ids: Option<Box<[u64]>>,
}

pub(super) fn read_csv<R: BufRead>(
    columns: &RequestColumns,
    lines: &mut Lines<R>,
    options: ReadOptions,
) -> Result<Trace, TrafficFileError> {
    let mut collected = Collected::new(&lines.origin, options);
    while let Some((number, text)) = lines.next_line()? {
        collected.take(
            number,
            text.and_then(|t| csv_line(t, columns).map_err(at(number))),
        )?;
    }
    collected.finish()
}

pub(super) fn read_json<R: BufRead>(
    first: &str,
    first_number: u64,
    lines: &mut Lines<R>,
    options: ReadOptions,
) -> Result<Trace, TrafficFileError> {
    let mut collected = Collected::new(&lines.origin, options);
    collected.take(first_number, json_line(first).map_err(at(first_number)))?;
    while let Some((number, text)) = lines.next_line()? {
        collected.take(number, text.and_then(|t| json_line(t).map_err(at(number))))?;
    }
    collected.finish()
}

fn at(line: u64) -> impl Fn(LineProblem) -> BadLine {
    move |problem| BadLine { line, problem }
}

fn csv_line(text: &str, columns: &RequestColumns) -> Result<Line, LineProblem> {
    let (mut time, mut input, mut output) = (None, None, None);
    for (i, field) in columns::fields(text, columns.delimiter).enumerate() {
        if i == columns.time.0 {
            time = Some(field);
        } else if i == columns.input {
            input = Some(field);
        } else if i == columns.output {
            output = Some(field);
        }
    }
    let missing = |field| LineProblem::Missing { field };
    Ok(Line {
        time: columns::time(time.ok_or(missing("the time"))?, columns.time.1)?,
        input: columns::tokens("input tokens", input.ok_or(missing("input tokens"))?)?,
        output: columns::tokens("output tokens", output.ok_or(missing("output tokens"))?)?,
        hash_ids: None,
    })
}

fn json_line(text: &str) -> Result<Line, LineProblem> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|e| LineProblem::NotJson {
            message: e.to_string(),
        })?;
    let (mut time, mut input, mut output, mut hash_ids) = (None, None, None, None);
    for (key, value) in &object {
        match Column::named(key, TimeUnit::Millis) {
            Some(Column::Time(unit)) => time = Some(columns::time(&plain(value), unit)?),
            Some(Column::Input) => input = Some(columns::tokens("input tokens", &plain(value))?),
            Some(Column::Output) => output = Some(columns::tokens("output tokens", &plain(value))?),
            Some(Column::Hashes) => hash_ids = Some(hashes(value)?),
            _ => {}
        }
    }
    let missing = |field| LineProblem::Missing { field };
    Ok(Line {
        time: time.ok_or(missing("the time (`timestamp`)"))?,
        input: input.ok_or(missing("the input (`input_length`)"))?,
        output: output.ok_or(missing("the output (`output_length`)"))?,
        hash_ids,
    })
}

/// A JSON scalar as a CSV file would have it.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), |s| s.trim().to_owned())
}

fn hashes(value: &Value) -> Result<Box<[u64]>, LineProblem> {
    value
        .as_array()
        .and_then(|list| list.iter().map(Value::as_u64).collect())
        .ok_or_else(|| {
            LineProblem::value("hash_ids", &value.to_string(), "a list of whole numbers")
        })
}

/// Lines taken so far.
struct Collected {
    origin: String,
    options: ReadOptions,
    notes: Notes,
    latest: Option<i64>,
    lines: Vec<Line>,
}

impl Collected {
    fn new(origin: &str, options: ReadOptions) -> Self {
        Self {
            origin: origin.to_owned(),
            options,
            notes: Notes::default(),
            latest: None,
            lines: Vec::new(),
        }
    }

    fn take(&mut self, number: u64, line: Result<Line, BadLine>) -> Result<(), TrafficFileError> {
        match line.and_then(|l| self.in_order(l).map_err(at(number))) {
            Ok(_) if self.lines.len() == self.options.most_requests => {
                Err(TrafficFileError::TooMany {
                    origin: self.origin.clone(),
                    most: self.options.most_requests,
                })
            }
            Ok(line) => {
                self.notes.zero_inputs += u64::from(line.input == 0);
                self.notes.zero_outputs += u64::from(line.output == 0);
                self.lines.push(Line {
                    input: line.input.max(1),
                    output: line.output.max(1),
                    ..line
                });
                Ok(())
            }
            Err(bad) => refuse(bad, &self.origin, self.options.on_bad_line, &mut self.notes),
        }
    }

    /// The line, when its time is near the others'.
    fn in_order(&mut self, line: Line) -> Result<Line, LineProblem> {
        let latest = self.latest.unwrap_or(line.time);
        let ahead = line.time.saturating_sub(latest);
        let far = |direction| LineProblem::FarOff {
            seconds: ahead as f64 / 1e9,
            direction,
        };
        if ahead > FURTHEST_AHEAD {
            return Err(far("ahead of"));
        }
        if ahead < -FURTHEST_BEHIND {
            return Err(far("behind"));
        }
        self.notes.out_of_order += u64::from(ahead < 0);
        self.latest = Some(latest.max(line.time));
        Ok(line)
    }

    fn finish(mut self) -> Result<Trace, TrafficFileError> {
        self.lines.sort_by_key(|l| l.time);
        let Some(first) = self.lines.first().map(|l| l.time) else {
            return Err(TrafficFileError::Empty {
                origin: self.origin.clone(),
                skipped: self.notes.skipped,
            });
        };
        let recorded = self.lines.into_iter().map(|l| Recorded {
            at: l.time.abs_diff(first),
            input: l.input,
            output: l.output,
            hash_ids: l.hash_ids,
        });
        Ok(Trace::new(recorded.collect(), self.notes))
    }
}

/// Fails over a bad line, or notes it and goes on.
pub(super) fn refuse(
    bad: BadLine,
    origin: &str,
    on_bad_line: OnBadLine,
    notes: &mut Notes,
) -> Result<(), TrafficFileError> {
    match on_bad_line {
        OnBadLine::Fail => Err(TrafficFileError::Line {
            origin: origin.to_owned(),
            bad,
        }),
        OnBadLine::Skip => {
            notes.skip(bad);
            Ok(())
        }
    }
}
