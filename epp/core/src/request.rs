//! Requests, as far as choosing cares: facts that the caller has already taken out of headers and body.

use std::net::{IpAddr, SocketAddr};

use crate::endpoint::Slot;

/// Header with the bound on time to first token, milliseconds.
pub const SLO_TTFT_HEADER: &str = "x-slo-ttft-ms";
/// Header with the bound on time per output token, milliseconds.
pub const SLO_TPOT_HEADER: &str = "x-slo-tpot-ms";

/// Latency bounds of one request in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Targets {
    /// Bound on time to first token.
    pub ttft: Option<f64>,
    /// Bound on time per output token.
    pub tpot: Option<f64>,
}

impl Targets {
    /// The targets that the request's headers state, where they do so soundly; else these.
    #[must_use]
    pub fn or_stated(self, headers: &[(&str, &str)]) -> Self {
        let stated = |name: &str| {
            let millis: f64 = header(headers, name)?.trim().parse().ok()?;
            (millis.is_finite() && millis > 0.0).then_some(millis / 1e3)
        };
        Self {
            ttft: stated(SLO_TTFT_HEADER).or(self.ttft),
            tpot: stated(SLO_TPOT_HEADER).or(self.tpot),
        }
    }

    /// Whether there is any bound.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.ttft.is_some() || self.tpot.is_some()
    }
}

/// One endpoint, or all of one address, that a proxy allows for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Address.
    pub ip: IpAddr,
    /// Port; `None` allows all.
    pub port: Option<u16>,
}

impl Allowed {
    /// Reads `ip` or `ip:port` (`[ip]:port` for IPv6).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self {
                ip: address.ip(),
                port: Some(address.port()),
            });
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let ip = bare.unwrap_or(text).parse().ok()?;
        Some(Self { ip, port: None })
    }

    /// Reads a comma-separated list; what is no address is left out, so a list of nonsense allows nothing.
    #[must_use]
    pub fn list(text: &str) -> Vec<Self> {
        text.split(',').filter_map(Self::parse).collect()
    }
}

/// What choosing knows of a request. All borrowed: making one costs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The model that is asked of the server: after rewriting, and the name of the adapter if it is one.
    pub model: &'a str,
    /// Prompt tokens, counted or estimated.
    pub prompt_tokens: f64,
    /// Output tokens to expect; 0 for unknown.
    pub output_tokens: f64,
    /// The prompt's block hashes ([`crate::prefix::Chain`]); empty where no prefix is looked at.
    pub chain: &'a [u64],
    /// Headers that matter ([`crate::picker::Picker::headers`]), names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// Importance: higher goes first, below 0 may be shed.
    pub priority: i32,
    /// Latency bounds.
    pub targets: Targets,
    /// Endpoints that the proxy allows; `None` for all.
    pub subset: Option<&'a [Allowed]>,
    /// Endpoints that failed lately: picked only where there are no others.
    pub avoid: &'a [Slot],
    /// Whether there are images, audio or video in it.
    pub multimodal: bool,
}

impl Request<'_> {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.headers, name)
    }
}

fn header<'h>(headers: &[(&str, &'h str)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_addresses_with_or_without_port() {
        let list = Allowed::list("10.0.0.1:80, 10.0.0.2,nonsense,[::1]:5,::2");
        let ports: Vec<_> = list.iter().map(|a| a.port).collect();
        assert_eq!(ports, [Some(80), None, Some(5), None]);
        assert!(Allowed::list("").is_empty());
    }

    #[test]
    fn targets_come_from_headers_that_make_sense() {
        let own = Targets {
            ttft: Some(1.0),
            tpot: Some(0.1),
        };
        let headers = [(SLO_TTFT_HEADER, "250"), (SLO_TPOT_HEADER, "-3")];
        assert_eq!(
            own.or_stated(&headers),
            Targets {
                ttft: Some(0.25),
                tpot: Some(0.1)
            }
        );
        assert!(
            !Targets::default()
                .or_stated(&[(SLO_TTFT_HEADER, "NaN")])
                .any()
        );
    }
}
