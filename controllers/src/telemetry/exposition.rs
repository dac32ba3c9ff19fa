//! Metrics pages in the Prometheus text format and in OpenMetrics, read without copying.
//!
//! An engine's page has thousands of lines of which a few hundred matter. So a line is cut at its name, the name is offered
//! to the caller, and only the lines that the caller wants are read any further. Names, labels and values stay slices of
//! the page; a label value is copied only when it has an escape in it.
//!
//! A page is never refused as a whole: lines that cannot be read are counted and left out, since half of a replica's
//! telemetry is worth more than none. The one exception is the last line of a page that breaks off: `12` may have been
//! `123`.
//!
//! Not read: names in quotes inside the braces (the UTF-8 syntax of Prometheus 3); no engine writes them unless asked to.

mod labels;

use std::borrow::Cow;

pub use labels::{Labels, Pairs};

/// A set of labels that can be asked by name.
pub trait LabelSet {
    /// The value of the label `name`; an empty value counts as absent, as it does in Prometheus.
    fn label(&self, name: &str) -> Option<Cow<'_, str>>;
}

/// Dialect of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syntax {
    /// Prometheus text format: time stamps in milliseconds.
    #[default]
    Text,
    /// OpenMetrics: time stamps in seconds, exemplars, `# EOF` at the end.
    OpenMetrics,
}

impl Syntax {
    /// By the value of a Content-Type header; `None` when it names something else than a metrics page. Without a type, or
    /// with plain text, it is taken for the text format: several servers say no more.
    #[must_use]
    pub fn of_content_type(value: Option<&str>) -> Option<Self> {
        let kind = value
            .unwrap_or("")
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_ascii_lowercase();
        match kind.as_str() {
            "" | "text/plain" => Some(Self::Text),
            "application/openmetrics-text" => Some(Self::OpenMetrics),
            _ => None,
        }
    }
}

/// One series as it stands on the page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Series<'a> {
    /// Metric name, suffixes like `_bucket` included.
    pub name: &'a str,
    /// Labels.
    pub labels: Labels<'a>,
    /// Value; NaN and infinities are values too.
    pub value: f64,
    /// Time stamp, seconds since the Unix epoch, where the page gives one.
    pub timestamp: Option<f64>,
}

/// What was on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Lines with a sample, wanted or not.
    pub samples: u64,
    /// Wanted lines that were read.
    pub read: u64,
    /// Lines that could not be read.
    pub malformed: u64,
    /// The page breaks off: no newline at its end, or no `# EOF` in OpenMetrics.
    pub truncated: bool,
}

/// Reads the series of `page` whose name `want` recognises, in order, and hands each to `sink` with what `want` made of
/// its name. O(length of the page).
pub fn read<'a, K>(
    page: &'a [u8],
    syntax: Syntax,
    mut want: impl FnMut(&'a str) -> Option<K>,
    mut sink: impl FnMut(K, &Series<'a>),
) -> Census {
    let mut census = Census::default();
    let whole = page
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |last| last + 1);
    let (page, rest) = page.split_at(whole);
    let mut ended = false;
    let mut line = |line: &'a str| {
        let line = line.trim_start_matches([' ', '\t']).trim_end_matches('\r');
        if line.is_empty() {
            return;
        }
        if line.starts_with('#') {
            ended |= line == "# EOF";
            return;
        }
        match sample(line, syntax, &mut want) {
            Line::Unwanted => census.samples += 1,
            Line::Wanted(key, series) => {
                census.samples += 1;
                census.read += 1;
                sink(key, &series);
            }
            Line::Malformed => census.malformed += 1,
        }
    };
    match std::str::from_utf8(page) {
        Ok(text) => text.split('\n').for_each(&mut line),
        Err(_) => {
            let mut unreadable = 0;
            for bytes in page.split(|&b| b == b'\n') {
                match std::str::from_utf8(bytes) {
                    Ok(text) => line(text),
                    Err(_) => unreadable += 1,
                }
            }
            census.malformed += unreadable;
        }
    }
    if syntax == Syntax::OpenMetrics {
        census.truncated = !ended && !rest.starts_with(b"# EOF");
    } else if !rest.is_empty() {
        census.truncated = true;
        census.malformed += 1;
    }
    census
}

enum Line<'a, K> {
    Unwanted,
    Wanted(K, Series<'a>),
    Malformed,
}

fn sample<'a, K>(
    line: &'a str,
    syntax: Syntax,
    want: &mut impl FnMut(&'a str) -> Option<K>,
) -> Line<'a, K> {
    let end = line
        .bytes()
        .position(|b| !(b.is_ascii_alphanumeric() || b == b'_' || b == b':'))
        .unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || rest.is_empty() {
        return Line::Malformed;
    }
    let Some(key) = want(name) else {
        return Line::Unwanted;
    };
    match read_rest(name, rest, syntax) {
        Some(series) => Line::Wanted(key, series),
        None => Line::Malformed,
    }
}

