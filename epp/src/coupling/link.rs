//! One round with the controller: a push, then its beliefs, over one connection.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, Uri, header};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wva_models::exchange::{Answer, FITS_PATH, FITS_SCHEMA, Fits, PUSH_PATH, Push};

/// Longest time for a round.
const LONGEST: Duration = Duration::from_secs(10);
/// Longest answer, bytes: a fleet of 100,000 variants.
const MOST_BYTES: usize = 64 << 20;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It is no address.
    #[error("{0} is not http://HOST:PORT or https://HOST:PORT")]
    Url(String),
    /// A file cannot be used.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

/// Why a round failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It cannot be reached.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It takes too long.
    #[error("no answer within {} s", LONGEST.as_secs())]
    Slow,
    /// It refuses.
    #[error("it answers {status} {code}: {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable code of the refusal.
        code: String,
        /// In words.
        text: String,
    },
    /// What it says makes no sense.
    #[error("its answer is not understood: {0}")]
    Nonsense(String),
    /// A file that is read anew each time cannot be used any more.
    #[error("{0}")]
    File(String),
}

/// The way to the controller.
#[derive(Debug, Clone)]
pub struct Link {
    tls: bool,
    host: String,
    port: u16,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl Link {
    /// To this URL, showing the token of a file, by an authority of a file besides the system's. Both files are read anew for
    /// each round, so that they can be changed.
    ///
    /// # Errors
    /// [`LinkError`] where the URL is none, or a file cannot be used now.
    pub fn new(
        url: &str,
        token_file: Option<PathBuf>,
        ca_file: Option<PathBuf>,
    ) -> Result<Self, LinkError> {
        let wrong = || LinkError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        let host = uri.host().ok_or_else(wrong)?;
        let link = Self {
            tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            token_file,
            ca_file,
        };
        let at = |file: &Option<PathBuf>, why: String| LinkError::File {
            file: file.clone().unwrap_or_default(),
            why,
        };
        link.token().map_err(|why| at(&link.token_file, why))?;
        if tls {
            link.connector().map_err(|why| at(&link.ca_file, why))?;
        }
        Ok(link)
    }

    fn token(&self) -> Result<Option<String>, String> {
        let Some(file) = &self.token_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
        let token = text.trim();
        let sound = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        match sound {
            true => Ok(Some(format!("Bearer {token}"))),
            false => Err("it holds no token".to_owned()),
        }
    }

    fn connector(&self) -> Result<TlsConnector, String> {
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            Some(file) => add(&mut roots, file)?,
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err("there is no authority to trust".to_owned());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Pushes, and asks what is believed: `None` where it believes nothing yet.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn exchange(&self, push: &Push) -> Result<Option<Fits>, Trouble> {
        let round = timeout(LONGEST, self.round(push)).await;
        round.map_err(|_| Trouble::Slow)?
    }

    async fn round(&self, push: &Push) -> Result<Option<Fits>, Trouble> {
        let body = serde_json::to_string(push).map_err(|e| Trouble::Nonsense(e.to_string()))?;
        let token = self.token().map_err(|why| {
            let file = self.token_file.as_deref().unwrap_or(Path::new(""));
            Trouble::File(format!("{}: {why}", file.display()))
        })?;
        // The connection ends with the round.
        let mut driver = JoinSet::new();
        let mut sender = self.connect(&mut driver).await?;
        let request = |request: http::request::Builder, body: String| {
            let mut request = request.header(header::HOST, format!("{}:{}", self.host, self.port));
            if let Some(token) = &token {
                request = request.header(header::AUTHORIZATION, token);
            }
            let agent = concat!("wva/", env!("CARGO_PKG_VERSION"));
            let request = request.header(header::USER_AGENT, agent);
            request
                .body(body)
                .map_err(|e| Trouble::Nonsense(e.to_string()))
        };
        let json = Request::post(PUSH_PATH).header(header::CONTENT_TYPE, "application/json");
        let (status, told) = send(&mut sender, request(json, body)?).await?;
        if status != StatusCode::OK {
            return Err(refused(status, &told));
        }
        let asked = request(Request::get(FITS_PATH), String::new())?;
        let (status, told) = send(&mut sender, asked).await?;
        match status {
            StatusCode::OK => understood(&told).map(Some),
            StatusCode::SERVICE_UNAVAILABLE => Ok(None),
            _ => Err(refused(status, &told)),
        }
    }

    async fn connect(&self, driver: &mut JoinSet<()>) -> Result<SendRequest<String>, Trouble> {
        let unreachable = |e: std::io::Error| Trouble::Unreachable(e.to_string());
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(unreachable)?;
        stream.set_nodelay(true).ok(); // of no consequence for two small requests
        if !self.tls {
            return handshake(stream, driver).await;
        }
        let name = match self.host.parse::<IpAddr>() {
            Ok(ip) => ServerName::IpAddress(ip.into()),
            Err(_) => ServerName::try_from(self.host.clone())
                .map_err(|e| Trouble::Unreachable(e.to_string()))?,
        };
        let connector = self.connector().map_err(Trouble::File)?;
        let stream = connector.connect(name, stream).await;
        handshake(stream.map_err(unreachable)?, driver).await
    }
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|e| e.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    Ok(())
}

async fn handshake<S>(stream: S, driver: &mut JoinSet<()>) -> Result<SendRequest<String>, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|e| Trouble::Unreachable(e.to_string()))?;
    // Whoever sends is told why it ended.
    driver.spawn(async move { connection.await.unwrap_or_default() });
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<String>,
    request: Request<String>,
) -> Result<(StatusCode, Vec<u8>), Trouble> {
    let broken = |e: hyper::Error| Trouble::Unreachable(e.to_string());
    sender.ready().await.map_err(broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    Ok((status, whole(response).await?))
}

async fn whole(response: Response<Incoming>) -> Result<Vec<u8>, Trouble> {
    let (mut body, mut all) = (response.into_body(), Vec::new());
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        let frame = frame.map_err(|e| Trouble::Unreachable(e.to_string()))?;
        if let Some(piece) = frame.data_ref() {
            if all.len() + piece.len() > MOST_BYTES {
                return Err(Trouble::Nonsense(format!("more than {MOST_BYTES} bytes")));
            }
            all.extend_from_slice(piece);
        }
    }
    Ok(all)
}

fn refused(status: StatusCode, told: &[u8]) -> Trouble {
    let answer: Option<Answer> = serde_json::from_slice(told).ok();
    let (code, text) = answer.map_or_else(Default::default, |a| (a.code, a.text));
    Trouble::Refused {
        status: status.as_u16(),
        code,
        text,
    }
}

fn understood(told: &[u8]) -> Result<Fits, Trouble> {
    let fits: Fits = serde_json::from_slice(told).map_err(|e| Trouble::Nonsense(e.to_string()))?;
    match fits.schema == FITS_SCHEMA {
        true => Ok(fits),
        false => Err(Trouble::Nonsense(format!("schema {}", fits.schema))),
    }
}
