//! Who asks, and may they?
//!
//! ```text
//! certificate of the front proxy + X-Remote-User ─┐
//! certificate of the cluster's client CA ─────────┼─► Identity ─► system:masters, or SubjectAccessReview ─► route
//! bearer token (TokenReview) ─────────────────────┘      none ─► 401                    refused ─► 403
//! ```
//! The rules are those of the API server's own extension servers: what the front proxy says counts only with its
//! certificate, verified against what is trusted at that moment. Probes pass without any of it.

use std::sync::Arc;

use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rustls::pki_types::CertificateDer;

use super::identity::{Identity, by_certificate};
use super::reviews::Reviewer;
use super::status::Status;
use super::trust::Trusted;
use super::{GROUP, VERSION};
use crate::serving::Peer;

const MASTERS: &str = "system:masters";

/// What is asked, in the terms of access rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// A metric.
    Resource {
        /// Verb, as `list`.
        verb: String,
        /// Namespace, empty for none.
        namespace: String,
        /// Name of the metric.
        resource: String,
        /// Name of an object, empty for none.
        name: String,
    },
    /// Any other path.
    Path {
        /// Verb, as `get`.
        verb: String,
        /// The path.
        path: String,
    },
}

impl Request {
    /// What this method on this address asks for.
    #[must_use]
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let path = uri.path();
        let below = path
            .strip_prefix("/apis/")
            .and_then(|rest| {
                rest.strip_prefix(GROUP)?
                    .strip_prefix('/')?
                    .strip_prefix(VERSION)
            })
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or_default();
        let parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
        let (namespace, rest) = match parts.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let Some((resource, rest)) = rest.split_first() else {
            return Self::Path {
                verb: method.as_str().to_ascii_lowercase(),
                path: path.into(),
            };
        };
        let name = rest.first().copied().unwrap_or_default();
        let watches = uri
            .query()
            .is_some_and(|q| q.split('&').any(|p| p == "watch=true" || p == "watch=1"));
        Self::Resource {
            verb: verb(method, !name.is_empty(), watches).into(),
            namespace: namespace.into(),
            resource: (*resource).into(),
            name: name.into(),
        }
    }

    fn refusal(&self, who: &str, why: &str) -> String {
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(": {why}")
        };
        match self {
            Self::Resource {
                verb,
                namespace,
                resource,
                ..
            } => format!(
                "{resource}.{GROUP} is forbidden: User {who:?} cannot {verb} resource {resource:?} in API group \
                 {GROUP:?} in the namespace {namespace:?}{why}"
            ),
            Self::Path { verb, path } => {
                format!("forbidden: User {who:?} cannot {verb} path {path:?}{why}")
            }
        }
    }
}

fn verb(method: &Method, named: bool, watches: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) if watches => "watch",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "",
    }
}

/// The gate: whom to trust, and whom to ask.
#[derive(Debug)]
pub struct Gate {
    trusted: Trusted,
    reviewer: Reviewer,
}

impl Gate {
    /// Trusts what `trusted` says and asks `reviewer` about the rest.
    #[must_use]
    pub fn new(trusted: Trusted, reviewer: Reviewer) -> Self {
        Self { trusted, reviewer }
    }

    /// Whether the cluster's trust has been read.
    #[must_use]
    pub fn knows_whom_to_trust(&self) -> bool {
        self.trusted.borrow().is_some()
    }

    /// Who asks.
    ///
    /// # Errors
    /// 401 when nobody can tell, 500 when the API server does not say.
    pub async fn identify(
        &self,
        chain: &[CertificateDer<'static>],
        headers: &HeaderMap,
    ) -> Result<Identity, Status> {
        let trust = self.trusted.borrow().clone().unwrap_or_default();
        if let Some(identity) = by_certificate(&trust, chain, headers) {
            return Ok(identity.somebody());
        }
        let Some(token) = bearer(headers) else {
            return Err(Status::unauthorized(if chain.is_empty() {
                "no client certificate and no bearer token"
            } else {
                "the client certificate is of no authority or name that is trusted here"
            }));
        };
        match self.reviewer.identity(token).await {
            Ok(Some(identity)) => Ok(identity.somebody()),
            Ok(None) => Err(Status::unauthorized("the bearer token is nobody's")),
            Err(error) => {
                tracing::warn!(%error, "cannot review a token");
                Err(Status::internal("the API server did not review the token"))
            }
        }
    }

    /// Lets `identity` do this, or says why not.
    ///
    /// # Errors
    /// 403 when it may not, 500 when the API server does not say.
    pub async fn admit(&self, identity: &Identity, request: &Request) -> Result<(), Status> {
        if identity.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        match self.reviewer.may(identity, request).await {
            Ok(verdict) if verdict.allowed => Ok(()),
            Ok(verdict) => Err(Status::forbidden(
                request.refusal(&identity.name, &verdict.reason),
            )),
            Err(error) => {
                tracing::warn!(%error, user = identity.name, "cannot review access");
                Err(Status::internal(
                    "the API server did not say whether this is allowed",
                ))
            }
        }
    }
}

/// Middleware: only probes pass without asking.
pub async fn guard(State(gate): State<Arc<Gate>>, request: HttpRequest, next: Next) -> Response {
    let probes = ["/healthz", "/livez", "/readyz"];
    if probes.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let chain = request
        .extensions()
        .get::<Peer>()
        .map(|peer| Arc::clone(&peer.chain));
    let chain = chain.unwrap_or_default();
    let asked = Request::of(request.method(), request.uri());
    let headers = request.headers();
    let admitted = async {
        let identity = gate.identify(&chain, headers).await?;
        gate.admit(&identity, &asked).await
    };
    match admitted.await {
        Ok(()) => next.run(request).await,
        Err(status) => status.into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
