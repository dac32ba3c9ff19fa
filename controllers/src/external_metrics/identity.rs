//! Who somebody is, by the certificate they hold.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName};
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::trust::{Authorities, FrontProxy, Trust};

const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";

/// Attributes of a user beyond name and groups.
pub type Extra = BTreeMap<String, Vec<String>>;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Identity {
    /// User name.
    pub name: String,
    /// UID, where there is one.
    pub uid: Option<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Attributes beyond.
    pub extra: Extra,
}

impl Identity {
    /// With the group that everybody is in who is somebody.
    pub(super) fn somebody(mut self) -> Self {
        let placed = self
            .groups
            .iter()
            .any(|g| g == AUTHENTICATED || g == UNAUTHENTICATED);
        if !placed && self.name != ANONYMOUS {
            self.groups.push(AUTHENTICATED.into());
        }
        self
    }
}

/// Whom a client's certificate stands for: with the front proxy's, whom its headers name; with a user's, that user.
pub(super) fn by_certificate(
    trust: &Trust,
    chain: &[CertificateDer<'static>],
    headers: &HeaderMap,
) -> Option<Identity> {
    let (own, _) = chain.split_first()?;
    let (_, certificate) = X509Certificate::from_der(own).ok()?;
    let common_name = certificate
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .unwrap_or_default();
    if let Some(proxy) = &trust.front_proxy
        && (proxy.allowed_names.is_empty()
            || proxy.allowed_names.iter().any(|name| name == common_name))
        && signed_by(&proxy.authorities, chain)
        && let Some(identity) = spoken_for(proxy, headers)
    {
        return Some(identity);
    }
    let clients = trust.clients.as_ref()?;
    if common_name.is_empty() || !signed_by(clients, chain) {
        return None;
    }
    let organizations = certificate.subject().iter_organization();
    Some(Identity {
        name: common_name.into(),
        groups: organizations
            .filter_map(|o| o.as_str().ok())
            .map(str::to_owned)
            .collect(),
        ..Identity::default()
    })
}

fn signed_by(authorities: &Authorities, chain: &[CertificateDer<'static>]) -> bool {
    chain.split_first().is_some_and(|(own, rest)| {
        authorities
            .verify_client_cert(own, rest, UnixTime::now())
            .is_ok()
    })
}

/// Whom the front proxy speaks for.
fn spoken_for(proxy: &FrontProxy, headers: &HeaderMap) -> Option<Identity> {
    let first = |names: &[HeaderName]| {
        let values = names
            .iter()
            .filter_map(|name| headers.get(name)?.to_str().ok());
        values.map(str::to_owned).find(|value| !value.is_empty())
    };
    let groups = proxy
        .group_headers
        .iter()
        .flat_map(|name| headers.get_all(name));
    let groups = groups
        .filter_map(|value| value.to_str().ok())
        .filter(|value| !value.is_empty());
    Some(Identity {
        name: first(&proxy.user_headers)?,
        uid: first(&proxy.uid_headers),
        groups: groups.map(str::to_owned).collect(),
        extra: extra(proxy, headers),
    })
}

fn extra(proxy: &FrontProxy, headers: &HeaderMap) -> Extra {
    let mut extra = Extra::new();
    for prefix in &proxy.extra_prefixes {
        for (name, value) in headers {
            if let (Some(key), Ok(value)) =
                (name.as_str().strip_prefix(prefix.as_str()), value.to_str())
            {
                extra
                    .entry(unescaped(key))
                    .or_default()
                    .push(value.to_owned());
            }
        }
    }
    extra
}

/// The key with its `%xx` decoded, or as it is where that makes no text.
fn unescaped(key: &str) -> String {
    decoded(key).unwrap_or_else(|| key.to_owned())
}

fn decoded(key: &str) -> Option<String> {
    let mut pieces = key.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        if !code.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}
