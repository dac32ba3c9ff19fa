//! One request, from its head to the head of its answer.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::Passing;
use super::answer::{Answer, Outgoing};
use super::failing::Failing;
use super::headers::{Client, Names, REQUEST_ID, onward, without_hop};
use super::inbound;
use super::models;
use super::outbound::{Failure, Onward, Outbound, Pieces};
use super::refusal::{bad, page, unserved};
use crate::body::Api;
use crate::server::admission::{Entry, Place};
use crate::server::head::Head;
use crate::server::refusal::Refused;
use crate::server::request::{Arrived, Ready};
use crate::server::sent::Sent;
use crate::server::series::Series;
use crate::server::shared::Shared;

/// What all requests share.
pub(super) struct Relay {
    shared: Arc<Shared>,
    passing: Passing,
    outbound: Outbound,
    failing: Failing,
    names: Names,
}

/// A request that was chosen for.
struct Chosen {
    sent: Sent,
    servers: Vec<SocketAddr>,
    headers: Vec<(&'static str, String)>,
    body: Pieces,
}

/// Counts a request as open while it is there.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.streams.dec();
    }
}

impl Relay {
    /// Passes requests on as `passing` says.
    pub(super) fn new(shared: Arc<Shared>, passing: Passing) -> Self {
        Self {
            shared,
            outbound: Outbound::new(passing.connect, passing.first_byte),
            passing,
            failing: Failing::default(),
            names: Names::default(),
        }
    }

    /// Answers a request, well or not.
    pub(super) async fn serve(
        &self,
        request: Request<Incoming>,
        client: Client,
    ) -> Response<Outgoing> {
        if let Some(page) = self.own(request.uri().path()) {
            return page;
        }
        let began = self.shared.clock.now();
        self.shared.metrics.streams.inc();
        let open = Open(Arc::clone(&self.shared));
        let (mut parts, incoming) = request.into_parts();
        let named = parts.headers.get(&REQUEST_ID).cloned();
        let name = named.unwrap_or_else(|| self.names.next());
        parts.headers.insert(REQUEST_ID, name.clone());
        let answer = self.relay(parts, incoming, client, began).await;
        drop(open);
        let mut response = answer.unwrap_or_else(|refused| page(&refused));
        response.headers_mut().entry(REQUEST_ID).or_insert(name);
        response
    }

