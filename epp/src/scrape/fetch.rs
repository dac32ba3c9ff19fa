//! One server's page over one connection that stays open.
//!
//! A page is a stranger's text: it may be endless, or never come. So it is bounded in bytes and in time, and read while
//! it comes: what is too long costs no memory. Compression is not asked for, since it costs the engine's front end more
//! than it saves, and redirects are not followed.
//!
//! The connection is driven by the task that reads the page, and by nobody in between: a task of its own would have to be
//! woken, often on another thread, for the request, for the head of the answer and for every piece of it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::failure::Failure;
use super::reading::PageReader;

/// Longest head of an answer, and most of a page that is held at once.
const BUFFER: usize = 64 << 10;

/// Where a page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Address of the server that answers.
    pub address: SocketAddr,
    /// Path of the page.
    pub path: String,
}

/// Bounds of one exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// From connecting to the last byte.
    pub timeout: Duration,
    /// Longest page, bytes.
    pub most_bytes: u64,
}

/// Fetches the pages of one place, one after the other.
pub struct Fetcher {
    way: Way,
    bounds: Bounds,
    connection: Option<Connection>,
}

/// How a place is reached.
struct Way {
    place: Place,
    host: HeaderValue,
    tls: Option<TlsConnector>,
}

/// An open connection; it closes when it is dropped.
struct Connection {
    sender: SendRequest<String>,
    /// What moves bytes; `None` once it has ended. Whoever sends or reads is told why.
    driver: Option<Driver>,
}

type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Drives a connection until an exchange over it is done.
async fn drive<T>(driver: &mut Option<Driver>, exchange: impl Future<Output = T>) -> T {
    let mut exchange = pin!(exchange);
    poll_fn(|context| {
        if let Poll::Ready(outcome) = exchange.as_mut().poll(context) {
            return Poll::Ready(outcome);
        }
        if let Some(running) = driver
            && running.as_mut().poll(context).is_ready()
        {
            *driver = None;
        }
        // What has just come need not wait for this task to be woken again.
        exchange.as_mut().poll(context)
    })
    .await
}

impl Fetcher {
    /// Not connected yet; with `tls` it is HTTPS.
    #[must_use]
    pub fn new(place: Place, bounds: Bounds, tls: Option<TlsConnector>) -> Self {
        let host = HeaderValue::try_from(place.address.to_string());
        Self {
            way: Way {
                host: host.expect("an address is plain text"),
                place,
                tls,
            },
            bounds,
            connection: None,
        }
    }

    /// Hands the next page to `reader` piece by piece; `answered` is called when the server begins to answer.
    ///
    /// # Errors
    /// [`Failure`]; what was handed over until then is of no use.
    pub async fn fetch(
        &mut self,
        reader: &mut PageReader,
        answered: impl FnOnce(),
    ) -> Result<(), Failure> {
        let (limit, bounds) = (self.bounds.timeout, self.bounds);
        // Taken, so that whatever goes wrong leaves no half-read connection behind.
        let kept = self.connection.take().filter(|c| !c.sender.is_closed());
        let way = &self.way;
        let exchange = async {
            let (mut connection, response) = way.ask(kept).await?;
            answered();
            let page = page(response, reader, bounds.most_bytes);
            drive(&mut connection.driver, page).await?;
            Ok(connection)
        };
        let connection = timeout(limit, exchange).await;
        let connection = connection.map_err(|_| Failure::Timeout(limit.as_secs_f64()))??;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Way {
    /// Asks on the kept connection, and on a new one where there is none or the server has closed it meanwhile.
    async fn ask(
        &self,
        kept: Option<Connection>,
    ) -> Result<(Connection, Response<Incoming>), Failure> {
        if let Some(mut kept) = kept
            && let Ok(response) = self.send(&mut kept).await
        {
            return Ok((kept, response));
        }
        let mut fresh = self.connect().await?;
        let response = self.send(&mut fresh).await;
        let response = response.map_err(|e| Failure::Broken(e.to_string()))?;
        Ok((fresh, response))
    }

    async fn send(&self, connection: &mut Connection) -> Result<Response<Incoming>, hyper::Error> {
        let agent = concat!("wva/", env!("CARGO_PKG_VERSION"));
        let accept = "text/plain;version=0.0.4, */*;q=0.1";
        let request = Request::get(&self.place.path)
            .header(http::header::HOST, &self.host)
            .header(http::header::ACCEPT, HeaderValue::from_static(accept))
            .header(http::header::USER_AGENT, HeaderValue::from_static(agent))
            .body(String::new())
            .expect("the path was checked when the place was made");
        let Connection { sender, driver } = connection;
        let answer = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        drive(driver, answer).await
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let unreachable = |e: std::io::Error| Failure::Unreachable(e.to_string());
        let stream = TcpStream::connect(self.place.address).await;
        let stream = stream.map_err(unreachable)?;
        stream.set_nodelay(true).ok(); // of no consequence for one small request
        match &self.tls {
            None => handshake(stream).await,
            Some(tls) => {
                let name = ServerName::IpAddress(self.place.address.ip().into());
                handshake(tls.connect(name, stream).await.map_err(unreachable)?).await
            }
        }
    }
}

async fn handshake<S>(stream: S) -> Result<Connection, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER);
    let (sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| Failure::Broken(e.to_string()))?;
    let driver = async move { connection.await.unwrap_or_default() };
    Ok(Connection {
        sender,
        driver: Some(Box::pin(driver)),
    })
}

async fn page(
    response: Response<Incoming>,
    reader: &mut PageReader,
    most: u64,
) -> Result<(), Failure> {
    if response.status() != StatusCode::OK {
        return Err(Failure::Status(response.status().as_u16()));
    }
    let mut body = response.into_body();
    let mut left = most;
    if body.size_hint().lower() > most {
        return Err(Failure::TooLarge(most));
    }
    reader.start();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|e| Failure::Broken(e.to_string()))?;
        let Some(piece) = frame.data_ref() else {
            continue;
        };
        left = left
            .checked_sub(piece.len() as u64)
            .ok_or(Failure::TooLarge(most))?;
        reader.feed(piece);
    }
    Ok(())
}
