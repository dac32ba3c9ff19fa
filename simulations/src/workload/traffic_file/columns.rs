//! Columns of traffic files: known by name, and read with their units.
//!
//! Names are compared without case and punctuation: `ContextTokens`, `context_tokens` and `Context Tokens` are one.
//! A numeric time is in seconds in a CSV file (BurstGPT, Vidur) and in milliseconds under a JSON `timestamp`
//! (Mooncake), unless its name says otherwise; a time may also be a date and time of day, with or without fraction and
//! zone (none means UTC).

use chrono::{DateTime, NaiveDateTime};

use super::bad_line::LineProblem;

/// Most tokens that a request may have: ten million, beyond any model's context.
pub const MOST_TOKENS: u32 = 10_000_000;

/// Unit of a time that is a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeUnit {
    Seconds,
    Millis,
}

/// What a column or a JSON key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Time(TimeUnit),
    Input,
    Output,
    Rate,
    Cv,
    Hashes,
}

impl Column {
    /// The meaning of `name`, if it has one; `plain` is the unit of a `timestamp`, whose name does not tell.
    pub fn named(name: &str, plain: TimeUnit) -> Option<Self> {
        let key: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        Some(match key.as_str() {
            "timestamp" => Self::Time(plain),
            "time" | "t" | "ts" | "times" | "timestamps" | "arrivaltime" | "arrivaltimes"
            | "arrivaltimestamp" | "arrivedat" | "arrivals" => Self::Time(TimeUnit::Seconds),
            "tms" | "timems" | "timestampms" | "arrivalms" | "arrivaltimems" => {
                Self::Time(TimeUnit::Millis)
            }
            "contexttokens" | "requesttokens" | "inputtokens" | "prompttokens" | "inputlength"
            | "inputlen" | "promptlength" | "promptlen" | "promptsize" | "prefilltokens"
            | "numprefilltokens" | "isl" => Self::Input,
            "generatedtokens" | "responsetokens" | "outputtokens" | "completiontokens"
            | "outputlength" | "outputlen" | "responselength" | "decodetokens"
            | "numdecodetokens" | "tokensize" | "osl" => Self::Output,
            "raterps" | "rps" | "rate" | "requestspersecond" => Self::Rate,
            "clientcv" | "cv" => Self::Cv,
            "hashids" => Self::Hashes,
            _ => return None,
        })
    }
}

/// Where the columns of a CSV file with single requests are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestColumns {
    pub time: (usize, TimeUnit),
    pub input: usize,
    pub output: usize,
    pub delimiter: char,
}

/// Where the columns of a rate file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateColumns {
    pub time: (usize, TimeUnit),
    pub rate: usize,
    pub cv: Option<usize>,
    pub delimiter: char,
}

/// A CSV header that makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Requests(RequestColumns),
    Rates(RateColumns),
}

impl Header {
    /// The columns that a header line names; `None` when those of no format are all there.
    pub fn parse(line: &str) -> Option<Self> {
        let delimiter = [',', ';', '\t'].into_iter().find(|&d| line.contains(d))?;
        let columns: Vec<_> = fields(line, delimiter)
            .map(|name| Column::named(name, TimeUnit::Seconds))
            .collect();
        let find = |column| columns.iter().position(|&c| c == Some(column));
        let time = columns.iter().enumerate().find_map(|(i, c)| match c {
            Some(Column::Time(unit)) => Some((i, *unit)),
            _ => None,
        })?;
        if let (Some(input), Some(output)) = (find(Column::Input), find(Column::Output)) {
            return Some(Self::Requests(RequestColumns {
                time,
                input,
                output,
                delimiter,
            }));
        }
        Some(Self::Rates(RateColumns {
            time,
            rate: find(Column::Rate)?,
            cv: find(Column::Cv),
            delimiter,
        }))
    }
}

