//! Servers on loopback that answer badly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub fn crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What a server does after it has read a request.
#[derive(Clone)]
pub enum Answer {
    /// These bytes, and the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes, and then nothing more.
    Silence(Vec<u8>),
    /// These bytes once, and then this again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Depends on the request's head.
    Asked(fn(&str) -> Vec<u8>),
}

impl Answer {
    pub fn page(kind: &str, body: &str) -> Self {
        let length = body.len();
        Self::Bytes(
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes(),
        )
    }

    pub fn head(lines: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 {}\r\nconnection: close\r\n\r\n",
            lines.replace('\n', "\r\n")
        )
        .into_bytes()
    }
}

/// A plain server; the counter says how many requests it has read.
pub async fn plain(answer: Answer) -> (SocketAddr, Arc<AtomicUsize>) {
    serve(answer, None).await
}

async fn serve(answer: Answer, tls: Option<TlsAcceptor>) -> (SocketAddr, Arc<AtomicUsize>) {
    crypto();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (
        listener.local_addr().unwrap(),
        Arc::new(AtomicUsize::new(0)),
    );
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, counter, tls) = (answer.clone(), Arc::clone(&counter), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => talk(stream, answer, &counter).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            talk(stream, answer, &counter).await;
                        }
                    }
                }
            });
        }
    });
    (address, asked)
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Answer,
    counter: &AtomicUsize,
) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    counter.fetch_add(1, Ordering::SeqCst);
    match answer {
        Answer::Bytes(bytes) => drop(stream.write_all(&bytes).await),
        Answer::Asked(of) => drop(stream.write_all(&of(&String::from_utf8_lossy(&head))).await),
        Answer::Silence(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            let _ = stream.read(&mut byte).await;
        }
        Answer::Endless(bytes, piece) => {
            let _ = stream.write_all(&bytes).await;
            while stream.write_all(&piece).await.is_ok() {}
        }
    }
    let _ = stream.shutdown().await;
}

/// Certificates of one made-up organisation, PEM.
pub struct Certificates {
    pub authority: String,
    pub client: (String, String),
}

/// A TLS server that wants a client certificate of the same authority.
pub async fn secure(answer: Answer) -> (SocketAddr, Certificates) {
    crypto();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let leaf = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &authority).unwrap(), key)
    };
    let (server, key) = leaf("127.0.0.1");
    let (client, client_key) = leaf("wva");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![server.der().clone()], key)
        .unwrap();
    let (address, _) = serve(answer, Some(TlsAcceptor::from(Arc::new(config)))).await;
    let certificates = Certificates {
        authority: authority.pem(),
        client: (client.pem(), client_key.serialize_pem()),
    };
    (address, certificates)
}

/// A folder for files, gone when dropped.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("wva-telemetry-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let file = self.0.join(name);
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
