//! The serving certificate, replaced while serving.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::sleep;

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A certificate or key is not PEM.
    #[error("{what} is not PEM: {source}")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate in the text.
    #[error("no certificate in the PEM text")]
    Empty,
    /// The key is of no use, or not the certificate's.
    #[error("unusable key: {0}")]
    Key(rustls::Error),
}

/// A certificate chain with its key; each handshake takes the one that is current.
#[derive(Debug)]
pub struct HotCertificate(RwLock<Arc<CertifiedKey>>);

impl HotCertificate {
    /// Starts with this chain (own certificate first) and key, both PEM.
    ///
    /// # Errors
    /// [`CertificateError`] when they cannot be served.
    pub fn new(chain_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        Ok(Self(RwLock::new(certified(chain_pem, key_pem)?)))
    }

    /// Serves this chain and key from the next handshake on; connections that exist stay as they are.
    ///
    /// # Errors
    /// [`CertificateError`] when they cannot be served: the ones before stay.
    pub fn replace(&self, chain_pem: &str, key_pem: &str) -> Result<(), CertificateError> {
        let certified = certified(chain_pem, key_pem)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The certificate served now, DER, without those that signed it.
    #[must_use]
    pub fn leaf(&self) -> CertificateDer<'static> {
        self.current().cert[0].clone()
    }
}

impl ResolvesServerCert for HotCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// All certificates in a PEM text.
///
/// # Errors
/// [`CertificateError`] when it is not PEM or holds none.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| CertificateError::Pem {
            what: "certificate",
            source,
        })?;
    if found.is_empty() {
        return Err(CertificateError::Empty);
    }
    Ok(found)
}

fn certified(chain_pem: &str, key_pem: &str) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain = certificates(chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|source| {
        CertificateError::Pem {
            what: "key",
            source,
        }
    })?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map(Arc::new)
        .map_err(CertificateError::Key)
}

/// A chain and its key in files, as a mounted Secret holds them.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    chain: std::path::PathBuf,
    key: std::path::PathBuf,
    last: (String, String),
}

impl CertificateFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// [`CertificateError`] when they cannot be read or served.
    pub async fn open(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<(Self, Arc<HotCertificate>), CertificateError> {
        let last = (read(chain.as_ref()).await?, read(key.as_ref()).await?);
        let certificate = HotCertificate::new(&last.0, &last.1)?;
        let files = Self {
            chain: chain.as_ref().into(),
            key: key.as_ref().into(),
            last,
        };
        Ok((files, Arc::new(certificate)))
    }

    /// Replaces the certificate whenever the files change, for ever. Contents are compared every `interval`: mounted
    /// Secrets change by swapped links, which file notifications miss. A pair that does not fit (one file is written
    /// before the other) is tried again and the certificate before it stays.
    pub async fn follow(mut self, certificate: Arc<HotCertificate>, interval: Duration) {
        loop {
            sleep(interval).await;
            match self.check(&certificate).await {
                Ok(true) => {
                    tracing::info!(file = %self.chain.display(), "serving certificate replaced")
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "keeping the serving certificate"),
            }
        }
    }

    /// Replaces the certificate if the files changed, and says whether they did.
    ///
    /// # Errors
    /// [`CertificateError`] when they changed to something that cannot be served.
    pub async fn check(&mut self, certificate: &HotCertificate) -> Result<bool, CertificateError> {
        let now = (read(&self.chain).await?, read(&self.key).await?);
        if now == self.last {
            return Ok(false);
        }
        certificate.replace(&now.0, &now.1)?;
        self.last = now;
        Ok(true)
    }
}

async fn read(path: &Path) -> Result<String, CertificateError> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|source| CertificateError::File {
            path: path.display().to_string(),
            source,
        })
}