/// The fields of a CSV line, trimmed and without quotes around them; a delimiter inside quotes does not part.
pub(super) fn fields(line: &str, delimiter: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c| {
        quoted ^= c == '"';
        c == delimiter && !quoted
    })
    .map(|field| field.trim().trim_matches('"').trim())
}

/// Nanoseconds (since the recorder's epoch) of a time as text.
pub(super) fn time(text: &str, unit: TimeUnit) -> Result<i64, LineProblem> {
    let expected = "a number or a date and time such as 2023-11-16 18:15:46.68";
    let bad = || LineProblem::value("the time", text, expected);
    if let Ok(number) = text.parse::<f64>() {
        let nanos = number
            * match unit {
                TimeUnit::Seconds => 1e9,
                TimeUnit::Millis => 1e6,
            };
        // Also refuses NaN; 9.2e18 ns is the year 2262 counted from 1970.
        return if nanos.abs() < 9.2e18 {
            Ok(nanos.round() as i64)
        } else {
            Err(bad())
        };
    }
    date_time(text)
        .and_then(|t| t.timestamp_nanos_opt())
        .ok_or_else(bad)
}

/// `2023-11-16 18:15:46[.fraction][zone]`, with a blank or a `T`; no zone is UTC.
fn date_time(text: &str) -> Option<DateTime<chrono::FixedOffset>> {
    let date = text.get(..10)?;
    let clock = text.get(11..)?.trim();
    let clock = clock.strip_suffix("UTC").unwrap_or(clock).trim();
    let plain = format!("{date} {clock}");
    let zoned = plain.strip_suffix(['Z', 'z']).map(|p| format!("{p}+00:00"));
    let text = zoned.as_deref().unwrap_or(&plain);
    ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z"]
        .iter()
        .find_map(|format| DateTime::parse_from_str(text, format).ok())
        .or_else(|| {
            let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
            Some(naive.and_utc().fixed_offset())
        })
}

/// A token count as text; `374.0` is 374.
pub(super) fn tokens(field: &'static str, text: &str) -> Result<u32, LineProblem> {
    match text.parse::<f64>() {
        Ok(n) if n.fract() == 0.0 && (0.0..=f64::from(MOST_TOKENS)).contains(&n) => Ok(n as u32),
        _ => Err(LineProblem::value(
            field,
            text,
            "a whole number of tokens from 0 to 10,000,000",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_in_every_spelling() {
        let expected = 1_700_158_546_680_590_000;
        for text in [
            "2023-11-16 18:15:46.6805900",
            "2023-11-16T18:15:46.680590Z",
            "2023-11-16 18:15:46.68059+00:00",
            "2023-11-16 20:15:46.680590 +02:00",
            "2023-11-16 18:15:46.680590 UTC",
            "2023-11-16 13:15:46.680590-05",
        ] {
            assert_eq!(time(text, TimeUnit::Seconds), Ok(expected), "{text}");
        }
        assert_eq!(
            time("2024-05-10 00:00:00+00:00", TimeUnit::Seconds),
            Ok(1_715_299_200_000_000_000)
        );
        assert_eq!(time("1.5", TimeUnit::Seconds), Ok(1_500_000_000));
        assert_eq!(time("1.5", TimeUnit::Millis), Ok(1_500_000));
        for text in [
            "",
            "NaN",
            "inf",
            "1e300",
            "yesterday",
            "2023-13-01 00:00:00",
            "2023-11-16",
            "äöüäöüäöü 18",
        ] {
            assert!(time(text, TimeUnit::Seconds).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_fields_outside_quotes() {
        let line = r#" 1 ,"a, b" ,,"3""#;
        assert_eq!(
            fields(line, ',').collect::<Vec<_>>(),
            ["1", "a, b", "", "3"]
        );
    }

    #[test]
    fn refuses_absurd_token_counts() {
        assert_eq!(tokens("output", "374.0"), Ok(374));
        for text in ["-1", "NaN", "1.5", "1e9", "", "12x"] {
            assert!(tokens("output", text).is_err(), "{text}");
        }
    }
}