/// Labels, value, time stamp; exemplars are passed over.
fn read_rest<'a>(name: &'a str, rest: &'a str, syntax: Syntax) -> Option<Series<'a>> {
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => Labels::cut(inside)?,
        None => (Labels::default(), rest),
    };
    let mut words = rest.split([' ', '\t']).filter(|w| !w.is_empty());
    let value = number(words.next()?)?;
    let timestamp = match (words.next(), syntax) {
        (None | Some("#"), _) => None,
        (Some(word), Syntax::Text) => Some(word.parse::<i64>().ok()? as f64 / 1e3),
        (Some(word), Syntax::OpenMetrics) => Some(number(word)?),
    };
    match words.next() {
        None | Some("#") => {}
        // A time stamp was read where the exemplar begins only with "#": the rest is its own matter.
        Some(_) if syntax == Syntax::OpenMetrics && rest.contains(" # ") => {}
        Some(_) => return None,
    }
    Some(Series {
        name,
        labels,
        value,
        timestamp,
    })
}

/// A float as Go writes it: `NaN`, `+Inf`, `-Inf`, `1.5e+06`; no underscores, no hexadecimals.
pub(crate) fn number(word: &str) -> Option<f64> {
    // Counts are the common case.
    if word.len() <= 15 && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
        return Some(
            word.bytes()
                .fold(0_u64, |n, b| n * 10 + u64::from(b - b'0')) as f64,
        );
    }
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (String, String, f64, Option<f64>);

    fn all(page: &str, syntax: Syntax) -> (Vec<Read>, Census) {
        let mut got = Vec::new();
        let census = read(page.as_bytes(), syntax, Some, |name, s| {
            let pairs: Vec<String> = s.labels.pairs().map(|(k, v)| format!("{k}={v}")).collect();
            got.push((name.to_owned(), pairs.join(","), s.value, s.timestamp));
        });
        (got, census)
    }

    #[test]
    fn reads_what_the_format_allows() {
        let page = "# HELP a help\n# TYPE a counter\na 1\n a_total { } 2.5e+06 1700000000123\n\
                    b:c{le=\"+Inf\",x=\"a\\\"b\\\\c\\nd\",} +Inf\nc{a=\"}{,=\"}\t-Inf\r\nd NaN\n\n";
        let (got, census) = all(page, Syntax::Text);
        assert_eq!(got[0], ("a".into(), String::new(), 1.0, None));
        assert_eq!(got[1].3, Some(1_700_000_000.123));
        assert_eq!(got[2].1, "le=+Inf,x=a\"b\\c\nd");
        assert_eq!(got[3].1, "a=}{,=");
        assert!(got[4].2.is_nan());
        assert_eq!(
            census,
            Census {
                samples: 5,
                read: 5,
                ..Census::default()
            }
        );
    }

    #[test]
    fn counts_what_it_cannot_read_and_goes_on() {
        let page = "1a 2\na{b=\"c} 1\na{b=c} 1\na x\na\na 1 2 3\nok 1\na{b=\"\\";
        let (got, census) = all(page, Syntax::Text);
        assert_eq!(got.len(), 1);
        assert_eq!(
            (census.read, census.malformed, census.truncated),
            (1, 7, true)
        );
    }

    #[test]
    fn a_page_that_breaks_off_loses_its_last_line_only() {
        let (got, census) = all("a 1\nb 12", Syntax::Text);
        assert_eq!((got.len(), census.truncated), (1, true));
    }

    #[test]
    fn open_metrics_has_exemplars_seconds_and_an_end() {
        let page = "a_bucket{le=\"1\"} 3 1700000000.5 # {trace_id=\"x # y\"} 0.5 1700000000.1\n\
                    b_total 3 # {} 1\n# EOF\n";
        let (got, census) = all(page, Syntax::OpenMetrics);
        assert_eq!(got[0].3, Some(1_700_000_000.5));
        assert_eq!((got[1].2, got[1].3), (3.0, None));
        assert!(!census.truncated);
        assert!(all("a 1\n", Syntax::OpenMetrics).1.truncated);
        assert!(!all("a 1\n# EOF", Syntax::OpenMetrics).1.truncated);
    }

    #[test]
    fn content_types_tell_pages_from_other_things() {
        let of = Syntax::of_content_type;
        assert_eq!(
            of(Some("text/plain; version=0.0.4; charset=utf-8")),
            Some(Syntax::Text)
        );
        assert_eq!(
            of(Some("application/openmetrics-text; version=1.0.0")),
            Some(Syntax::OpenMetrics)
        );
        assert_eq!(of(None), Some(Syntax::Text));
        assert_eq!(of(Some("application/json")), None);
        assert_eq!(of(Some("text/html")), None);
    }

    #[test]
    fn lines_that_are_not_utf8_are_left_out() {
        let mut names = Vec::new();
        let census = read(b"a 1\nb\xff 2\nc 3\n", Syntax::Text, Some, |n, _| {
            names.push(n)
        });
        assert_eq!(names, ["a", "c"]);
        assert_eq!(census.malformed, 1);
    }
}
