//! `GET /v1/models`: what all servers serve, as one list.
//!
//! Servers of one pool may hold different adapters, and a gateway may have several models behind it. So all are asked, each
//! as the client asks (its key may open one and not another), and what they list is put together by name. Nothing is kept
//! between two requests: what one client may see is not for another.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wva_epp_core::picker::{Refusal, RefusalKind};

use super::answer::Outgoing;
use super::headers::{Client, onward};
use super::outbound::{Onward, Outbound, Pieces};
use super::refusal::{bad, unserved};
use crate::server::gathered::Gathered;
use crate::server::refusal::Refused;

/// The path.
pub(super) const PATH: &str = "/v1/models";
/// Time for a server to list what it serves.
const LONGEST: Duration = Duration::from_secs(5);
/// Longest list of a server, bytes.
const MOST_BYTES: usize = 4 << 20;
/// Servers that are asked at once.
const AT_ONCE: usize = 32;

#[derive(Deserialize)]
struct Listed {
    data: Vec<Value>,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<&'a Value>,
}

/// Asks these servers what they serve.
///
/// # Errors
/// [`Refused`] where none says.
pub(super) async fn all(
    parts: Parts,
    client: Client,
    servers: Vec<SocketAddr>,
    outbound: &Outbound,
) -> Result<Response<Outgoing>, Refused> {
    if servers.is_empty() {
        return Err(Refusal::of(RefusalKind::NoEndpoints).into());
    }
    let Parts {
        uri, mut headers, ..
    } = parts;
    onward(&mut headers, client, uri.authority(), None);
    // What is to be read must not be compressed.
    headers.remove(header::ACCEPT_ENCODING);
    let request = Onward {
        method: Method::GET,
        path: uri
            .path_and_query()
            .cloned()
            .expect("it has been looked at"),
        headers,
        body: Pieces::default(),
    };
    let asked = stream::iter(servers).map(|server| {
        let asked = ask(outbound, server, request.clone());
        async {
            tokio::time::timeout(LONGEST, asked)
                .await
                .unwrap_or(Err(None))
        }
    });
    let answers: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
    put_together(&answers)
}

/// A server's list; its status where it gives none, or nothing where it does not answer.
async fn ask(
    outbound: &Outbound,
    server: SocketAddr,
    request: Onward,
) -> Result<Vec<Value>, Option<StatusCode>> {
    let answer = outbound.ask(server, request).await.map_err(|_| None)?;
    let status = answer.status();
    if status != StatusCode::OK {
        return Err(Some(status));
    }
    let body = body(answer.into_body()).await.ok_or(None)?;
    let listed: Listed = serde_json::from_slice(&body).map_err(|_| None)?;
    Ok(listed.data)
}

async fn body(mut incoming: Incoming) -> Option<bytes::Bytes> {
    let mut gathered = Gathered::default();
    while let Some(frame) =
        std::future::poll_fn(|context| std::pin::Pin::new(&mut incoming).poll_frame(context)).await
    {
        let Ok(chunk) = frame.ok()?.into_data() else {
            continue;
        };
        if gathered.len() + chunk.len() > MOST_BYTES {
            return None;
        }
        gathered.push(chunk, 0);
    }
    Some(gathered.finish())
}

/// One list by name. Where no server gives one, what a server says instead: 401, perhaps.
fn put_together(
    answers: &[Result<Vec<Value>, Option<StatusCode>>],
) -> Result<Response<Outgoing>, Refused> {
    if answers.iter().all(Result::is_err) {
        let status = answers
            .iter()
            .find_map(|answer| answer.as_ref().err().copied().flatten());
        return Err(match status {
            Some(status) if status.is_client_error() => {
                let told = format!("the model servers answer {status}");
                bad(status.as_u16(), "BadRequest", told)
            }
            _ => unserved(
                503,
                "server-unreachable",
                "no model server lists its models".to_owned(),
            ),
        });
    }
    let models = answers.iter().flatten().flatten();
    let models: BTreeMap<&str, &Value> = models
        .filter_map(|model| Some((model.get("id")?.as_str()?, model)))
        .collect();
    let list = List {
        object: "list",
        data: models.into_values().collect(),
    };
    let text = serde_json::to_vec(&list).unwrap_or_default();
    let mut response = Response::new(Outgoing::page(text));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}
