//! A certificate authority of our own, for clusters where nobody hands out certificates.
//!
//! ```text
//! Saved (a Secret) ─► SelfMade ─┬─► bundle ─► caBundle of the APIService (by the caller)
//!        ▲                      └─► HotCertificate
//!        └──────── tick(now) ◄── every few minutes
//! ```
//! Renewal is in two steps, so that at no moment a server shows a certificate that the bundle does not cover: first the new
//! authority joins the bundle, next to the old one, and only [`SETTLE`] later are certificates issued by it. In between the
//! caller stores [`Saved`] and patches the bundle. Serving certificates are renewed at half their life, the authority at
//! two thirds.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};
use x509_parser::pem::parse_x509_pem;

use super::certificates::{CertificateError, HotCertificate};

const DAY: Duration = Duration::from_secs(86_400);
/// Life of the authority.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(3 * 365 * 86_400);
/// Life of a serving certificate.
pub const SERVING_LIFE: Duration = Duration::from_secs(90 * 86_400);
/// Time from adding an authority to the bundle to issuing by it.
pub const SETTLE: Duration = Duration::from_secs(3_600);
/// Clocks that run behind by less than this accept a fresh certificate.
const SKEW: Duration = Duration::from_secs(300);

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A key or certificate could not be made or read.
    #[error("cannot make a certificate: {0}")]
    Making(#[from] rcgen::Error),
    /// A saved authority is not a certificate.
    #[error("the saved authority is no certificate: {0}")]
    Saved(String),
    /// What was made cannot be served.
    #[error(transparent)]
    Serving(#[from] CertificateError),
}

/// An authority as text, to be kept in a Secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Certificate, PEM.
    pub certificate: String,
    /// Private key, PEM.
    pub key: String,
    /// Certificate and key of the authority before this one, while certificates of its making may be served.
    pub previous: Option<(String, String)>,
}

impl std::fmt::Debug for Saved {
    /// Without the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saved")
            .field("certificate", &self.certificate)
            .field("previous", &self.previous.as_ref().map(|(c, _)| c))
            .finish_non_exhaustive()
    }
}

impl Saved {
    /// A new authority.
    ///
    /// # Errors
    /// [`AuthorityError`] when no key can be made.
    pub fn new(now: SystemTime) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named("wva serving authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        live(&mut params, now, AUTHORITY_LIFE);
        Ok(Self {
            certificate: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
            previous: None,
        })
    }

    /// What clients must trust, PEM: this authority and the one before it.
    #[must_use]
    pub fn bundle(&self) -> String {
        let previous = self
            .previous
            .as_ref()
            .map_or("", |(certificate, _)| certificate);
        format!("{}{previous}", self.certificate)
    }

    /// This authority, or the one to replace it where it is past two thirds of its life.
    fn renewed(&self, now: SystemTime) -> Result<Option<Self>, AuthorityError> {
        let (from, until) = validity(&self.certificate)?;
        if now < from + until.duration_since(from).unwrap_or(DAY) * 2 / 3 {
            return Ok(None);
        }
        Ok(Some(Self {
            previous: Some((self.certificate.clone(), self.key.clone())),
            ..Self::new(now)?
        }))
    }

    /// The certificate and key to issue by: the newest that has been in the bundle long enough.
    fn issuer(&self, now: SystemTime) -> Result<(&str, &str), AuthorityError> {
        let settled = validity(&self.certificate)?.0 + SKEW + SETTLE <= now;
        Ok(match &self.previous {
            Some((certificate, key)) if !settled => (certificate, key),
            _ => (&self.certificate, &self.key),
        })
    }
}

/// An authority with the serving certificate that it issued last.
#[derive(Debug)]
pub struct SelfMade {
    saved: Saved,
    names: Vec<String>,
    hot: Arc<HotCertificate>,
    issued_by: String,
    renew_at: SystemTime,
}

/// What a tick did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// There is a new authority: store [`SelfMade::saved`], then put [`SelfMade::bundle`] where clients look.
    pub authority: bool,
    /// A new certificate is served.
    pub certificate: bool,
}

impl SelfMade {
    /// Serves under these names (DNS names or addresses) by a stored authority, or by a new one.
    ///
    /// # Errors
    /// [`AuthorityError`] when the stored authority cannot be read, or a name is neither a DNS name nor an address.
    pub fn new(
        saved: Option<Saved>,
        names: Vec<String>,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let saved = match saved {
            Some(saved) => saved,
            None => Saved::new(now)?,
        };
        let (by, key) = saved.issuer(now)?;
        let (chain, own_key) = issue(by, key, &names, now)?;
        let hot = Arc::new(HotCertificate::new(&chain, &own_key)?);
        let issued_by = by.to_owned();
        Ok(Self {
            saved,
            names,
            hot,
            issued_by,
            renew_at: now + SERVING_LIFE / 2,
        })
    }

    /// The certificate to serve.
    #[must_use]
    pub fn certificate(&self) -> Arc<HotCertificate> {
        Arc::clone(&self.hot)
    }

    /// What clients must trust, PEM.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.saved.bundle()
    }

    /// What to store, for the next process and for the other replicas.
    #[must_use]
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// Takes over an authority that another replica stored.
    ///
    /// # Errors
    /// [`AuthorityError`] when it cannot be read: everything stays as it was.
    pub fn adopt(&mut self, saved: Saved, now: SystemTime) -> Result<Changes, AuthorityError> {
        if saved == self.saved {
            return Ok(Changes::default());
        }
        saved.issuer(now)?;
        self.saved = saved;
        self.tick(now)
    }

    /// Renews what is due.
    ///
    /// # Errors
    /// [`AuthorityError`] when nothing can be made: everything stays as it was.
    pub fn tick(&mut self, now: SystemTime) -> Result<Changes, AuthorityError> {
        let mut changes = Changes::default();
        if let Some(renewed) = self.saved.renewed(now)? {
            self.saved = renewed;
            changes.authority = true;
        }
        let (by, key) = self.saved.issuer(now)?;
        if now >= self.renew_at || by != self.issued_by {
            let (chain, own_key) = issue(by, key, &self.names, now)?;
            self.hot.replace(&chain, &own_key)?;
            self.issued_by = by.to_owned();
            self.renew_at = now + SERVING_LIFE / 2;
            changes.certificate = true;
        }
        Ok(changes)
    }
}

fn issue(
    authority: &str,
    authority_key: &str,
    names: &[String],
    now: SystemTime,
) -> Result<(String, String), AuthorityError> {
    let issuer = Issuer::from_ca_cert_pem(authority, KeyPair::from_pem(authority_key)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named(names.first().map_or("wva", String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    live(&mut params, now, SERVING_LIFE);
    let certificate = params.signed_by(&key, &issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn live(params: &mut CertificateParams, now: SystemTime, life: Duration) {
    params.not_before = (now - SKEW).into();
    params.not_after = (now + life).into();
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // A common name has at most 64 characters; clients read the alternative names.
    let short: String = common_name.chars().take(64).collect();
    name.push(DnType::CommonName, short);
    name
}

/// From when until when a PEM certificate is valid.
fn validity(pem: &str) -> Result<(SystemTime, SystemTime), AuthorityError> {
    let saved = |error: &dyn std::fmt::Display| AuthorityError::Saved(error.to_string());
    let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|e| saved(&e))?;
    let certificate = pem.parse_x509().map_err(|e| saved(&e))?;
    let at = |time: x509_parser::time::ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let validity = certificate.validity();
    Ok((at(validity.not_before), at(validity.not_after)))
}
