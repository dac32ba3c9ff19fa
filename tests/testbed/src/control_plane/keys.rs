//! The certificates and keys of a cluster, in memory and in files.

use std::path::PathBuf;

use crate::access::Credential;
use crate::certificates::{Authority, Certificate, signing_key};
use crate::{Error, Sandbox};

/// The two authorities, and the folder with what they signed.
#[derive(Debug)]
pub struct Keys {
    cluster: Authority,
    folder: PathBuf,
}

impl Keys {
    /// Makes them all: authorities, servers, the front proxy, the key of service accounts.
    pub fn new(sandbox: &Sandbox) -> Result<Self, Error> {
        let cluster = Authority::new("testbed-ca")?;
        let front_proxy = Authority::new("testbed-front-proxy-ca")?;
        sandbox.write("keys/ca.crt", cluster.certificate())?;
        sandbox.write("keys/front-proxy-ca.crt", front_proxy.certificate())?;
        let names = [
            "kubernetes.default.svc",
            "kubernetes",
            "localhost",
            &sandbox.host().to_string(),
        ];
        write(
            sandbox,
            "server",
            &cluster.server(&names.map(str::to_owned))?,
        )?;
        let proxy = front_proxy.client("front-proxy-client", None)?;
        write(sandbox, "front-proxy-client", &proxy)?;
        let (private, public) = signing_key()?;
        sandbox.write("keys/service-accounts.key", &private)?;
        sandbox.write("keys/service-accounts.pub", &public)?;
        Ok(Self {
            cluster,
            folder: sandbox.folder().join("keys"),
        })
    }

    /// The path of one of the files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The certificate of the cluster's authority, PEM.
    pub fn authority(&self) -> &str {
        self.cluster.certificate()
    }

    /// A certificate for a server.
    pub fn server(&self, names: &[String]) -> Result<Certificate, Error> {
        self.cluster.server(names)
    }

    /// A certificate for a user, in files.
    pub fn client(
        &self,
        sandbox: &Sandbox,
        user: &str,
        group: Option<&str>,
    ) -> Result<Credential, Error> {
        let name = user.replace([':', '/'], "-");
        write(sandbox, &name, &self.cluster.client(user, group)?)?;
        Ok(Credential::Certificate {
            certificate: self.file(&format!("{name}.crt")),
            key: self.file(&format!("{name}.key")),
        })
    }
}

fn write(sandbox: &Sandbox, name: &str, certificate: &Certificate) -> Result<(), Error> {
    sandbox.write(&format!("keys/{name}.crt"), &certificate.certificate)?;
    sandbox.write(&format!("keys/{name}.key"), &certificate.key)?;
    Ok(())
}
