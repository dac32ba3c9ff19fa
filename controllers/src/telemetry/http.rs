//! HTTP for metrics: credentials and certificates from files that rotate, answers that are bounded in time and bytes.
//!
//! A metrics page is a stranger's text: it may be endless, compressed a thousandfold, or lead elsewhere. So bodies are read
//! in pieces up to a limit that counts decompressed bytes, the whole exchange has one deadline, and redirects are an
//! outcome instead of a second request: following them would carry credentials to whoever asks for it.

mod settings;

use std::error::Error as _;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::{Certificate, Client, Identity, Response, StatusCode};
use tokio::sync::Mutex;

use super::reason::{Missing, Reason};

pub(super) use settings::within;
pub use settings::{HttpSettings, Limits, SettingsError};

/// Files are read again after this long: projected tokens rotate hourly, certificates daily.
const REREAD: Duration = Duration::from_secs(30);

/// A client whose credentials follow their files.
#[derive(Debug)]
pub struct Http {
    settings: HttpSettings,
    limits: Limits,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    client: Client,
    /// The files that the client was built of.
    built_of: [Option<Vec<u8>>; 3],
    headers: HeaderMap,
    read: Instant,
}

impl Http {
    /// A client by `settings`; files are read at the first request.
    ///
    /// # Errors
    /// [`SettingsError`] where the settings contradict each other.
    pub fn new(settings: HttpSettings, limits: Limits) -> Result<Self, SettingsError> {
        settings.check()?;
        limits.check()?;
        Ok(Self {
            settings,
            limits,
            state: Mutex::new(None),
        })
    }

    /// Its limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The client and the headers to send with each request. With `afresh` the files are read again whatever their age.
    ///
    /// # Errors
    /// [`Reason::Unauthorized`] or [`Reason::Tls`] where a file cannot be read or understood.
    pub async fn client(&self, afresh: bool) -> Result<(Client, HeaderMap), Missing> {
        let mut state = self.state.lock().await;
        if let Some(s) = state
            .as_ref()
            .filter(|s| !afresh && s.read.elapsed() < REREAD)
        {
            return Ok((s.client.clone(), s.headers.clone()));
        }
        let headers = self.headers().await?;
        let s = &self.settings;
        let files = [
            read(s.ca_file.as_deref(), Reason::Tls).await?,
            read(s.client_certificate_file.as_deref(), Reason::Tls).await?,
            read(s.client_key_file.as_deref(), Reason::Tls).await?,
        ];
        let client = match state.take() {
            Some(old) if old.built_of == files => old.client,
            _ => self.build(&files)?,
        };
        *state = Some(State {
            client: client.clone(),
            built_of: files,
            headers: headers.clone(),
            read: Instant::now(),
        });
        Ok((client, headers))
    }

    fn build(&self, files: &[Option<Vec<u8>>; 3]) -> Result<Client, Missing> {
        let s = &self.settings;
        let timeout = Duration::from_secs_f64(self.limits.timeout_s);
        let tls = |e: reqwest::Error| Missing::new(Reason::Tls, chain(&e));
        let mut builder = Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .gzip(self.limits.accept_gzip)
            .no_proxy()
            .pool_max_idle_per_host(usize::from(self.limits.keep_alive))
            .user_agent(concat!("wva/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &files[0] {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(ca).map_err(tls)?);
        }
        if let (Some(certificate), Some(key)) = (&files[1], &files[2]) {
            let pem = [certificate.as_slice(), b"\n", key].concat();
            builder = builder.identity(Identity::from_pem(&pem).map_err(tls)?);
        }
        if s.insecure_skip_verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        builder.build().map_err(tls)
    }

    async fn headers(&self) -> Result<HeaderMap, Missing> {
        let s = &self.settings;
        let mut headers = HeaderMap::new();
        for (name, value) in &s.headers {
            // Checked when the settings were.
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
            {
                headers.insert(name, value);
            }
        }
        let secret = |file: Option<&Path>| {
            let file = file.map(Path::to_path_buf);
            async move { read(file.as_deref(), Reason::Unauthorized).await }
        };
        let authorization = if let Some(token) = secret(s.bearer_token_file.as_deref()).await? {
            format!("Bearer {}", String::from_utf8_lossy(&token).trim())
        } else if let Some(user) = &s.username {
            let password = secret(s.password_file.as_deref())
                .await?
                .unwrap_or_default();
            let password = String::from_utf8_lossy(&password);
            let password = password.trim_end_matches(['\r', '\n']);
            format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
        } else {
            return Ok(headers);
        };
        let unusable = |_| {
            Missing::new(
                Reason::Unauthorized,
                "the credentials have characters that no header may have",
            )
        };
        let mut value = HeaderValue::try_from(authorization).map_err(unusable)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok(headers)
    }

    /// Sends what `request` makes of the client, once more with credentials read afresh when they are refused.
    ///
    /// # Errors
    /// [`Missing`] with the reason, for any answer but 200.
    pub async fn send<F>(
        &self,
        request: impl Fn(Client, HeaderMap) -> F,
    ) -> Result<Response, Missing>
    where
        F: Future<Output = Result<Response, Missing>>,
    {
        let (client, headers) = self.client(false).await?;
        let mut response = request(client, headers).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let (client, headers) = self.client(true).await?;
            response = request(client, headers).await?;
        }
        Ok(response)
    }

