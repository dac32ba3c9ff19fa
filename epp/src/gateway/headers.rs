//! Headers on their way: those of one connection stay with it, and what servers may believe is not taken from clients.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use wva_epp_core::picker::{
    DATA_PARALLEL_HEADER, DESTINATION_HEADER, ENCODE_HEADER, PREFILL_HEADER,
};

/// Names a request in logs, here and in servers.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers of one connection (RFC 9110, section 7.6.1), besides those that `Connection` names.
const HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers that only the picker sets: from a client they would send servers wherever it likes.
const OURS: [HeaderName; 4] = [
    HeaderName::from_static(DESTINATION_HEADER),
    HeaderName::from_static(PREFILL_HEADER),
    HeaderName::from_static(ENCODE_HEADER),
    HeaderName::from_static(DATA_PARALLEL_HEADER),
];

/// Who has sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Whether it came by TLS.
    pub secure: bool,
}

/// Takes out what concerns one connection only.
pub(super) fn without_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP) {
        headers.remove(name);
    }
}

/// Makes a client's headers those of the request to a server, whose body has `length` bytes, if it has one.
pub(super) fn onward(
    headers: &mut HeaderMap,
    client: Client,
    authority: Option<&Authority>,
    length: Option<usize>,
) {
    without_hop(headers);
    for name in &OURS {
        headers.remove(name);
    }
    // The whole body is here already.
    headers.remove(header::EXPECT);
    headers.remove(header::CONTENT_LENGTH);
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if let Some(host) = authority.and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
        headers.insert(header::HOST, host);
    }
    forwarded(headers, client);
}

fn forwarded(headers: &mut HeaderMap, client: Client) {
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    let before = headers.get_all(&FOR).iter();
    let mut all: Vec<String> = before
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    all.push(client.address.to_string());
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(FOR, value);
    }
    let scheme = if client.secure { "https" } else { "http" };
    headers
        .entry(PROTO)
        .or_insert(HeaderValue::from_static(scheme));
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.entry(HOST).or_insert(host);
    }
}

/// Makes names for requests that have none: unlike any other's, and not to be guessed.
#[derive(Debug, Default)]
pub(super) struct Names {
    keyed: [RandomState; 2],
    count: AtomicU64,
}

impl Names {
    /// The next, as a random UUID.
    pub(super) fn next(&self) -> HeaderValue {
        let n = self.count.fetch_add(1, Relaxed);
        let [a, b] = [0, 1].map(|i: usize| self.keyed[i].hash_one(n));
        let text = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            (b >> 48) & 0x3fff | 0x8000,
            b & 0xffff_ffff_ffff
        );
        HeaderValue::from_str(&text).expect("hexadecimal digits and hyphens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Client = Client {
        address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
        secure: true,
    };

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v)));
        pairs.collect()
    }

    #[test]
    fn what_is_for_one_connection_goes_no_further() {
        let mut headers = map(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic secret"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer token"),
            ("traceparent", "00-1-2-01"),
        ]);
        without_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["authorization", "traceparent"]);
    }

    #[test]
    fn servers_are_told_who_asks_and_not_by_the_client_where_to_go() {
        let mut headers = map(&[
            ("host", "inside"),
            ("expect", "100-continue"),
            ("content-length", "999"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-prefiller-host-port", "169.254.169.254:80"),
            ("x-encoder-hosts-ports", "169.254.169.254:80"),
            ("x-data-parallel-host-port", "169.254.169.254:80"),
            ("x-gateway-destination-endpoint", "169.254.169.254:80"),
        ]);
        let authority = Authority::from_static("api.example");
        onward(&mut headers, CLIENT, Some(&authority), Some(5));
        let expected = [
            ("host", "api.example"),
            ("content-length", "5"),
            ("x-forwarded-for", "203.0.113.9, 192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "api.example"),
        ];
        for (name, value) in expected {
            assert_eq!(headers[name], value);
        }
        assert_eq!(headers.len(), expected.len());
        onward(&mut headers, CLIENT, None, None);
        assert!(!headers.contains_key("content-length"));
    }

    #[test]
    fn names_are_uuids_and_differ() {
        let names = Names::default();
        let all: std::collections::HashSet<_> = (0..1000).map(|_| names.next()).collect();
        assert_eq!(all.len(), 1000);
        let one = names.next();
        let one = one.to_str().unwrap();
        let lengths: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&one[14..15], "4");
        assert!("89ab".contains(&one[19..20]), "{one}");
    }
}
