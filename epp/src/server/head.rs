//! Request headers, as far as anybody looks at them.

use bytes::Bytes;
use http::HeaderMap;
use wva_epp_core::picker::Picker;
use wva_epp_core::request::{SLO_TPOT_HEADER, SLO_TTFT_HEADER};

use super::wire::HttpHeaders;

/// Names an `InferenceObjective`; newest name first.
const OBJECTIVE: [&str; 2] = [
    "x-llm-d-inference-objective",
    "x-gateway-inference-objective",
];
/// Whose the request is.
const FAIRNESS: [&str; 2] = [
    "x-llm-d-inference-fairness-id",
    "x-gateway-inference-fairness-id",
];
/// The model to ask the server for, whatever the body says.
const MODEL: [&str; 2] = ["x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite"];
/// Newer names of the latency bounds.
const SLO: [(&str, &str); 2] = [
    ("x-llm-d-slo-ttft-ms", SLO_TTFT_HEADER),
    ("x-llm-d-slo-tpot-ms", SLO_TPOT_HEADER),
];

/// Which headers are kept.
#[derive(Debug, Clone)]
pub struct Wanted(Vec<Bytes>);

impl Wanted {
    /// Those that the picker's plugins look at, and `others` (rewrites match on headers), besides the usual ones.
    #[must_use]
    pub fn of<'a>(picker: &'a Picker, others: impl IntoIterator<Item = &'a str>) -> Self {
        let usual = OBJECTIVE.into_iter().chain(FAIRNESS).chain(MODEL);
        let slo = [SLO_TTFT_HEADER, SLO_TPOT_HEADER, SLO[0].0, SLO[1].0];
        let all = usual
            .chain(slo)
            .chain(picker.headers())
            .chain(others)
            .map(str::to_lowercase);
        let mut names: Vec<_> = all.map(Bytes::from).collect();
        names.sort();
        names.dedup();
        Self(names)
    }

    /// The name, as it is kept.
    fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.0.iter().find(|name| *name == key)
    }
}

/// What is kept of a request's headers.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// The path.
    pub path: Bytes,
    /// The request's id, as the proxy gave it.
    pub request_id: Bytes,
    /// Bytes that the body is said to have; 0 where that is not said.
    pub content_length: usize,
    kept: Vec<(Bytes, Bytes)>,
}

impl Head {
    /// Reads the headers that the proxy tells of.
    #[must_use]
    pub fn read(headers: HttpHeaders, wanted: &Wanted) -> Self {
        let mut head = Self::default();
        for header in headers.headers.unwrap_or_default().headers {
            match &header.key[..] {
                b":path" => head.path = header.bytes().clone(),
                key => head.take(key, header.bytes().clone(), wanted),
            }
        }
        head
    }

    /// Reads the headers of a request for this path.
    #[must_use]
    pub fn of(path: &str, headers: &HeaderMap, wanted: &Wanted) -> Self {
        let mut head = Self {
            path: Bytes::copy_from_slice(path.as_bytes()),
            ..Self::default()
        };
        for (name, value) in headers {
            let value = Bytes::copy_from_slice(value.as_bytes());
            head.take(name.as_str().as_bytes(), value, wanted);
        }
        head
    }

    fn take(&mut self, key: &[u8], value: Bytes, wanted: &Wanted) {
        match key {
            b"x-request-id" => self.request_id = value,
            b"content-length" => {
                let digits = std::str::from_utf8(&value).ok();
                self.content_length = digits.and_then(|d| d.parse().ok()).unwrap_or(0);
            }
            key => {
                if let Some(name) = wanted.get(key) {
                    self.kept.push((name.clone(), value));
                }
            }
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        let kept = self.kept.iter().find(|(k, _)| k == name.as_bytes());
        kept.and_then(|(_, v)| std::str::from_utf8(v).ok())
            .filter(|v| !v.is_empty())
    }

    fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.value(name))
    }

    /// The path as text; empty where it is none.
    #[must_use]
    pub fn path(&self) -> &str {
        std::str::from_utf8(&self.path).unwrap_or_default()
    }

    /// The name of its objective.
    #[must_use]
    pub fn objective(&self) -> Option<&str> {
        self.first(&OBJECTIVE)
    }

    /// Whose it is.
    #[must_use]
    pub fn fairness(&self) -> &str {
        self.first(&FAIRNESS).unwrap_or("default-flow")
    }

    /// The model to ask the server for.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.first(&MODEL)
    }

    /// The headers that plugins look at, with the latency bounds under their usual names.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let mut pairs: Vec<_> = self
            .kept
            .iter()
            .filter_map(|(k, v)| Some((text(k)?, text(v)?)))
            .collect();
        for (newer, usual) in SLO {
            if let Some(value) = self.value(newer) {
                pairs.insert(0, (usual, value));
            }
        }
        pairs
    }
}
