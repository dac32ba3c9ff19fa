//! Whom the cluster trusts: what `kube-system/extension-apiserver-authentication` says.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::HeaderName;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::sync::watch;

use crate::serving::certificates::{CertificateError, certificates};

/// Why the ConfigMap cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A list is not JSON.
    #[error("{key} is not a JSON list of strings: {source}")]
    List {
        /// Key in the ConfigMap.
        key: &'static str,
        /// Why not.
        source: serde_json::Error,
    },
    /// A name cannot be a header's.
    #[error("{key} names the header {name:?}, which cannot be one")]
    Header {
        /// Key in the ConfigMap.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// A bundle of authorities cannot be read.
    #[error("{key}: {source}")]
    Bundle {
        /// Key in the ConfigMap.
        key: &'static str,
        /// Why not.
        source: CertificateError,
    },
    /// A certificate cannot be an authority.
    #[error("{key}: {reason}")]
    Authority {
        /// Key in the ConfigMap.
        key: &'static str,
        /// Why not.
        reason: String,
    },
}

/// Authorities that may have signed a client's certificate.
pub type Authorities = Arc<dyn ClientCertVerifier>;

/// The front proxy: who it is, and in which headers it says whom it speaks for.
#[derive(Debug, Clone)]
pub struct FrontProxy {
    /// Who signs its certificate.
    pub authorities: Authorities,
    /// Common names that it may have; none means any.
    pub allowed_names: Vec<String>,
    /// Headers with the user's name; the first that is not empty counts.
    pub user_headers: Vec<HeaderName>,
    /// Headers with the user's UID, likewise.
    pub uid_headers: Vec<HeaderName>,
    /// Headers with groups, one a value.
    pub group_headers: Vec<HeaderName>,
    /// What headers with extra attributes begin with, in lower case.
    pub extra_prefixes: Vec<String>,
}

/// Whom the cluster trusts.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The front proxy, where there is one.
    pub front_proxy: Option<FrontProxy>,
    /// Who signs the certificates of users.
    pub clients: Option<Authorities>,
}

impl Trust {
    /// Reads the data of the ConfigMap; keys that are missing mean that the cluster has no such thing.
    ///
    /// # Errors
    /// [`TrustError`] when a key is there and cannot be used: nothing is half trusted.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, TrustError> {
        let front_proxy = match authorities(data, "requestheader-client-ca-file")? {
            None => None,
            Some(authorities) => Some(FrontProxy {
                authorities,
                allowed_names: list(data, "requestheader-allowed-names")?,
                user_headers: headers(data, "requestheader-username-headers")?,
                uid_headers: headers(data, "requestheader-uid-headers")?,
                group_headers: headers(data, "requestheader-group-headers")?,
                extra_prefixes: list(data, "requestheader-extra-headers-prefix")?
                    .into_iter()
                    .map(|prefix| prefix.trim().to_ascii_lowercase())
                    .filter(|prefix| !prefix.is_empty())
                    .collect(),
            }),
        };
        Ok(Self {
            front_proxy,
            clients: authorities(data, "client-ca-file")?,
        })
    }
}

fn list(data: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<String>, TrustError> {
    let Some(text) = data.get(key).filter(|text| !text.trim().is_empty()) else {
        return Ok(Vec::new());
    };
    serde_json::from_str(text).map_err(|source| TrustError::List { key, source })
}

fn headers(
    data: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Vec<HeaderName>, TrustError> {
    list(data, key)?
        .into_iter()
        .map(|name| HeaderName::try_from(name.trim()).map_err(|_| TrustError::Header { key, name }))
        .collect()
}

fn authorities(
    data: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Option<Authorities>, TrustError> {
    let Some(pem) = data.get(key).filter(|pem| !pem.trim().is_empty()) else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    let bundle = certificates(pem).map_err(|source| TrustError::Bundle { key, source })?;
    for certificate in bundle {
        roots
            .add(certificate)
            .map_err(|error| TrustError::Authority {
                key,
                reason: error.to_string(),
            })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map(Some)
        .map_err(|error| TrustError::Authority {
            key,
            reason: error.to_string(),
        })
}

/// Whom to trust, as it stands; `None` until the ConfigMap has been read.
pub type Trusted = watch::Receiver<Option<Arc<Trust>>>;

/// Watches the ConfigMap for ever and sends what it says. While it cannot be read or makes no sense the last that did
/// stands; where it is gone, nobody is trusted.
pub async fn follow(client: Client, trusted: watch::Sender<Option<Arc<Trust>>>) {
    let api: Api<ConfigMap> = Api::namespaced(client, "kube-system");
    let stream = watch_object(api, "extension-apiserver-authentication").default_backoff();
    let mut stream = std::pin::pin!(stream);
    while let Some(seen) = stream.next().await {
        let data = match seen {
            Ok(map) => map.and_then(|map| map.data).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "cannot watch kube-system/extension-apiserver-authentication");
                continue;
            }
        };
        match Trust::read(&data) {
            Ok(trust) => {
                trusted.send_replace(Some(Arc::new(trust)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot use kube-system/extension-apiserver-authentication");
            }
        }
    }
}
