//! Which of the three discovery formats a client wants of `/apis`.

use axum::http::{HeaderMap, header};

/// A format of the list of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `APIGroupList`.
    Plain,
    /// `APIGroupDiscoveryList` of `apidiscovery.k8s.io/v2`.
    AggregatedV2,
    /// `APIGroupDiscoveryList` of `apidiscovery.k8s.io/v2beta1`.
    AggregatedV2Beta1,
}

/// The client takes none of the formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unacceptable;

impl Format {
    /// The media type to answer with: the aggregator believes an aggregated document by this and nothing else.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "application/json",
            Self::AggregatedV2 => {
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            }
            Self::AggregatedV2Beta1 => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
        }
    }

    /// Version of `apidiscovery.k8s.io`; the plain format has none and says `v1`.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Plain => "v1",
            Self::AggregatedV2 => "v2",
            Self::AggregatedV2Beta1 => "v2beta1",
        }
    }
}

/// The format that the client prefers among those served; no `Accept` header means any.
///
/// # Errors
/// [`Unacceptable`] when there is none.
pub fn discovery(headers: &HeaderMap) -> Result<Format, Unacceptable> {
    let accepted: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|range| !range.trim().is_empty())
        .collect();
    if accepted.is_empty() {
        return Ok(Format::Plain);
    }
    let mut best: Option<(f64, Format)> = None;
    for range in accepted {
        let Some((quality, format)) = offered(range) else {
            continue;
        };
        // Among equals the first one named wins.
        if quality > best.map_or(0.0, |(q, _)| q) {
            best = Some((quality, format));
        }
    }
    best.map(|(_, format)| format).ok_or(Unacceptable)
}

/// The format that one media range stands for, with its quality.
fn offered(range: &str) -> Option<(f64, Format)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?;
    if !["application/json", "application/*", "*/*"]
        .iter()
        .any(|known| media.eq_ignore_ascii_case(known))
    {
        return None;
    }
    let (mut quality, mut group, mut version, mut kind) = (1.0, None, None, None);
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match key.trim() {
            "q" => quality = value.parse().unwrap_or(0.0),
            "g" => group = Some(value),
            "v" => version = Some(value),
            "as" => kind = Some(value),
            _ => {}
        }
    }
    let format = match (group, version, kind) {
        (None, None, None) => Format::Plain,
        (Some("apidiscovery.k8s.io"), Some("v2"), Some("APIGroupDiscoveryList")) => {
            Format::AggregatedV2
        }
        (Some("apidiscovery.k8s.io"), Some("v2beta1"), Some("APIGroupDiscoveryList")) => {
            Format::AggregatedV2Beta1
        }
        _ => return None,
    };
    Some((quality, format))
}
