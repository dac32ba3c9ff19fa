//! How to reach metrics over HTTP.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// Credentials and certificates. Secrets are named by file, never written here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// File with a bearer token; read again every half minute, and when it is refused.
    pub bearer_token_file: Option<PathBuf>,
    /// User name for basic authentication.
    pub username: Option<String>,
    /// File with its password.
    pub password_file: Option<PathBuf>,
    /// File with the only issuers to trust, PEM; those of the system where absent.
    pub ca_file: Option<PathBuf>,
    /// File with the client certificate, PEM.
    pub client_certificate_file: Option<PathBuf>,
    /// File with its key, PEM.
    pub client_key_file: Option<PathBuf>,
    /// Trust any certificate.
    pub insecure_skip_verify: bool,
    /// Further headers, e.g. `X-Scope-OrgID`.
    pub headers: BTreeMap<String, String>,
}

/// Bounds on one exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Deadline, seconds.
    pub timeout_s: f64,
    /// Longest body, bytes, decompressed.
    pub max_bytes: u64,
    /// Ask for compressed answers. Compression saves a far-away Prometheus bandwidth; it costs a model server's front end
    /// time, so pods are not asked for it.
    pub accept_gzip: bool,
    /// Keep a connection open between requests. Pods close idle ones within seconds, and a scrape each interval would
    /// mostly find a dead one.
    pub keep_alive: bool,
}

/// Settings that cannot be followed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// A bearer token and a user name are both given.
    #[error("bearer_token_file and username are both set: only one can be sent")]
    TwoCredentials,
    /// A client certificate without its key, or the other way round.
    #[error("client_certificate_file and client_key_file belong together")]
    HalfIdentity,
    /// Both a CA and no verification.
    #[error("ca_file has no effect with insecure_skip_verify")]
    UnusedAuthority,
    /// A header that HTTP does not allow.
    #[error("header {0:?} is not allowed in HTTP")]
    Header(String),
    /// A number out of its range.
    #[error("{name} must be more than 0 and at most {most}, not {value}")]
    Range {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Its greatest value.
        most: f64,
    },
    /// A URL that cannot be read.
    #[error("{0}")]
    Url(String),
}

impl HttpSettings {
    /// Checks that the settings can be followed.
    ///
    /// # Errors
    /// [`SettingsError`], the first contradiction.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.bearer_token_file.is_some() && self.username.is_some() {
            return Err(SettingsError::TwoCredentials);
        }
        if self.client_certificate_file.is_some() != self.client_key_file.is_some() {
            return Err(SettingsError::HalfIdentity);
        }
        if self.ca_file.is_some() && self.insecure_skip_verify {
            return Err(SettingsError::UnusedAuthority);
        }
        for (name, value) in &self.headers {
            if name.parse::<HeaderName>().is_err() || value.parse::<HeaderValue>().is_err() {
                return Err(SettingsError::Header(name.clone()));
            }
        }
        Ok(())
    }
}

impl Limits {
    /// Checks that the limits are within reason.
    ///
    /// # Errors
    /// [`SettingsError::Range`].
    pub fn check(&self) -> Result<(), SettingsError> {
        within("timeout_seconds", self.timeout_s, 600.0)?;
        within("max_bytes", self.max_bytes as f64, (1_u64 << 30) as f64)
    }
}

/// Checks that `value` is more than 0 and at most `most`.
pub(in crate::telemetry) fn within(
    name: &'static str,
    value: f64,
    most: f64,
) -> Result<(), SettingsError> {
    if value > 0.0 && value <= most {
        Ok(())
    } else {
        Err(SettingsError::Range { name, value, most })
    }
}
