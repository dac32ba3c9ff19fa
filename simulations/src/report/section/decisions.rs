//! The decision timeline: what changed, when and why, in a bounded number of rows.

use std::cmp::Reverse;

use serde::Serialize;

use crate::report::figures::{clock, count};
use crate::result::RunResult;
use wva_optimizer::decision::Decision;

/// Most rows of a page's table of decisions.
const MOST_ROWS: usize = 400;
/// Most reasons of a row, and characters of each.
const MOST_REASONS: usize = 3;
const MOST_CHARACTERS: usize = 240;

#[derive(Debug, Clone, Serialize)]
struct Why {
    code: String,
    text: String,
}

#[derive(Debug, Clone, Serialize)]
struct Row {
    time: String,
    variant: String,
    colour: usize,
    up: bool,
    from: u32,
    to: u32,
    planned: u32,
    reasons: Vec<Why>,
}

/// The rows, and how many decisions there were.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Decisions {
    rows: Vec<Row>,
    note: String,
}

/// The changed decisions of a run in order of time; where they are too many, those that moved most replicas, and of equal
/// ones an even spread over the run.
pub(super) fn decisions(run: &RunResult) -> Decisions {
    let changed = run.decisions.iter().filter(|d| d.current != d.target);
    let mut chosen: Vec<(usize, &Decision)> = changed.enumerate().collect();
    let all = chosen.len();
    if all > MOST_ROWS {
        chosen.sort_by_key(|(i, d)| {
            // Reversed bits visit ordinals evenly: 0, 256, 128, 384, 64, …
            (Reverse(d.current.abs_diff(d.target)), i.reverse_bits())
        });
        chosen.truncate(MOST_ROWS);
        chosen.sort_by_key(|(i, _)| *i);
    }
    let note = if all > MOST_ROWS {
        let (shown, all) = (count(MOST_ROWS as u64), count(all as u64));
        format!("The {shown} largest of {all} changes.")
    } else {
        match all {
            0 => String::new(),
            1 => "1 change.".to_owned(),
            n => format!("All {} changes.", count(n as u64)),
        }
    };
    Decisions {
        rows: chosen.into_iter().map(|(_, d)| row(run, d)).collect(),
        note,
    }
}

fn row(run: &RunResult, d: &Decision) -> Row {
    let ordinal = run.variants.iter().position(|v| v.variant == d.variant);
    let why = d.reasons.iter().take(MOST_REASONS).map(|r| Why {
        code: shortened(&r.code),
        text: shortened(&r.text),
    });
    Row {
        time: clock(d.at),
        variant: d.variant.clone(),
        colour: ordinal.unwrap_or(0) % crate::report::chart::Look::COLOURS,
        up: d.target > d.current,
        from: d.current,
        to: d.target,
        planned: d.planned,
        reasons: why.collect(),
    }
}

fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let mut out: String = characters.by_ref().take(MOST_CHARACTERS).collect();
    if characters.next().is_some() {
        out.push('…');
    }
    out
}