    /// Gets `url`: the body, and its content type.
    ///
    /// # Errors
    /// [`Missing`] with the reason.
    pub async fn get(
        &self,
        url: &str,
        accept: &'static str,
    ) -> Result<(Vec<u8>, Option<String>), Missing> {
        let response = self
            .send(|client, headers| async move {
                let request = client
                    .get(url)
                    .headers(headers)
                    .header(reqwest::header::ACCEPT, accept);
                request.send().await.map_err(|e| failure(&e))
            })
            .await?;
        succeeded(&response)?;
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|v: &HeaderValue| v.to_str().ok())
        };
        if let Some(encoding) = header(CONTENT_ENCODING).filter(|e| *e != "identity") {
            return Err(Missing::new(
                Reason::BadContentType,
                format!("content-encoding {encoding} was not asked for"),
            ));
        }
        let kind = header(CONTENT_TYPE).map(str::to_owned);
        Ok((body(response, self.limits.max_bytes).await?, kind))
    }
}

/// Whether the answer is a 200; otherwise why not.
///
/// # Errors
/// [`Missing`] with the reason.
pub(super) fn succeeded(response: &Response) -> Result<(), Missing> {
    let status = response.status();
    let reason = match status.as_u16() {
        200 => return Ok(()),
        401 | 403 => Reason::Unauthorized,
        300..=399 => Reason::Redirected,
        _ => Reason::HttpStatus,
    };
    let to = response
        .headers()
        .get(LOCATION)
        .and_then(|l| l.to_str().ok());
    let detail = to.map_or_else(|| status.to_string(), |to| format!("{status} to {to}"));
    Err(Missing::new(reason, detail))
}

/// Reads the body up to `limit` bytes.
///
/// # Errors
/// [`Reason::TooLarge`], [`Reason::Truncated`] or [`Reason::Timeout`].
pub(super) async fn body(mut response: Response, limit: u64) -> Result<Vec<u8>, Missing> {
    let too_large = || Missing::new(Reason::TooLarge, format!("more than {limit} bytes"));
    let announced = response.content_length().unwrap_or(0);
    if announced > limit {
        return Err(too_large());
    }
    let mut body =
        Vec::with_capacity(usize::try_from(announced.clamp(4096, 1 << 20)).unwrap_or(4096));
    while let Some(piece) = response.chunk().await.map_err(|e| failure(&e))? {
        if (body.len() + piece.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Why an exchange failed.
pub(super) fn failure(e: &reqwest::Error) -> Missing {
    let text = chain(e);
    let lower = text.to_ascii_lowercase();
    let tls = [
        "certificate",
        "tls",
        "handshake",
        "fatal alert",
        "unknownissuer",
    ]
    .iter()
    .any(|w| lower.contains(w));
    let reason = if e.is_timeout() {
        Reason::Timeout
    } else if tls {
        Reason::Tls
    } else if e.is_body()
        || e.is_decode()
        || lower.contains("incompletemessage")
        || lower.contains("before message completed")
    {
        Reason::Truncated
    } else {
        Reason::Unreachable
    };
    Missing::new(reason, text)
}

/// The innermost messages of an error; the outer ones repeat the URL.
fn chain(e: &reqwest::Error) -> String {
    let mut messages: Vec<String> = Vec::new();
    let mut source = e.source();
    while let Some(inner) = source {
        messages.push(inner.to_string());
        source = inner.source();
    }
    messages.dedup();
    let from = messages.len().saturating_sub(2);
    if messages.is_empty() {
        e.to_string()
    } else {
        messages[from..].join(": ")
    }
}

async fn read(file: Option<&Path>, reason: Reason) -> Result<Option<Vec<u8>>, Missing> {
    let Some(file) = file else {
        return Ok(None);
    };
    let missing = |e: std::io::Error| Missing::new(reason, format!("{}: {e}", file.display()));
    tokio::fs::read(file).await.map(Some).map_err(missing)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for piece in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |w, i| {
            w << 8 | u32::from(piece.get(i).copied().unwrap_or(0))
        });
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= piece.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_as_in_rfc_4648() {
        for (text, code) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), code);
        }
    }
}