    /// Pages about the gateway itself.
    fn own(&self, path: &str) -> Option<Response<Outgoing>> {
        let well = match path {
            "/healthz" => true,
            "/health" | "/readyz" => self.shared.store.is_ready(),
            _ => return None,
        };
        let (status, text) = match well {
            true => (StatusCode::OK, "ok"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        };
        let mut response = Response::new(Outgoing::page(text));
        *response.status_mut() = status;
        Some(response)
    }

    async fn relay(
        &self,
        parts: Parts,
        incoming: Incoming,
        client: Client,
        began: f64,
    ) -> Result<Response<Outgoing>, Refused> {
        let unread = |refused| self.refuse_unread(refused);
        inbound::check(&parts, &self.passing.paths).map_err(unread)?;
        if parts.method == Method::GET && parts.uri.path() == models::PATH {
            let servers = self.servers();
            let all = models::all(parts, client, servers, &self.outbound).await;
            return all.map_err(unread);
        }
        let (most, idle) = (self.shared.most_body, self.passing.idle);
        let body = inbound::body(&parts, incoming, most, idle).await;
        let body = body.map_err(unread)?;
        let Parts {
            method,
            uri,
            mut headers,
            ..
        } = parts;
        let path = uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let has_body = body.is_some();
        let chosen = self.choose(&path, &headers, body, began).await?;
        let length = has_body.then(|| chosen.body.len());
        onward(&mut headers, client, uri.authority(), length);
        for (name, value) in &chosen.headers {
            let value = HeaderValue::from_str(value);
            let value = value.map_err(|e| bad(500, "Internal", e.to_string()))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let repeatable = repeatable(&method, path.path());
        let request = Onward {
            method,
            path,
            headers,
            body: chosen.body,
        };
        self.send(request, chosen.sent, &chosen.servers, repeatable)
            .await
    }

    /// All servers.
    fn servers(&self) -> Vec<SocketAddr> {
        let pool = self.shared.store.pool();
        let endpoints = pool.slots().filter_map(|slot| pool.endpoint(slot));
        endpoints.map(|endpoint| endpoint.address).collect()
    }

    /// Waits for its turn, if need be, and for its servers.
    async fn choose(
        &self,
        path: &PathAndQuery,
        headers: &HeaderMap,
        body: Option<Bytes>,
        began: f64,
    ) -> Result<Chosen, Refused> {
        let arrived = Arrived {
            head: Head::of(path.as_str(), headers, &self.shared.wanted),
            subset: None,
            body,
            began,
        };
        let ready = Ready::read(&self.shared, arrived);
        let mut ready = ready.map_err(|refused| self.refuse_unread(refused))?;
        let place = match ready.enter(&self.shared) {
            Ok(Entry::In(place)) => Ok(place),
            Ok(Entry::Wait(waiting)) => {
                let outcome = waiting.await;
                ready.waited(self.shared.clock.now());
                outcome
            }
            Err(refused) => Err(refused),
        };
        let chosen = place.and_then(|place| self.pick(&ready, place));
        chosen.map_err(|refused| self.refuse(refused, ready.series()))
    }

    fn pick(&self, ready: &Ready, place: Place) -> Result<Chosen, Refused> {
        let pool = self.shared.store.pool();
        let avoid = self.failing.places(&pool, self.shared.clock.now());
        let (choice, sent) = ready.send(&self.shared, &pool, place, &avoid)?;
        let mut servers = choice.addresses(&pool);
        servers.truncate(1 + self.passing.retries);
        Ok(Chosen {
            sent,
            servers,
            headers: choice.headers(&pool),
            body: Pieces(ready.pieces()),
        })
    }

    /// Sends it to one server after the other, until one answers.
    async fn send(
        &self,
        request: Onward,
        mut sent: Sent,
        servers: &[SocketAddr],
        repeatable: bool,
    ) -> Result<Response<Outgoing>, Refused> {
        let mut tries = servers.iter().copied().enumerate().peekable();
        // The list is as long as the choice, which is never empty.
        let mut failed = unserved(503, "rejected-no-endpoints", "no server".to_owned());
        while let Some((i, server)) = tries.next() {
            if i > 0 {
                sent.served_by(&server);
            }
            let again = tries.peek().is_some();
            match self.outbound.ask(server, request.clone()).await {
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE && again => {
                    self.note(server, "unavailable", "status 503");
                }
                Ok(answer) => {
                    self.failing.answered(&server);
                    return Ok(self.answer(answer, sent));
                }
                Err(failure) => {
                    let (refused, harmless) = refusal(&failure);
                    failed = refused;
                    self.note(server, failed.reason.unwrap_or_default(), &failed.message);
                    if !(harmless || repeatable && matches!(failure, Failure::Broken(_))) {
                        break;
                    }
                }
            }
        }
        sent.broken();
        Err(failed)
    }

    /// Notes that a server did not serve a request.
    fn note(&self, server: SocketAddr, reason: &'static str, why: &str) {
        let out = match reason {
            "unavailable" | "server-unreachable" => {
                self.failing.failed(server, self.shared.clock.now())
            }
            _ => false,
        };
        self.shared.metrics.unserved(reason);
        if out {
            tracing::warn!(%server, why, "left out for a while: it did not take a request");
        } else {
            tracing::debug!(%server, why, "did not take a request");
        }
    }

    fn answer(&self, answer: Response<Incoming>, mut sent: Sent) -> Response<Outgoing> {
        let (mut parts, body) = answer.into_parts();
        let value = |name| parts.headers.get(name).map(HeaderValue::as_bytes);
        let stream =
            value(header::CONTENT_TYPE).is_some_and(|v| v.starts_with(b"text/event-stream"));
        let compressed = value(header::CONTENT_ENCODING).is_some_and(|v| v != b"identity");
        let changed = sent.head(parts.status.as_u16(), stream, compressed);
        without_hop(&mut parts.headers);
        if changed.resized {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let session = changed.session.and_then(|(name, token)| {
            let name = HeaderName::try_from(name).ok()?;
            Some((name, HeaderValue::try_from(token).ok()?))
        });
        if let Some((name, token)) = session {
            parts.headers.insert(name, token);
        }
        let answer = Answer::new(body, sent, changed.resized, self.passing.idle);
        let mut response = Response::new(Outgoing::Answer(Box::new(answer)));
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        response
    }

    fn refuse(&self, refused: Refused, series: &Series) -> Refused {
        tracing::debug!(
            status = refused.status,
            reason = refused.reason,
            message = refused.message,
            "refused"
        );
        self.shared.metrics.failed(series, refused.code);
        refused
    }

    /// Refuses what was never read so far that its flow is known.
    fn refuse_unread(&self, refused: Refused) -> Refused {
        let series = self.shared.metrics.flow("", "", "", 0);
        self.refuse(refused, &series)
    }
}

/// Whether asking twice does no harm.
fn repeatable(method: &Method, path: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => true,
        Method::POST => matches!(
            Api::of(path),
            Api::Chat | Api::Completions | Api::Embeddings | Api::Messages
        ),
        _ => false,
    }
}

/// What the client is told of a server that did not answer; whether the server has certainly not begun.
fn refusal(failure: &Failure) -> (Refused, bool) {
    let (status, reason, harmless) = match failure {
        Failure::Unreachable(_) => (503, "server-unreachable", true),
        Failure::Broken(_) => (502, "server-broke-off", false),
        Failure::Nonsense(_) => (502, "server-nonsense", false),
        Failure::Late(_) => (504, "server-late", false),
    };
    let message = format!("no model server answered: {failure}");
    (unserved(status, reason, message), harmless)
}
