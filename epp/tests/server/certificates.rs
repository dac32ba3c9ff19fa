//! Certificates of a folder, also while they are replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use wva_epp::server::ServeError;
use wva_epp::server::tls::Security;

use super::common::*;
use super::sockets::{Running, bind, check, next, process, run, soon};

/// A certificate for localhost.
struct Made {
    certificate: rcgen::Certificate,
    key: String,
}

impl Made {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        Self {
            certificate: made.cert,
            key: made.signing_key.serialize_pem(),
        }
    }

    fn write(&self, folder: &Path) {
        std::fs::write(folder.join("tls.key"), &self.key).unwrap();
        std::fs::write(folder.join("tls.crt"), self.certificate.pem()).unwrap();
    }

    fn trusted(&self) -> Certificate {
        Certificate::from_pem(self.certificate.pem())
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = format!("wva-epp-{name}-{}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    folder
}

/// A new connection that trusts any of these.
async fn connect(running: &Running, made: &[Made]) -> Result<Channel, tonic::transport::Error> {
    let tls = ClientTlsConfig::new().ca_certificates(made.iter().map(Made::trusted));
    let endpoint = Endpoint::from_shared(format!("https://{}", running.at.grpc)).unwrap();
    let endpoint = endpoint.tls_config(tls.domain_name("localhost"))?;
    soon(endpoint.connect()).await
}

/// The certificate that a new connection is shown.
async fn presented(running: &Running, made: &[Made]) -> CertificateDer<'static> {
    let mut roots = RootCertStore::empty();
    for made in made {
        roots.add(made.certificate.der().clone()).unwrap();
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(running.at.grpc).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = soon(stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

#[tokio::test]
async fn a_folder_s_certificate_is_presented() {
    let (folder, made) = (folder("tls"), [Made::new()]);
    made[0].write(&folder);
    let running = run(&standard(1), Security::Folder(folder.clone())).await;
    let channel = connect(&running, &made).await.unwrap();
    assert_eq!(check(channel, "").await, Ok(1));
    std::fs::write(folder.join("tls.key"), "no key").unwrap();
    let refused = bind(&standard(1), Security::Folder(folder.clone())).await;
    assert!(matches!(refused, Err(ServeError::Tls(_))));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Clients that connect anew for every question, while the certificate is replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_presented_and_no_connection_fails() {
    let (folder, made) = (folder("tls-again"), Arc::new([Made::new(), Made::new()]));
    made[0].write(&folder);
    let running = Arc::new(run(&standard(1), Security::Folder(folder.clone())).await);
    assert_eq!(
        presented(&running, &*made).await,
        *made[0].certificate.der()
    );
    let (sender, mut answers) = process(connect(&running, &*made).await.unwrap()).await;
    sender.send(post(CHAT)).await.unwrap();

    let (over, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let (running, made) = (Arc::clone(&running), Arc::clone(&made));
        let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
        clients.spawn(async move {
            while !over.load(SeqCst) {
                let channel = connect(&running, &*made).await.expect("a connection");
                assert_eq!(check(channel, "").await, Ok(1));
                answered.fetch_add(1, SeqCst);
            }
        });
    }
    let more = async |than: usize| {
        while answered.load(SeqCst) < than {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(more(20)).await;
    // Half of it first: that cannot be used, and the old one holds.
    std::fs::write(folder.join("tls.key"), &made[1].key).unwrap();
    soon(more(answered.load(SeqCst) + 20)).await;
    made[1].write(&folder);
    soon(async {
        while presented(&running, &*made).await != *made[1].certificate.der() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    soon(more(answered.load(SeqCst) + 20)).await;
    over.store(true, SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    // What was connected before goes on.
    sender.send(body(BODY, true)).await.unwrap();
    next(&mut answers).await.unwrap().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}
