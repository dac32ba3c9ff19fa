//! Certificates of the port for requests: self-made for the time being, or files that are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// How often certificate files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// No TLS.
    Plain,
    /// A certificate that nobody vouches for: encrypted against listeners, as proxies next door accept it.
    SelfSigned,
    /// `tls.crt` and `tls.key` in this folder.
    Folder(PathBuf),
}

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {why}")]
    File {
        /// Which.
        path: String,
        /// What the system or the PEM reader says.
        why: String,
    },
    /// The key and the certificate do not go together, or are of no known kind.
    #[error("cannot use the certificate: {0}")]
    Certificate(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// A certificate that can be replaced while it serves.
#[derive(Debug)]
struct Certificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificate {
    /// Follows the files of a folder, for as long as it is polled.
    async fn follow(&self, folder: PathBuf) {
        let mut last = stamp(&folder).await;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = stamp(&folder).await;
            if now == last {
                continue;
            }
            // What cannot be used now, half written perhaps, is tried again.
            match read(&folder) {
                Ok(key) => {
                    self.0.store(Arc::new(key));
                    last = now;
                    tracing::info!(folder = %folder.display(), "certificate reloaded");
                }
                Err(error) => tracing::warn!(%error, "certificate not reloaded"),
            }
        }
    }
}

/// A certificate that is presented, and where it is read again.
pub(crate) struct Presented {
    certificate: Arc<Certificate>,
    folder: Option<PathBuf>,
}

impl Presented {
    /// Follows its files, if it has any, for as long as it is polled.
    pub(crate) async fn follow(self) {
        if let Some(folder) = self.folder {
            self.certificate.follow(folder).await;
        }
    }
}

/// The certificate that is asked for, and the settings of connections that present it and speak one of `protocols`.
pub(crate) fn presented(
    security: &Security,
    protocols: &[&[u8]],
) -> Result<(Option<Presented>, Option<Arc<ServerConfig>>), TlsError> {
    let (key, folder) = match security {
        Security::Plain => return Ok((None, None)),
        Security::SelfSigned => (self_signed()?, None),
        Security::Folder(folder) => (read(folder)?, Some(folder.clone())),
    };
    let certificate = Arc::new(Certificate(ArcSwap::from_pointee(key)));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    let presented = Presented {
        certificate,
        folder,
    };
    Ok((Some(presented), Some(Arc::new(config))))
}

/// When the files were last written.
async fn stamp(folder: &Path) -> [Option<std::time::SystemTime>; 2] {
    let mut times = [None, None];
    for (time, name) in times.iter_mut().zip(["tls.crt", "tls.key"]) {
        let metadata = tokio::fs::metadata(folder.join(name)).await;
        *time = metadata.and_then(|m| m.modified()).ok();
    }
    times
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, TlsError> {
    let provider = rustls::crypto::ring::default_provider();
    Ok(CertifiedKey::from_der(chain, key, &provider)?)
}

fn self_signed() -> Result<CertifiedKey, TlsError> {
    let names = vec!["localhost".to_owned(), "wva-epp".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    certified(vec![made.cert.der().clone()], key)
}

fn read(folder: &Path) -> Result<CertifiedKey, TlsError> {
    let failed = |name: &str, why: String| TlsError::File {
        path: folder.join(name).display().to_string(),
        why,
    };
    let chain = CertificateDer::pem_file_iter(folder.join("tls.crt"))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| failed("tls.crt", e.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("tls.key"))
        .map_err(|e| failed("tls.key", e.to_string()))?;
    certified(chain, key)
}
