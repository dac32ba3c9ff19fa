//! Answers of the query API, read without copying labels.
//!
//! The client library's own types drop the warnings of an answer and copy every label of every series into a hash map, a
//! hundred thousand maps at ten thousand pods. Requests are the library's; answers are read here.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::telemetry::exposition::LabelSet;
use crate::telemetry::reason::{Missing, Reason};

/// Labels of one series, `__name__` among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl LabelSet for Labels<'_> {
    fn label(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        (!value.is_empty()).then(|| Cow::Borrowed(&**value))
    }
}

/// One series of an instant vector.
#[derive(Debug, Clone, Deserialize)]
pub struct Series<'a> {
    /// Labels.
    #[serde(borrow)]
    pub metric: Labels<'a>,
    /// Time of the evaluation, and value.
    #[serde(borrow)]
    value: (f64, Text<'a>),
}

impl Series<'_> {
    /// The value; NaN where it is not a number at all.
    #[must_use]
    pub fn number(&self) -> f64 {
        self.value.1.0.parse().unwrap_or(f64::NAN)
    }
}

/// A vector and what came with it.
#[derive(Debug, Clone, Default)]
pub struct Vector<'a> {
    /// Its series.
    pub series: Vec<Series<'a>>,
    /// Warnings, e.g. that an answer is partial.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    status: String,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    #[serde(rename = "errorType", default)]
    kind: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "resultType")]
    kind: String,
    #[serde(borrow)]
    result: &'a serde_json::value::RawValue,
}

/// The vector in an answer.
///
/// # Errors
/// [`Reason::PrometheusError`] with Prometheus' own words where it refused, [`Reason::Truncated`] for broken JSON.
pub fn vector(body: &[u8]) -> Result<Vector<'_>, Missing> {
    let (data, warnings) = envelope(body)?;
    if data.kind != "vector" {
        return Err(Missing::new(
            Reason::PrometheusError,
            format!("a vector was expected, not a {}", data.kind),
        ));
    }
    let series = serde_json::from_str(data.result.get()).map_err(|e| broken(&e))?;
    Ok(Vector { series, warnings })
}

/// The number in an answer to a scalar query.
///
/// # Errors
/// As [`vector`].
pub fn scalar(body: &[u8]) -> Result<f64, Missing> {
    let (data, _) = envelope(body)?;
    let (_, text): (f64, Text<'_>) =
        serde_json::from_str(data.result.get()).map_err(|e| broken(&e))?;
    let number = text.0.parse().ok().filter(|n: &f64| n.is_finite());
    number.ok_or_else(|| Missing::new(Reason::PrometheusError, format!("{} is no number", text.0)))
}

fn envelope(body: &[u8]) -> Result<(Data<'_>, Vec<String>), Missing> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|e| broken(&e))?;
    match envelope.data {
        Some(data) if envelope.status == "success" => Ok((data, envelope.warnings)),
        _ => {
            let reason = if envelope.kind == "timeout" {
                Reason::Timeout
            } else {
                Reason::PrometheusError
            };
            Err(Missing::new(
                reason,
                format!("{}: {}", envelope.kind, envelope.error),
            ))
        }
    }
}

fn broken(e: &serde_json::Error) -> Missing {
    let reason = if e.is_eof() {
        Reason::Truncated
    } else {
        Reason::PrometheusError
    };
    Missing::new(reason, e.to_string())
}

/// A string, borrowed where JSON has no escapes in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(v))
            }

            fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(v.to_owned()))
            }
        }
        d.deserialize_str(Read).map(Text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Vec<(Cow<'de, str>, Cow<'de, str>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut out = Vec::with_capacity(12);
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    out.push((name.0, value.0));
                }
                Ok(out)
            }
        }
        d.deserialize_map(Read).map(Labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_vectors_with_warnings_and_strange_numbers() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"a","pod":"p\"0"},"value":[1700000000.1,"NaN"]},
            {"metric":{},"value":[1700000000.1,"+Inf"]}]},"warnings":["partial"],"infos":["i"]}"#;
        let v = vector(body).unwrap();
        assert!(v.series[0].number().is_nan() && v.series[1].number() == f64::INFINITY);
        assert_eq!(v.series[0].metric.label("pod").as_deref(), Some("p\"0"));
        assert_eq!(
            (v.series[1].metric.label("pod"), v.warnings),
            (None, vec!["partial".to_owned()])
        );
        let time = br#"{"status":"success","data":{"resultType":"scalar","result":[5.5,"5.5"]}}"#;
        assert_eq!(scalar(time), Ok(5.5));
    }

    #[test]
    fn errors_keep_prometheus_words() {
        let e = |body: &[u8]| vector(body).unwrap_err();
        let refused = e(br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#);
        assert_eq!(
            (refused.reason, refused.detail.as_str()),
            (Reason::PrometheusError, "bad_data: parse error")
        );
        assert_eq!(
            e(br#"{"status":"error","errorType":"timeout","error":"x"}"#).reason,
            Reason::Timeout
        );
        assert_eq!(
            e(br#"{"status":"success","data":{"resu"#).reason,
            Reason::Truncated
        );
        assert_eq!(
            e(br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#).reason,
            Reason::PrometheusError
        );
        assert_eq!(e(b"[]").reason, Reason::PrometheusError);
    }
}
