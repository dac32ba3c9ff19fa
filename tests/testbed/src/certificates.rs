//! Certificate authorities, and the certificates a cluster needs, made in milliseconds.
//!
//! A cluster has two authorities: its own, which signs servers and users, and the front proxy's, by which an
//! aggregated API server knows that a request came through kube-apiserver. Keys are ECDSA P-256: RSA keys take
//! seconds to make in an unoptimised build.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use crate::Error;

/// A certificate with its private key, both PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// X.509.
    pub certificate: String,
    /// PKCS #8.
    pub key: String,
}

/// Signs certificates.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with this common name.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn new(common_name: &str) -> Result<Self, Error> {
        let mut parameters = parameters(common_name, None, &[])?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(parameters, key),
        })
    }

    /// Its certificate, PEM: what others trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server under these names and addresses.
    ///
    /// # Errors
    /// [`Error::Certificate`], when a name is not one.
    pub fn server(&self, names: &[String]) -> Result<Certificate, Error> {
        let common_name = names.first().map_or("server", String::as_str);
        let mut parameters = parameters(common_name, None, names)?;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&parameters)
    }

    /// A certificate for a user, in a group if one is named.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Certificate, Error> {
        let mut parameters = parameters(user, group, &[])?;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&parameters)
    }

    fn sign(&self, parameters: &CertificateParams) -> Result<Certificate, Error> {
        let key = KeyPair::generate()?;
        Ok(Certificate {
            certificate: parameters.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// Kubernetes reads the user from the common name, and the group from the organisation.
fn parameters(
    common_name: &str,
    organisation: Option<&str>,
    names: &[String],
) -> Result<CertificateParams, Error> {
    let mut parameters = CertificateParams::new(names)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    if let Some(organisation) = organisation {
        subject.push(DnType::OrganizationName, organisation);
    }
    parameters.distinguished_name = subject;
    Ok(parameters)
}

/// A key that signs service account tokens: private (PKCS #8) and public (SPKI), both PEM.
///
/// # Errors
/// [`Error::Certificate`].
pub fn signing_key() -> Result<(String, String), Error> {
    let key = KeyPair::generate()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}
